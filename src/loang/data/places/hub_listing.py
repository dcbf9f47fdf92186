"""Which files a data set of the hub consists of, and which of them are meant."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from loang import files
from loang.data.encoded.picture import SUFFIXES
from loang.data.environment import cache_folder, offline
from loang.data.places.labels import USUAL_NAMES
from loang.data.places.shards import split_of
from loang.errors import LoangError
from loang.hub.trouble import endpoint, is_network_trouble
from loang.untrusted import read_json, shown

CONVERTED = "refs/convert/parquet"
"""The branch where the hub keeps what it made of a data set: config/split/0000.parquet."""
MOST_FILES = 100_000
_NUMBERED = re.compile(r"(?P<split>.+?)[-_.]\d+-of-\d+.*")


@dataclass(frozen=True)
class Address:
    """What a person asks for.

    Args:
        repo: owner/name.
        config: one of several data sets in it.
        revision: a branch, tag or commit of the repository itself.
    """

    repo: str
    config: str | None = None
    revision: str | None = None

    def __str__(self) -> str:
        config = f"/{self.config}" if self.config else ""
        return f"hub:{self.repo}{config}" + (f"@{self.revision}" if self.revision else "")


@dataclass(frozen=True)
class Listing:
    """What the hub has of a data set.

    Args:
        commit: of the files: it stands for their content.
        converted: whether they are the hub's own Parquet files.
        files: paths within the repository and sizes in bytes: Parquet files, else images.
        notices: sentences that a person should read.
    """

    commit: str
    converted: bool
    files: dict[str, int]
    notices: Sequence[str] = ()

    @property
    def tables(self) -> bool:
        """Whether they are Parquet files."""
        return any(_is_table(path) for path in self.files)


def list_files(address: Address) -> Listing:
    """As the hub has it now; without a network, as it had it when it was asked last.

    Raises:
        LoangError: it can't be asked, and was not asked before.
        Exception: whatever huggingface_hub raises.
    """
    kept = _kept(address)
    if offline():
        if kept is None:
            raise LoangError(
                f"{address} is not in the cache, and the network is switched off.",
                "Run this once without LOANG_OFFLINE and HF_HUB_OFFLINE.",
            )
        return kept
    try:
        listing = _ask(address)
    except Exception as error:
        if kept is None or not is_network_trouble(error):
            raise
        return replace(
            kept, notices=[f"The hub can't be reached: {address} is as it was kept before."]
        )
    _keep(address, listing)
    return listing


def chosen(address: Address, listing: Listing) -> dict[str, int]:
    """The files of the configuration that is meant.

    Raises:
        LoangError: there are several and none is named, or not that one; or no file at all.
    """
    if not listing.files:
        raise LoangError(
            f"{address} has neither Parquet files nor images.",
            f"Look at {endpoint() or 'https://huggingface.co'}/datasets/{address.repo}, download"
            " what it has, and name the folder.",
        )
    if not listing.tables:
        return listing.files
    configs = dict[str, dict[str, int]]()
    for path, size in sorted(listing.files.items()):
        config = split_and_config(path, listing.converted)[1]
        configs.setdefault(config, {})[path] = size
    named = address.config or (next(iter(configs)) if len(configs) == 1 else None)
    if named not in configs:
        several = shown(", ".join(sorted(configs)), 300)
        problem = f"no configuration {shown(named)}" if named else "several configurations"
        raise LoangError(
            f"{address} has {problem}, but {several}."
            if named
            else f"{address} has {problem}: {several}.",
            f"Name one, for instance {replace(address, config=min(configs))}.",
        )
    return configs[named]


def split_and_config(path: str, converted: bool) -> tuple[str, str]:
    """What a Parquet file's path in a repository says of it: its part, and its configuration."""
    parts = PurePosixPath(path).parts
    if converted and len(parts) == 3:
        return parts[1].removeprefix("partial-"), parts[0]
    numbered = _NUMBERED.fullmatch(parts[-1])
    split = split_of(path) or (numbered["split"] if numbered else "")
    folders = [part for part in parts[:-1] if part != "data" and not split_of(part)]
    return split, "/".join(folders) or "default"


def _ask(address: Address) -> Listing:
    from huggingface_hub.errors import RevisionNotFoundError

    if address.revision is None:
        try:
            return _list(address, CONVERTED)
        except RevisionNotFoundError:
            pass  # it is not converted: too new, too large, private or of another kind
    return _list(address, address.revision or "main")


def _list(address: Address, revision: str) -> Listing:
    from huggingface_hub import HfApi

    api = HfApi(endpoint=endpoint())
    about: Any = api.repo_info(address.repo, repo_type="dataset", revision=revision)
    found = dict[str, int]()
    for each in api.list_repo_tree(
        address.repo, recursive=True, revision=about.sha, repo_type="dataset"
    ):
        size = getattr(each, "size", None)  # a folder has none
        if size is not None and (_is_table(each.path) or _is_of_folder(each.path)):
            found[each.path] = size
        if len(found) > MOST_FILES:
            raise LoangError(
                f"{address} has more than {MOST_FILES:,} files.",
                "Download what you need of it, and name the folder.",
            )
    tables = {path: size for path, size in found.items() if _is_table(path)}
    images = any(PurePosixPath(path).suffix.lower() in SUFFIXES for path in found)
    kept = tables or (found if images else {})
    return Listing(about.sha, revision == CONVERTED, dict(sorted(kept.items())))


def _is_table(path: str) -> bool:
    return path.lower().endswith(".parquet")


def _is_of_folder(path: str) -> bool:
    name = PurePosixPath(path)
    return name.suffix.lower() in SUFFIXES or name.name in USUAL_NAMES


def _place(address: Address) -> Any:
    name = json.dumps([endpoint(), address.repo, address.revision])
    return cache_folder() / "hub" / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.json"


def _kept(address: Address) -> Listing | None:
    try:
        about = read_json(_place(address))
        sizes = {str(path): int(size) for path, size in about["files"].items()}
        return Listing(str(about["commit"]), bool(about["converted"]), sizes)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _keep(address: Address, listing: Listing) -> None:
    about = {
        "data_set": address.repo,
        "commit": listing.commit,
        "converted": listing.converted,
        "files": listing.files,
    }
    try:
        _place(address).parent.mkdir(parents=True, exist_ok=True)
        files.write_text(_place(address), json.dumps(about))
    except OSError:
        return  # a cache that can't be written to is no reason to stop
