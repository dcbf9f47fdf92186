"""What one examination of a data set gives, with the images that a person should look at."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from loang.doctor.data_images import Numbered
from loang.doctor.finding import Part

NAMED = 10


@dataclass(frozen=True)
class Marked:
    """Images to look at.

    Args:
        topic: of the finding that they belong to.
        title: what is seen in them.
        groups: numbers of images; those of one group are shown side by side.
    """

    topic: str
    title: str
    groups: Sequence[Sequence[int]]


@dataclass(frozen=True)
class Sight(Part):
    """A part of a diagnosis.

    Args:
        marked: images to look at.
        changes: `section.key=value` that the training of these images needs.
    """

    marked: tuple[Marked, ...] = ()
    changes: tuple[str, ...] = ()


def named(places: Iterable[str]) -> str:
    """The first ten of these, and how many more there are."""
    listed = list(places)
    more = len(listed) - NAMED
    return ", ".join(listed[:NAMED]) + (f" and {more:,} more" if more > 0 else "")


def places(images: Numbered, numbers: Int64[np.ndarray, " n"]) -> list[str]:
    """What a person calls each of these images."""
    return [images.place(number) for number in numbers.tolist()]


def counted(count: int, noun: str = "image") -> str:
    """1 image, 2 images, 2 classes."""
    ending = "" if count == 1 else "es" if noun.endswith("s") else "s"
    return f"{count:,} {noun}{ending}"
