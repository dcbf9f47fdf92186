"""Images in memory or memory-mapped, their labels, and a data set split in two."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Int, Shaped

from loang.data.spec import ImageSpec


@dataclass(frozen=True)
class Images:
    """Images at their stored depth, all of one shape.

    Args:
        stored: (M, H, W, C) in the spec's depth, or in another floating-point depth, which is
            read as float32; may be memory-mapped.
        spec: what the images are.
        labels: one class index per image, or None.
        rows: which of the stored images these are, in their order; None for all of them.
        places: gives what a person calls the stored image of that row; None where it has no name.
    """

    stored: Shaped[np.ndarray, "m h w c"]
    spec: ImageSpec
    labels: Int[np.ndarray, " n"] | None = None
    rows: Int[np.ndarray, " n"] | None = None
    places: Callable[[int], str] | None = None

    def __post_init__(self) -> None:
        expected = (self.spec.height, self.spec.width, self.spec.channels)
        depth = self.stored.dtype  # bytes may lie in either order
        fits = depth.name == self.spec.depth or (self.spec.depth, depth.kind) == ("float32", "f")
        if self.stored.shape[1:] != expected or not fits:
            raise ValueError(
                f"pixels {self.stored.shape} {self.stored.dtype} do not fit {self.spec}"
            )
        if self.labels is not None and len(self.labels) != len(self):
            raise ValueError(f"{len(self.labels)} labels for {len(self)} images")

    def __len__(self) -> int:
        return len(self.stored if self.rows is None else self.rows)

    def __getitem__(self, indices: Int[np.ndarray, " k"] | slice) -> Shaped[np.ndarray, "k h w c"]:
        """Some images; a view of what is stored where that can be."""
        rows = indices if self.rows is None else self.rows[indices]
        return np.asarray(self.stored[rows]).astype(self.spec.depth, copy=False)

    @property
    def pixels(self) -> Shaped[np.ndarray, "n h w c"]:
        """All images; in memory, unless they are just what is stored."""
        return self[:]

    def place(self, index: int) -> str:
        """What a person calls image number `index`: its path, or its number."""
        row = int(index if self.rows is None else self.rows[index])
        return f"image {row}" if self.places is None else self.places(row)


@dataclass(frozen=True)
class Dataset:
    """Training and validation images that came from one place.

    Args:
        name: what a person calls it, for instance `fashion-mnist` or a folder's path.
        train: what the network learns from.
        validation: held out; at least one image.
        fingerprint: SHA-256 over the content of both parts, in hexadecimal.
        notices: sentences that the person should read before training starts.
        survey: what the images were before they were brought to one shape, where that was looked
            at: see `agreement.survey`.
    """

    name: str
    train: Images
    validation: Images
    fingerprint: str
    notices: tuple[str, ...] = ()
    survey: Mapping[str, Any] = field(default_factory=dict)

    @property
    def spec(self) -> ImageSpec:
        """What the images are; the same for both parts."""
        return self.train.spec

    @property
    def apart(self) -> bool:
        """Whether both parts hold different images; not so where all are the same."""
        one, other = self.train, self.validation
        if one.rows is None or other.rows is None:
            return one.stored is not other.stored
        return not np.array_equal(one.rows, other.rows)

    def map(self, change: Callable[[Images], Images]) -> "Dataset":
        """Both parts changed by the same function."""
        return replace(self, train=change(self.train), validation=change(self.validation))
