"""From images to feature vectors, by named and hashed feature spaces."""

import difflib
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Int, Shaped

from loang.data.images import Dataset
from loang.data.spec import ImageSpec
from loang.errors import LoangError

OnStep = Callable[[int, int], None]


@runtime_checkable
class Features(Protocol):
    """A feature space: what turns images into the vectors that measures compare.

    Two scores can be compared where name and digest are the same.
    """

    @property
    def name(self) -> str:
        """For instance `fashion-v1`."""

    @property
    def digest(self) -> str:
        """SHA-256, in hexadecimal, of what defines the space."""

    @property
    def preprocessing(self) -> str:
        """One line on what is done to images first."""

    @property
    def dimension(self) -> int:
        """Of one feature vector."""

    @property
    def about(self) -> Mapping[str, Any]:
        """Where the space comes from, in plain values for a report; may be empty."""

    def __call__(
        self, pixels: Shaped[np.ndarray, "n h w c"], spec: ImageSpec, on_step: OnStep | None = None
    ) -> Float32[np.ndarray, "n d"]:
        """One feature vector an image; `on_step` is called with (images done, images in all)."""

    def classify(
        self, pixels: Shaped[np.ndarray, "n h w c"], spec: ImageSpec
    ) -> Int[np.ndarray, " n"] | None:
        """A class index an image, where the space comes with a classifier."""


def named(name: str, dataset: Dataset, *, on_step: OnStep | None = None) -> Features:
    """The feature space of that name, for images like those of a data set.

    Args:
        name: `auto` (fashion-v1 for Fashion-MNIST, else own), `fashion-v1`, `own` (learned from
            the data set's training images, up to a minute), `inception` (the FID of the papers),
            or `pixels`.
        dataset: what will be compared with.
        on_step: called while a space is learned with (steps done, steps in all).

    Raises:
        LoangError: there is no such space, or it can't be had here.
    """
    return _MAKERS[known(name)](dataset, on_step)


def at_hand(name: str, dataset: Dataset) -> bool:
    """Whether that space has not to be learnt first.

    Raises:
        LoangError: there is no such space.
    """
    from loang.metrics.features.fashion import shows_fashion
    from loang.metrics.features.own import is_kept

    wanted = known(name)
    own = wanted in ("own", "own-v1") or (wanted == "auto" and not shows_fashion(dataset.spec))
    return not own or is_kept(dataset)


def known(name: str) -> str:
    """The name as it is written here; no space is made yet.

    Raises:
        LoangError: there is no such space.
    """
    wanted = name.strip().lower()
    if wanted not in _MAKERS:
        close = difflib.get_close_matches(wanted, _MAKERS, n=1)
        raise LoangError(
            f"There are no features called {name!r}.",
            f"Did you mean {close[0]}?"
            if close
            else "There are auto, fashion-v1, own, inception and pixels.",
        )
    return wanted


# torch takes a second, so each space is imported when it is asked for.


def _auto(dataset: Dataset, on_step: OnStep | None) -> Features:
    from loang.metrics.features.fashion import shows_fashion

    return (_fashion if shows_fashion(dataset.spec) else _own)(dataset, on_step)


def _fashion(dataset: Dataset, on_step: OnStep | None) -> Features:
    from loang.metrics.features.fashion import fashion_features

    return fashion_features()


def _own(dataset: Dataset, on_step: OnStep | None) -> Features:
    from loang.metrics.features.own import own_features

    return own_features(dataset, on_step=on_step)


def _inception(dataset: Dataset, on_step: OnStep | None) -> Features:
    from loang.metrics.features.inception import InceptionFeatures

    return InceptionFeatures()


def _pixels(dataset: Dataset, on_step: OnStep | None) -> Features:
    from loang.metrics.features.pixels import PixelFeatures

    return PixelFeatures(dataset.spec)


_MAKERS: dict[str, Callable[[Dataset, OnStep | None], Features]] = {
    "auto": _auto,
    "fashion-v1": _fashion,
    "fashion": _fashion,
    "own-v1": _own,
    "own": _own,
    "inception-v3": _inception,
    "inception": _inception,
    "pixels-v1": _pixels,
    "pixels": _pixels,
}
