"""All images of a data set, counted through: those to learn from first, then those held out."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Int64, Shaped

from loang.data.images import Dataset
from loang.data.spec import ImageSpec


@dataclass(frozen=True)
class Numbered:
    """The images of both parts under one number each; of the first alone, where both are the same.

    Args:
        dataset: whose they are.
    """

    dataset: Dataset

    @property
    def spec(self) -> ImageSpec:
        """What they are."""
        return self.dataset.spec

    @property
    def learned(self) -> int:
        """How many there are to learn from; from this number on they are held out."""
        return len(self.dataset.train)

    def __len__(self) -> int:
        held_out = self.dataset.validation if self.dataset.apart else ()
        return self.learned + len(held_out)

    def __getitem__(self, numbers: Int[np.ndarray, " n"]) -> Shaped[np.ndarray, "n h w c"]:
        """Some images, in the order of their numbers."""
        train, held_out = self.dataset.train, self.dataset.validation
        among = numbers < self.learned
        found = np.empty((len(numbers), *self._sides), self.spec.depth)
        if among.any():
            found[among] = train[numbers[among]]
        if not among.all():
            found[~among] = held_out[numbers[~among] - self.learned]
        return found

    def is_held_out(self, number: int) -> bool:
        """Whether that image is not learned from."""
        return number >= self.learned

    def place(self, number: int) -> str:
        """What a person calls it."""
        if not self.is_held_out(number):
            return self.dataset.train.place(number)
        held_out = self.dataset.validation
        place = held_out.place(number - self.learned)
        # Two arrays both have an image 0.
        twice = held_out.places is None and held_out.stored is not self.dataset.train.stored
        return f"held-out {place}" if twice else place

    @property
    def labels(self) -> Int64[np.ndarray, " n"] | None:
        """The class of each, or None."""
        train, held_out = self.dataset.train.labels, self.dataset.validation.labels
        if train is None or held_out is None:
            return None
        both = (train, held_out) if self.dataset.apart else (train,)
        return np.concatenate(both).astype(np.int64)

    @property
    def _sides(self) -> tuple[int, int, int]:
        return self.spec.height, self.spec.width, self.spec.channels


def evenly(count: int, most: int) -> Int64[np.ndarray, " n"]:
    """Up to `most` of the numbers 0..count-1, evenly spaced, ascending."""
    return np.arange(min(count, most)) * count // max(1, min(count, most))
