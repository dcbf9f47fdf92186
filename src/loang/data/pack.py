"""A pack: images that were read once, in the cache, opened in milliseconds ever after.

A folder whose arrays are all plain `.npy` files, memory-mapped when opened:

    about.json      format, name, spec, fingerprint, notices; what was left out, and of how many
    pixels.npy      (M, H, W, C); not there where the images' own file is mapped in its place
    train.npy       row numbers of the training images, ascending
    held-out.npy    row numbers of the images held out
    train-labels.npy, held-out-labels.npy   one class an image, where there are labels
    digests.npy     (N, 16) uint8: the first half of each image's SHA-256, in ascending row
    places.npy      where the name of each row ends in places.txt, where rows have names
    places.txt      those names, one after another, UTF-8
    left-out.txt    what could not be used, a line each, with the reason
"""

import json
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from jaxtyping import Int, Shaped, UInt8

from loang import files, untrusted
from loang.data.images import Dataset, Images
from loang.data.memory import require_memory
from loang.data.places.npy import map_npy
from loang.data.spec import ImageSpec

FORMAT = 1
ABOUT = "about.json"
LEFT_OUT = "left-out.txt"


@dataclass(frozen=True)
class Contents:
    """All of a pack.

    Args:
        pixels: the images, in rows.
        spec: what they are.
        train: rows.
        held_out: rows.
        labels: of the training images and of those held out, or None.
        digests: one an image of both parts, in ascending row.
        places: what a person calls each row; empty where rows have no names.
        left_out: what could not be used: a place and a reason each.
        about: name, fingerprint and notices, and what else should be kept; plain values for JSON.
        borrowed: whether the pixels are mapped from the images' own file.
    """

    pixels: Shaped[np.ndarray, "m h w c"]
    spec: ImageSpec
    train: Int[np.ndarray, " t"]
    held_out: Int[np.ndarray, " v"]
    labels: tuple[Int[np.ndarray, " t"], Int[np.ndarray, " v"]] | None
    digests: UInt8[np.ndarray, "n 16"]
    places: Sequence[str] = ()
    left_out: Sequence[tuple[str, str]] = ()
    about: dict[str, Any] = field(default_factory=dict)
    borrowed: bool = False

    @property
    def asked(self) -> list[Any]:
        """Size and channels that were wished for."""
        wished: list[Any] = self.about["asked"]
        return wished

    def called(self, name: str) -> "Contents":
        """The same, told by another name of the place: it was packed by who calls it otherwise."""
        old = self.about["name"]
        if old == name:
            return self
        word = re.compile(rf"(?<!\S){re.escape(old)}(?=[,;:.]?(?:\s|$))")
        sentence, *notices = (
            word.sub(lambda found: name, said)
            for said in (self.about["sentence"], *self.about["notices"])
        )
        about = {**self.about, "name": name, "notices": notices, "sentence": sentence}
        return replace(self, about=about)

    def check(self) -> None:
        """Whether all parts fit together.

        Raises:
            ValueError: they do not.
        """
        self.dataset()
        for rows in (self.train, self.held_out):  # ascending
            if not len(rows) or rows[0] < 0 or rows[-1] >= len(self.pixels):
                raise ValueError("its rows are not those of its pixels")

    def dataset(self) -> Dataset:
        """Its images, in their two parts."""

        places = self.places.__getitem__ if len(self.places) else None
        train, held_out = (
            Images(self.pixels, self.spec, labels, rows, places)
            for labels, rows in zip(
                self.labels or (None, None), (self.train, self.held_out), strict=True
            )
        )
        about = self.about
        return Dataset(
            about["name"],
            train,
            held_out,
            about["fingerprint"],
            tuple(about["notices"]),
            about["survey"],
        )


class Places(Sequence[str]):
    """The names of a pack's rows, each read when it is asked for."""

    def __init__(self, folder: Path) -> None:
        # Mapped from now on: the pack may be replaced while its images are in use.
        self.ends = map_npy(folder / "places.npy")
        self.text = np.memmap(folder / "places.txt", np.uint8, "r")

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, row: Any) -> Any:
        """The name of one row."""
        start = int(self.ends[row - 1]) if row else 0
        return bytes(self.text[start : int(self.ends[row])]).decode("utf-8", "replace")


