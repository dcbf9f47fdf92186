"""Samples to the disk as they are drawn: in constant memory, and gone on with where they stopped.

A note beside them says what decides them and how many are there. It goes when all are: only what
was interrupted is gone on with, and a command that is repeated afterwards draws anew, as any does.
"""

import contextlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from loang import files, pictures
from loang.data.spec import ImageSpec
from loang.lock import Lock


class Stream(ABC):
    """Where samples go, number by number.

    Args:
        place: the file or folder where they will be.
        note: the file that says how far it has come.
        lock: the file that says who writes there now, whichever samples.
        name: of all that decides the samples; another's are not gone on with.
    """

    def __init__(self, place: Path, note: Path, lock: Path, name: str) -> None:
        self.place = place
        self.note = note
        self.lock = lock
        self.name = name

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        """The right to write there, and to read how far it has come, while this lasts.

        Raises:
            LoangError: another process has it, or the place can't be written.
        """
        with files.writing(self.place):
            self.lock.parent.mkdir(parents=True, exist_ok=True)
            lock = Lock(self.lock, str(self.place), stays=False)
        try:
            yield
        finally:
            lock.release()

    @property
    def done(self) -> int:
        """How many are there."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            found = json.loads(self.note.read_text(encoding="utf-8"))
            if found["name"] == self.name:
                return self._sound(int(found["done"]))
        return 0

    def put(self, first: int, pixels: Shaped[np.ndarray, "n h w c"]) -> None:
        """Keep samples number first, first + 1, ...

        Raises:
            LoangError: the disk is full, or the place can't be written.
        """
        if first == 0:  # what stands there from another time is nothing of these
            self._say(0)
        self._write(first, pixels)
        self._say(first + len(pixels))

    def finish(self) -> None:
        """All are there."""
        self._complete()
        with contextlib.suppress(OSError):
            self.note.unlink(missing_ok=True)

    def _say(self, done: int) -> None:
        self.note.parent.mkdir(parents=True, exist_ok=True)
        files.write_text(self.note, json.dumps({"name": self.name, "done": done}))

    @abstractmethod
    def _sound(self, done: int) -> int:
        """How many of those that the note tells of are really there."""

    @abstractmethod
    def _write(self, first: int, pixels: Shaped[np.ndarray, "n h w c"]) -> None: ...

    @abstractmethod
    def _complete(self) -> None:
        """What is left to do once all are there."""


class Singles(Stream):
    """A folder of single images.

    Args:
        folder: it may be there already.
        spec: what the images are.
        name: see `Stream`.
    """

    def __init__(self, folder: Path, spec: ImageSpec, name: str) -> None:
        super().__init__(folder, folder / ".samples.json", folder / ".samples.lock", name)
        self.folder = folder
        self.spec = spec

    def beyond(self, count: int) -> int:
        """How many images of higher numbers are there, from another time."""
        suffix = pictures.single_path(self.folder, 0, self.spec).suffix
        found = (each.stem for each in self.folder.glob(f"*{suffix}"))
        return sum(stem.isdecimal() and int(stem) >= count for stem in found)

    def _sound(self, done: int) -> int:
        if done < 0:
            return 0
        there = (pictures.single_path(self.folder, i, self.spec).exists() for i in range(done))
        return next((i for i, each in enumerate(there) if not each), done)

    def _write(self, first: int, pixels: Shaped[np.ndarray, "n h w c"]) -> None:
        pictures.save_singles(pixels, self.spec, self.folder, first)

    def _complete(self) -> None:
        pass


class Array(Stream):
    """A .npy file, written beside its place under another name until it is whole.

    Args:
        path: of the file.
        count: images.
        spec: what they are.
        name: see `Stream`.
    """

    def __init__(self, path: Path, count: int, spec: ImageSpec, name: str) -> None:
        self.part = path.with_name(f".{path.name}.{name}.{count}.part")
        lock = path.with_name(f".{path.name}.lock")
        super().__init__(path, self.part.with_suffix(".json"), lock, name)
        self.shape = (count, spec.height, spec.width, spec.channels)
        self.kind = np.dtype(spec.depth)

    def unfinished(self) -> list[Path]:
        """What other commands that were interrupted have left beside it, of full size each."""
        mark = f".{self.place.name}."
        beside = self.place.parent.iterdir()
        found = (each for each in beside if each.name.startswith(mark) and each.suffix == ".part")
        return sorted(each for each in found if each != self.part)

    def _sound(self, done: int) -> int:
        if not 0 <= done <= self.shape[0]:
            return 0
        opened = self._opened("r")
        return done if opened.shape == self.shape and opened.dtype == self.kind else 0

    def _write(self, first: int, pixels: Shaped[np.ndarray, "n h w c"]) -> None:
        with files.writing(self.place):
            if first == 0:
                self._create()
            opened = self._opened("r+")
            opened[first : first + len(pixels)] = pixels
            opened.flush()

    def _complete(self) -> None:
        with files.writing(self.place):
            files.flush(self.part)
            files.rename(self.part, self.place)
            files.flush(self.place.parent)

    def _create(self) -> None:
        """The whole file, written out: a full disk says so now, and not as a signal later."""
        self.part.parent.mkdir(parents=True, exist_ok=True)
        files.check_space(self.part.parent, int(np.prod(self.shape)) * self.kind.itemsize)
        with self.part.open("wb") as file:
            header = {
                "descr": np.lib.format.dtype_to_descr(self.kind),
                "fortran_order": False,
                "shape": self.shape,
            }
            np.lib.format.write_array_header_1_0(file, header)
            left, block = int(np.prod(self.shape)) * self.kind.itemsize, bytes(2**20)
            while left > 0:
                left -= file.write(block[:left])

    def _opened(self, mode: str) -> np.memmap:
        opened = np.lib.format.open_memmap(self.part, mode=mode)
        assert isinstance(opened, np.memmap)
        return opened
