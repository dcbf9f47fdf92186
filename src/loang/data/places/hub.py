"""Data sets of the Hugging Face hub, `hub:owner/name`: their Parquet files, kept or streamed."""

import inspect
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from loang.data.collection import Collection
from loang.data.download import Progress
from loang.data.environment import offline
from loang.data.places.hub_listing import Address, Listing, chosen, list_files, split_and_config
from loang.data.places.parquet import ParquetCollection, Source, import_pyarrow
from loang.data.places.shards import aside_notice, left_aside
from loang.data.wishes import Wishes
from loang.errors import LoangError
from loang.hub.trouble import endpoint, told

PREFIX = "hub:"
SHARE = 0.9
"""Of the free disk, that a data set may take."""
BLOCK = 2**22  # bytes that are asked of the network at once
_ADDRESS = re.compile(r"([\w.-]+/[\w.-]+)(?:/([\w.+ -]+))?(?:@(\S+))?")


def is_hub(name: str) -> bool:
    """Whether a name begins as one of a data set of the hub."""
    return name.startswith(PREFIX)


def open_hub(name: str, wishes: Wishes) -> Collection:
    """The images of a data set of the hub; `train` is learned, `validation` or `test` held out.

    What the disk has no room for is streamed. `HF_ENDPOINT`, `HF_TOKEN`, `HF_HOME` and the like
    mean what they mean to huggingface_hub; without a network only what was kept is opened.

    Args:
        name: `hub:owner/name`, `/config` and `@revision` after it where there are several.
        wishes: `image_column`, `label_column` and `on_progress`.

    Raises:
        LoangError: a package is missing; there is no such data set, it is not open to all, the
            network fails, it has several configurations, or no column of images.
    """
    address = parse(name)
    _require_packages()
    with told(address):
        listing = list_files(address)
        files = chosen(address, listing)
        if not listing.tables:
            return _images(address, listing, files, wishes)
        splits = {path: split_and_config(path, listing.converted)[0] for path in files}
        aside = left_aside(list(splits.values()))
        files = {path: size for path, size in files.items() if splits[path] not in aside}
        notices = list(listing.notices)
        if aside:
            notices.append(aside_notice(name, aside))
        if any("/partial-" in path for path in files):
            notices.append(f"The hub has only a part of {name}, its first gigabytes, as Parquet.")
        missing = sum(size for path, size in files.items() if _kept(address, listing, path) is None)
        if streams := missing > SHARE * _free():
            notices.append(
                f"{name} needs {missing / 1e9:,.1f} GB and the disk has {_free() / 1e9:,.1f} free:"
                " it is read over the network, twice, and not kept."
            )
        else:
            _download(address, listing, files, wishes.on_progress)
        sources = [
            Source(
                f"{address.repo}/{path}",
                _opener(address, listing, path, streams),
                lambda path=path: f"{address.repo}@{listing.commit}/{path}",  # type: ignore[misc]
                size,
                splits[path],
                BLOCK,
            )
            for path, size in files.items()
        ]
        made = ParquetCollection(sources, name, wishes.image_column, wishes.label_column)
    made.notices = notices
    return made


def parse(name: str) -> Address:
    """The parts of `hub:owner/name/config@revision`.

    Raises:
        LoangError: it is not written so.
    """
    found = _ADDRESS.fullmatch(name.removeprefix(PREFIX))
    if found is None:
        raise LoangError(
            f"{name} names no data set of the hub.",
            "Write hub:owner/name, for instance hub:ylecun/mnist, and /config or @revision if any.",
        )
    return Address(*found.groups())


def _require_packages() -> None:
    try:
        import huggingface_hub  # noqa: F401
    except ImportError as error:
        raise LoangError(
            "Data sets of the hub are read with huggingface_hub, which is not installed.",
            'Install it with pip install "loang[hub]".',
        ) from error
    import_pyarrow("The hub's Parquet")


def _images(
    address: Address, listing: Listing, files: dict[str, int], wishes: Wishes
) -> Collection:
    """The image files of a repository without tables, kept as a folder."""
    from loang.data.places.folder import FolderCollection

    _download(address, listing, files, wishes.on_progress)
    first = next(iter(files))
    kept = _kept(address, listing, first)
    assert kept is not None
    folder = kept.parents[first.count("/")]
    # huggingface_hub keeps contents elsewhere, and links to them; no link comes from the hub.
    return FolderCollection(folder, replace(wishes, follow_links=True))


def _kept(address: Address, listing: Listing, path: str) -> Path | None:
    """Where a file lies in huggingface_hub's cache, if it does."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(address.repo, path, revision=listing.commit, repo_type="dataset")
    return Path(found) if isinstance(found, str) else None


def _opener(address: Address, listing: Listing, path: str, streams: bool) -> Callable[[], Any]:
    def kept() -> Any:
        place = _kept(address, listing, path)
        if place is None:
            raise FileNotFoundError(f"{path} is no longer in the cache")
        return place.open("rb")

    def streamed() -> Any:
        from huggingface_hub import HfFileSystem

        place = f"datasets/{address.repo}@{listing.commit}/{path}"
        # pyarrow keeps what it asks for, and asks for large pieces.
        system = HfFileSystem(endpoint=endpoint())
        return system.open(place, "rb", block_size=BLOCK, cache_type="none")

    return streamed if streams and _kept(address, listing, path) is None else kept


def _free() -> int:
    """Bytes that are free where huggingface_hub keeps what it downloads."""
    from huggingface_hub import constants

    place = Path(constants.HF_HUB_CACHE).absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def _download(
    address: Address, listing: Listing, files: dict[str, int], on_progress: Progress | None
) -> None:
    """Puts what is not there yet into huggingface_hub's cache."""
    from huggingface_hub import hf_hub_download

    wanted = {path: size for path, size in files.items() if not _kept(address, listing, path)}
    if wanted and offline():
        raise LoangError(
            f"{len(wanted):,} of the {len(files):,} files of {address} are not in the cache, and"
            " the network is switched off.",
            "Run this once without LOANG_OFFLINE and HF_HUB_OFFLINE.",
        )
    done, total = 0, sum(wanted.values())
    for path, size in wanted.items():
        options: dict[str, Any] = {}
        # Older versions show bars of their own.
        if "tqdm_class" in inspect.signature(hf_hub_download).parameters:
            options["tqdm_class"] = _bar(address.repo, done, total, on_progress)
        hf_hub_download(
            address.repo,
            path,
            repo_type="dataset",
            revision=listing.commit,
            endpoint=endpoint(),
            **options,
        )
        done += size
        if on_progress is not None:
            on_progress(f"downloading {address.repo}", done, total)


def _bar(what: str, done: int, total: int, on_progress: Progress | None) -> type:
    """What huggingface_hub takes for a progress bar, and shows nothing itself."""
    from tqdm import tqdm

    class Bar(tqdm):  # type: ignore[misc]
        seen = 0

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{**options, "disable": True})

        def update(self, count: Any = 1) -> bool | None:
            self.seen += int(count or 0)
            if on_progress is not None:
                on_progress(f"downloading {what}", min(done + self.seen, total), total)
            return None

    return Bar
