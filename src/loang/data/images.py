"""Images in memory (or memory-mapped), their labels, and a data set split in two."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int, Shaped

from loang.data.spec import ImageSpec


@dataclass(frozen=True)
class Images:
    """Images at their stored depth, all of one shape.

    Args:
        pixels: (N, H, W, C) in the spec's depth; may be memory-mapped.
        spec: what the images are.
        labels: one class index per image, or None.
    """

    pixels: Shaped[np.ndarray, "n h w c"]
    spec: ImageSpec
    labels: Int[np.ndarray, " n"] | None = None

    def __post_init__(self) -> None:
        expected = (self.spec.height, self.spec.width, self.spec.channels)
        if self.pixels.shape[1:] != expected or self.pixels.dtype != self.spec.depth:
            raise ValueError(
                f"pixels {self.pixels.shape} {self.pixels.dtype} do not fit {self.spec}"
            )
        if self.labels is not None and len(self.labels) != len(self.pixels):
            raise ValueError(f"{len(self.labels)} labels for {len(self.pixels)} images")

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, indices: Int[np.ndarray, " k"]) -> Shaped[np.ndarray, "k h w c"]:
        return self.pixels[indices]


@dataclass(frozen=True)
class Dataset:
    """Training and validation images that came from one place.

    Args:
        name: what a person calls it, for instance `fashion-mnist` or a folder's path.
        train: what the network learns from.
        validation: held out; at least one image.
        fingerprint: SHA-256 over the content of both parts, in hexadecimal.
        notices: sentences that the person should read before training starts.
    """

    name: str
    train: Images
    validation: Images
    fingerprint: str
    notices: tuple[str, ...] = ()

    @property
    def spec(self) -> ImageSpec:
        """What the images are; the same for both parts."""
        return self.train.spec

    def map(self, change: Callable[[Images], Images]) -> "Dataset":
        """Both parts changed by the same function."""
        return replace(self, train=change(self.train), validation=change(self.validation))