def read(folder: Path, array: Shaped[np.ndarray, "m h w c"] | None = None) -> Contents | None:
    """A pack that lies there whole; None where there is none, or what is there is of no use.

    Args:
        folder: of the pack.
        array: the images' own file, for a pack that holds no pixels.
    """
    try:
        about = untrusted.read_json(folder / ABOUT)
        if about.get("format") != FORMAT:
            return None
        pixels = array
        own = (folder / "pixels.npy").exists()
        if own or pixels is None:
            pixels = _load(folder / "pixels.npy")
        spec = ImageSpec.from_dict(about["images"])
        labels = None
        if spec.class_names:
            labels = _load(folder / "train-labels.npy"), _load(folder / "held-out-labels.npy")
        contents = Contents(
            pixels=pixels,
            spec=spec,
            train=_load(folder / "train.npy"),
            held_out=_load(folder / "held-out.npy"),
            labels=labels,
            digests=_load(folder / "digests.npy"),
            places=Places(folder) if (folder / "places.npy").exists() else (),
            about=about,
            borrowed=not own,
        )
        contents.check()
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None
    return contents


def _load(path: Path) -> Shaped[np.ndarray, "..."]:
    # Not as np.memmap, whose every slice costs microseconds more than an array's.
    return np.asarray(map_npy(path))


def write(folder: Path, contents: Contents) -> None:
    """All of a pack but its pixels; `about.json` is written last.

    Raises:
        OSError: the system refuses.
    """
    arrays = {
        "train": contents.train,
        "held-out": contents.held_out,
        "digests": contents.digests,
    }
    if contents.labels is not None:
        arrays["train-labels"], arrays["held-out-labels"] = contents.labels
    if contents.places:
        encoded = [place.encode("utf-8", "surrogateescape") for place in contents.places]
        arrays["places"] = np.cumsum([len(place) for place in encoded])
        files.write(folder / "places.txt", encoded)
    for name, values in arrays.items():
        with (folder / f"{name}.npy").open("wb") as file:
            np.lib.format.write_array(file, np.asarray(values), allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
    lines = [f"{place}: {reason}\n" for place, reason in contents.left_out]
    files.write(folder / LEFT_OUT, [line.encode("utf-8", "replace") for line in lines])
    about = {"format": FORMAT, "images": contents.spec.to_dict(), **contents.about}
    files.write(folder / ABOUT, [json.dumps(about, indent=1).encode()])


class Writer:
    """Images, one after another, into a file, or into memory where no file can be.

    Args:
        shape: height, width and channels.
        depth: of all values.
        most: how many images there can be.
        path: of an `.npy` file; None keeps them in memory.
        what: what they are called where they do not fit in memory.

    Raises:
        LoangError: they do not fit in memory.
    """

    def __init__(
        self, shape: tuple[int, int, int], depth: str, most: int, path: Path | None, what: str
    ) -> None:
        self.shape, self.depth, self.path = shape, depth, path
        self.count = 0
        self.file: IO[bytes] | None = None
        if path is None:
            require_memory((most, *shape), depth, what)
            self.memory = np.empty((most, *shape), depth)
        else:
            self.file = path.open("wb")
            self._header()

    def add(self, picture: Shaped[np.ndarray, "h w c"]) -> None:
        """One more image.

        Raises:
            OSError: the disk is full.
        """
        if self.file is None:
            self.memory[self.count] = picture
        else:
            self.file.write(np.ascontiguousarray(picture).data)
        self.count += 1

    def finish(self) -> Shaped[np.ndarray, "m h w c"]:
        """All images that were added; on the disk, where they are in a file.

        Raises:
            OSError: the disk is full.
        """
        if self.file is None or self.path is None:
            return self.memory[: self.count]
        self._header()
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        return _load(self.path)

    def _header(self) -> None:
        """At the file's start: numpy leaves room for any number of rows."""
        assert self.file is not None
        self.file.seek(0)
        np.lib.format.write_array_header_1_0(
            self.file,
            {
                "descr": np.lib.format.dtype_to_descr(np.dtype(self.depth)),
                "fortran_order": False,
                "shape": (self.count, *self.shape),
            },
        )

    def __enter__(self) -> "Writer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.file is not None:
            self.file.close()


def rewrite(
    path: Path | None, pixels: Shaped[np.ndarray, "m h w c"], row: int, picture: np.ndarray
) -> None:
    """Another picture in one row of what a `Writer` has finished.

    Raises:
        OSError: the system refuses.
    """
    if path is None:
        pixels[row] = picture
        return
    with path.open("r+b") as file:
        file.seek(-(len(pixels) - row) * picture.nbytes, os.SEEK_END)
        file.write(np.ascontiguousarray(picture).data)


def remove(folder: Path) -> None:
    """Delete a pack, as far as the system allows: what another process has open may stay."""
    shutil.rmtree(folder, ignore_errors=True)
