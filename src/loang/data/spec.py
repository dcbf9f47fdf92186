"""What the images of a data set, or of a model, are: shape, depth, range and class names."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

Depth = Literal["uint8", "uint16", "float32"]
FULL_RANGE: dict[str, tuple[float, float]] = {"uint8": (0.0, 255.0), "uint16": (0.0, 65535.0)}


@dataclass(frozen=True)
class ImageSpec:
    """The one description of images that data, models and pictures share.

    The value `low` is shown to the network as -1 and `high` as 1; the same rule, backwards,
    turns samples into images, so nobody else has to know the range.

    Args:
        height: pixels.
        width: pixels.
        channels: 1 for grey, 3 for RGB, 4 for RGBA, or any other number.
        depth: how a stored value is kept.
        low: the stored value that becomes -1.
        high: the stored value that becomes 1; above `low`.
        class_names: the name of label 0, 1, ...; empty where images carry no labels.
    """

    height: int
    width: int
    channels: int
    depth: Depth = "uint8"
    low: float = 0.0
    high: float = 255.0
    class_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if min(self.height, self.width, self.channels) < 1:
            raise ValueError(f"an image of {self.height}x{self.width}x{self.channels} is empty")
        if not self.low < self.high:
            raise ValueError(f"the range {self.low}..{self.high} is empty")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width), as a network sees one image."""
        return self.channels, self.height, self.width

    def to_model(self, pixels: Shaped[np.ndarray, "n h w c"]) -> Float[Tensor, "n c h w"]:
        """Stored values to the network's range [-1, 1], float32."""
        values = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2)
        values = values.to(torch.float32)
        return (values - self.low) * (2.0 / (self.high - self.low)) - 1.0

    def from_model(self, x: Float[Tensor, "n c h w"]) -> Shaped[np.ndarray, "n h w c"]:
        """The network's range back to stored values; what lies outside [-1, 1] is clipped."""
        values = x.detach().to("cpu", torch.float64).clamp(-1.0, 1.0).permute(0, 2, 3, 1)
        stored = ((values + 1.0) * ((self.high - self.low) / 2.0) + self.low).numpy()
        if self.depth != "float32":
            stored = np.rint(stored)
        return np.ascontiguousarray(stored.astype(self.depth))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ImageSpec":
        """The inverse of `to_dict`."""
        return cls(**{**values, "class_names": tuple(values.get("class_names", ()))})
