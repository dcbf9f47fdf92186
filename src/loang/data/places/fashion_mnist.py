"""Fashion-MNIST (Xiao et al. 2017): 70,000 grey pictures of clothes, 28x28, in ten classes."""

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

from loang.data.download import Progress, fetch
from loang.data.environment import cache_folder, data_folder, offline
from loang.data.fingerprint import fingerprint
from loang.data.images import Dataset, Images
from loang.data.places.idx import read_idx
from loang.data.places.sample import TRAIN, about_sample, read_sample
from loang.data.spec import ImageSpec
from loang.errors import LoangError

NAME = "fashion-mnist"
FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
SHAPES = ((60_000, 28, 28), (60_000,), (10_000, 28, 28), (10_000,))
MIRRORS = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
)
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
SPEC = ImageSpec(28, 28, 1, class_names=CLASS_NAMES)

CONNECT_TIMEOUT = 2.0  # a machine without a network shall not wait longer than this
DEADLINE = 60.0  # seconds for all four files, 30 MB

Arrays = list[UInt8[np.ndarray, "..."]]


class NotFashionMnist(LoangError):
    """Files by the names of Fashion-MNIST's, which MNIST's and others' have too."""


def load(
    folder: Path | None = None,
    *,
    download: bool = True,
    on_progress: Progress | None = None,
) -> Dataset:
    """60,000 training and 10,000 validation images, or the sample that ships with loang.

    They are looked for in `folder`; in `LOANG_DATA` and its subfolder `fashion-mnist`; in
    loang's cache; where Debian's package puts them; at the official addresses, from where they
    go into the cache; and at last 10,000 and 2,000 of them are taken from the package.

    Args:
        folder: holds the four IDX files, gzipped or not, itself or in its `fashion-mnist`.
        download: whether the network may be used; `LOANG_OFFLINE=1` forbids it too.
        on_progress: called as the download goes on.

    Raises:
        LoangError: `folder` lacks a file, or a file there or in `LOANG_DATA` is damaged.
    """
    if folder is not None:
        return _dataset(_read_named(folder), ())
    named = data_folder()
    if named is not None and any(_present(place) for place in _places(named)):
        return _dataset(_read_named(named), ())
    notices: list[str] = []
    cache = cache_folder() / NAME
    for place in (cache, DEBIAN):
        if len(_present(place)) == len(FILES):
            try:
                return _dataset(_read(place), tuple(notices))
            except LoangError as error:
                notices.append(f"{error.problem} It was looked for elsewhere.")
    if download and not offline():
        try:
            _download(cache, on_progress)
            return _dataset(_read(cache), tuple(notices))
        except LoangError as error:
            reason = error.problem.rstrip(".")
    else:
        reason = "downloading is switched off"
    return _sample((*notices, _sample_notice(reason, cache)))


def holds_fashion_mnist(folder: Path) -> bool:
    """Whether a folder has all four files, gzipped or not."""
    return len(_present(folder)) == len(FILES)


def _places(folder: Path) -> tuple[Path, Path]:
    return folder, folder / NAME


def _present(folder: Path) -> list[Path]:
    return [path for name in FILES if (path := _find(folder, name)) is not None]


def _find(folder: Path, name: str) -> Path | None:
    candidates = (folder / f"{name}.gz", folder / name)
    try:
        return next((path for path in candidates if path.is_file()), None)
    except OSError:  # a folder that may not be entered holds nothing for us
        return None


def _read_named(folder: Path) -> Arrays:
    """What a person pointed at: anything missing or damaged is theirs to know."""
    place = max(_places(folder), key=lambda place: len(_present(place)))
    missing = [name for name in FILES if _find(place, name) is None]
    if missing:
        raise LoangError(
            f"{place} lacks {len(missing)} of Fashion-MNIST's four files: {', '.join(missing)}.",
            "Put them there, with or without .gz, or name no folder to have them fetched.",
        )
    return _read(place)


def _read(folder: Path) -> Arrays:
    return list(_read_each(folder))


def _read_each(folder: Path) -> Iterator[UInt8[np.ndarray, "..."]]:
    for name, shape in zip(FILES, SHAPES, strict=True):
        path = _find(folder, name)
        assert path is not None
        values = read_idx(path)
        header = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes()
        content = hashlib.sha256(header)
        content.update(values.data)
        expected = about_sample()["originals"][name]["content_sha256"]
        if values.shape != shape or content.hexdigest() != expected:
            raise NotFashionMnist(
                f"{path} is a sound IDX file of shape {values.shape}, but not Fashion-MNIST's.",
                "Name the file or its folder, and not fashion-mnist.",
            )
        yield values


def _download(folder: Path, on_progress: Progress | None) -> None:
    end = time.monotonic() + DEADLINE
    bases, patience = list(MIRRORS), CONNECT_TIMEOUT
    for name in FILES:
        about = about_sample()["originals"][name]
        served = fetch(
            [f"{base}{name}.gz" for base in bases],
            folder / f"{name}.gz",
            sha256=about["gz_sha256"],
            size=about["gz_bytes"],
            connect_timeout=patience,
            deadline=max(end - time.monotonic(), 0.0),
            on_progress=on_progress,
        )
        # The mirror that answered is asked first from now on, and trusted a little longer.
        bases.sort(key=lambda base: served is None or not served.startswith(base))
        patience = 3 * CONNECT_TIMEOUT


def _sample_notice(reason: str, cache: Path) -> str:
    return (
        f"This is loang's sample of 10,000 Fashion-MNIST images, because {reason}; for all 70,000, "
        f"run this again with a network (what has arrived is kept) or put the four files into "
        f"{cache}."
    )


def _sample(notices: tuple[str, ...]) -> Dataset:
    images, labels = read_sample()
    parts = [images[:TRAIN], labels[:TRAIN], images[TRAIN:], labels[TRAIN:]]
    return _dataset(parts, notices)


def _dataset(arrays: Arrays, notices: tuple[str, ...]) -> Dataset:
    train, validation = _images(arrays[0], arrays[1]), _images(arrays[2], arrays[3])
    return Dataset(NAME, train, validation, fingerprint(train, validation), notices)


def _images(pixels: UInt8[np.ndarray, "n h w"], labels: UInt8[np.ndarray, " n"]) -> Images:
    classes: Int[np.ndarray, " n"] = labels.astype(np.int64)
    return Images(pixels[..., np.newaxis], SPEC, classes)
