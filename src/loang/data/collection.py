"""Images in one place, each at its own shape and depth, before any of them is read."""

import abc
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, Shaped

from loang.data.encoded.picture import Header


@dataclass(frozen=True)
class Labels:
    """The class of each image of a collection.

    Args:
        names: of the classes 0, 1, ...
        numbers: one an image: its class, or -1 where none is known.
    """

    names: tuple[str, ...]
    numbers: Int[np.ndarray, " n"]

    @classmethod
    def of(cls, values: Sequence[str | int | None]) -> "Labels | None":
        """From each image's word or whole number; None where no image has one.

        Classes are in ascending order: whole numbers by value, words by letter.
        """
        known = {value for value in values if value is not None}
        if not known:
            return None
        if any(isinstance(value, str) for value in known):
            order: list[str | int] = sorted(known, key=str)
        else:
            order = sorted(known, key=int)
        numbers = {value: number for number, value in enumerate(order)}
        return cls(
            tuple(str(value) for value in order),
            np.array([-1 if v is None else numbers[v] for v in values], np.int64),
        )


class Collection(abc.ABC):
    """Images in one place. A source makes one; `packing` reads it once, and keeps what it read.

    Making one is cheap: it lists files or reads headers, and decodes nothing. What can be known
    only by opening every file (the number of pages of each TIFF) waits until `len` is asked for.
    `header` and `picture` are called by several threads at once, mostly in rising order.

    Args:
        name: what a person calls the place.
    """

    notices: Sequence[str] = ()
    """Sentences that a person should read: what was left aside, what was assumed."""

    def __init__(self, name: str) -> None:
        self.name = name

    @abc.abstractmethod
    def identity(self) -> str:
        """A text that changes whenever the images may have: cheap, such as sizes and times."""

    @abc.abstractmethod
    def __len__(self) -> int:
        """How many images there are, those that can't be read included."""

    @abc.abstractmethod
    def header(self, index: int) -> Header:
        """What image number `index` is, before it is decoded.

        Raises:
            Unreadable: it is damaged, too large, or no image.
        """

    @abc.abstractmethod
    def picture(self, index: int) -> Shaped[np.ndarray, "h w c"]:
        """Its values, the right way up: uint8, uint16 or float32.

        Raises:
            Unreadable: it is damaged, too large, or no image.
        """

    @abc.abstractmethod
    def place(self, index: int) -> str:
        """What a person calls that image: its path within the folder, or its row."""

    def labels(self) -> Labels | None:
        """The images' classes, where the place says them."""
        return None

    def held_out(self) -> Bool[np.ndarray, " n"] | None:
        """Which images are for validation, where the place says so; else content decides."""
        return None

    def array(self) -> Shaped[np.ndarray, "n h w c"] | None:
        """All images as they lie on the disk, where that is one memory-mapped array.

        What is of one shape and depth need not be written a second time.
        """
        return None
