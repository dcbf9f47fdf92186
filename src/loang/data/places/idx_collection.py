"""IDX files of images, as MNIST and its kin come: named by path, with their labels beside them."""

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8

from loang.data.collection import Collection, Labels
from loang.data.encoded.header import Header
from loang.data.places.idx import read_idx
from loang.data.places.names import printable
from loang.data.places.parts import held_out_rows
from loang.data.places.shards import path_of
from loang.data.wishes import Wishes
from loang.errors import LoangError

# train-images-idx3-ubyte.gz, t10k-images.idx3-ubyte, emnist-letters-test-images-idx3-ubyte
IMAGES = re.compile(
    r"(?P<set>.*?)(?P<part>train|t10k|test)?-?images(?P<sign>[-.])idx[34]-ubyte(\.gz)?",
    re.IGNORECASE,
)
SIDEWAYS = "emnist"
"""EMNIST's files (Cohen et al. 2017) so called have the columns of each image as its rows."""


class IdxCollection(Collection):
    """The images of IDX files; their classes are the numbers in the files of labels beside them.

    Args:
        paths: of the files of images: one, or one to train and one that is held out.
        name: what a person calls them.
    """

    def __init__(self, paths: Sequence[Path], name: str) -> None:
        super().__init__(name)
        self.paths = paths
        if any(path.name.lower().startswith(SIDEWAYS) for path in paths):
            self.notices = [f"The images of {name} lie on their side, as EMNIST's do: turned back."]

    def identity(self) -> str:
        """Of each file, its path, size and times."""
        beside = [path for path in map(labels_beside, self.paths) if path is not None]
        about = [(str(path), path.stat()) for path in [*self.paths, *beside]]
        return repr([(path, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for path, s in about])

    @cached_property
    def images(self) -> list[UInt8[np.ndarray, "_ _ _ _"]]:
        """Of each file, all of its images (N, H, W, C), the right way up.

        Raises:
            LoangError: a file is damaged, or holds no images.
        """
        return [read_images(path) for path in self.paths]

    def __len__(self) -> int:
        return sum(len(images) for images in self.images)

    def header(self, index: int) -> Header:
        """See `Collection`."""
        height, width, channels = self.picture(index).shape
        return Header(height, width, channels, "uint8")

    def picture(self, index: int) -> UInt8[np.ndarray, "h w c"]:
        """See `Collection`."""
        file, row = self._find(index)
        return self.images[file][row]

    def place(self, index: int) -> str:
        """The file's name and the image's number in it."""
        file, row = self._find(index)
        return f"{printable(self.paths[file].name)}, image {row:,}"

    def labels(self) -> Labels | None:
        """From the files of labels; none where one of them is not there.

        Raises:
            LoangError: one is damaged, or of another length than the images.
        """
        values = list[str | int | None]()
        for path, images in zip(self.paths, self.images, strict=True):
            beside = labels_beside(path)
            if beside is None:
                return None
            labels = read_idx(beside)
            if labels.shape != (len(images),):
                raise LoangError(
                    f"{beside} has the shape {labels.shape}, and {path.name} {len(images):,}"
                    " images.",
                    "Put files together that belong together, or choose --no-labels.",
                )
            values += labels.tolist()
        return Labels.of(values)

    def held_out(self) -> Bool[np.ndarray, " n"] | None:
        """The images of the second file, if there are two."""
        splits = ["train", "test"][: len(self.paths)]
        return held_out_rows(splits, [len(images) for images in self.images])

    def _find(self, index: int) -> tuple[int, int]:
        first = len(self.images[0])
        return (0, index) if index < first else (1, index - first)


def read_images(path: Path) -> UInt8[np.ndarray, "n h w c"]:
    """The images of an IDX file, the right way up.

    Raises:
        LoangError: it is damaged, or holds no images.
    """
    values = read_idx(path)
    if values.ndim not in (3, 4) or 0 in values.shape[1:]:
        raise LoangError(
            f"{path} has the shape {values.shape}, which is not one of many images.",
            "Name a file of images; that of its labels is found beside it.",
        )
    values = values[..., np.newaxis] if values.ndim == 3 else values
    return values.swapaxes(1, 2) if path.name.lower().startswith(SIDEWAYS) else values


def labels_beside(path: Path) -> Path | None:
    """The file of labels that belongs to one of images, gzipped or not."""
    found = IMAGES.fullmatch(path.name)
    if found is None:
        return None
    start = path.name[: found.start("sign") - len("images")]
    name = f"{start}labels{found['sign']}idx1-ubyte"
    return next((p for n in (name, f"{name}.gz") if (p := path.with_name(n)).is_file()), None)


def pairs_in(folder: Path) -> dict[str, dict[str, Path]]:
    """The files of images in a folder: by the set's name, and then by `train`, `test` or neither.

    A file that is there twice, gzipped and not, counts once.
    """
    sets = dict[str, dict[str, Path]]()
    try:
        paths = sorted(folder.iterdir(), reverse=True) if folder.is_dir() else []
    except OSError:  # a folder that may not be entered holds nothing for us
        return sets
    for path in paths:
        found = IMAGES.fullmatch(path.name)
        if found is not None and path.is_file():
            part = (found["part"] or "").lower().replace("t10k", "test")
            sets.setdefault(found["set"], {})[part] = path
    return sets


def is_idx(name: str) -> bool:
    """Whether a name is that of an IDX file of images, or of a folder that has some."""
    path = path_of(name)
    return bool(pairs_in(path)) or (IMAGES.fullmatch(path.name) is not None and path.is_file())


def open_idx(name: str, wishes: Wishes) -> Collection:
    """The images of an IDX file, or of the pair `train` and `t10k` or `test` in a folder.

    Raises:
        LoangError: the folder has several data sets.
    """
    path = path_of(name)
    if not path.is_dir():
        return IdxCollection([path], name)
    sets = pairs_in(path)
    if len(sets) != 1:
        several = ", ".join(sorted(file.name for files in sets.values() for file in files.values()))
        raise LoangError(
            f"{name} holds several data sets: {several}.",
            "Name one of these files, or put the files of one data set into a folder of their own.",
        )
    (files,) = sets.values()
    return IdxCollection([files[part] for part in ("train", "", "test") if part in files][:2], name)
