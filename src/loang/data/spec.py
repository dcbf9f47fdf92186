"""What the images of a data set, or of a model, are: shape, depth, range and class names."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

Depth = Literal["uint8", "uint16", "float32"]
FULL_RANGE: dict[str, tuple[float, float]] = {"uint8": (0.0, 255.0), "uint16": (0.0, 65535.0)}


@dataclass(frozen=True)
class ImageSpec:
    """The one description of images that data, models and pictures share.

    The value `low` is shown to the network as -1 and `high` as 1 (scaling.py); the same rule,
    backwards, turns samples into images, so nobody else has to know the range.

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

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ImageSpec":
        """The inverse of `to_dict`."""
        return cls(**{**values, "class_names": tuple(values.get("class_names", ()))})
