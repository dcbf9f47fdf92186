"""What the images of a data set, or of a model, are: shape, depth, range and class names."""

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from loang.untrusted import shown

Depth = Literal["uint8", "uint16", "float32"]
FULL_RANGE: dict[str, tuple[float, float]] = {"uint8": (0.0, 255.0), "uint16": (0.0, 65535.0)}
LARGEST_FLOAT, NARROWEST = 1e38, 1e-30
"""Of a range's ends and width: float32 holds them, and the factor that brings them to [-1, 1]."""
MOST_VALUES = 2**28
"""Of one image: a gigabyte as float32, more than any network here takes."""
MOST_CLASSES = 2**16
"""The largest data sets of labelled photographs have a third of that."""
NAMES_LENGTH = 2**20
"""Characters of all class names together; they must fit in a model file's header."""


@dataclass(frozen=True)
class ImageSpec:
    """The one description of images that data, models and pictures share.

    The value `low` is shown to the network as -1 and `high` as 1 (scaling.py); the same rule,
    backwards, turns samples into images, so nobody else has to know the range.

    Of whole numbers `low` may lie as far below 0 as the depth reaches above it: a network that was
    shown images in [0, 1], as code that divides by 255 does, has the range -255..255 of uint8.

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
        least, most = FULL_RANGE.get(self.depth, (-LARGEST_FLOAT, LARGEST_FLOAT))
        if not -most <= self.low < self.high <= most or self.high <= least:
            raise ValueError(f"the range {self.low}..{self.high} goes beyond {self.depth}")
        if self.high - self.low < NARROWEST:
            raise ValueError(f"the range {self.low}..{self.high} is too narrow")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width), as a network sees one image."""
        return self.channels, self.height, self.width

    @property
    def described(self) -> str:
        """Size, channels and depth, for people: 28x28, 1 channel, uint8."""
        channels = f"{self.channels} channel{'s' * (self.channels != 1)}"
        return f"{self.height}x{self.width}, {channels}, {self.depth}"

    @property
    def listed(self) -> str:
        """The names of its classes, for people; in quotes where one of them has a comma."""
        quoted = any("," in name for name in self.class_names)
        return ", ".join(repr(name) if quoted else name for name in self.class_names)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Any) -> "ImageSpec":
        """The inverse of `to_dict`, for values that may come from anybody.

        Raises:
            ValueError: a key is missing, unknown, or of the wrong type; an image is empty or too
                large; class names are too many, too long, or hold control characters.
        """
        known = {field.name for field in fields(cls)}
        if not isinstance(values, dict) or not set(values) <= known:
            raise ValueError("the description of its images has other keys")
        whole = [values.get(side) for side in ("height", "width", "channels")]
        ends = [values.get("low", 0.0), values.get("high", 255.0)]
        names = values.get("class_names", ())
        # JSON's true would pass for 1.
        if any(type(side) is not int for side in whole):
            raise ValueError(f"the size of its images is {shown(whole)}")
        if any(type(end) not in (int, float) or not math.isfinite(end) for end in ends):
            raise ValueError(f"the range of its images is {shown(ends)}")
        if values.get("depth", "uint8") not in get_args(Depth):
            raise ValueError("its images are of an unknown depth")
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
            raise ValueError("its class names are no list of texts")
        low, high = map(float, ends)
        spec = cls(**{**values, "low": low, "high": high, "class_names": tuple(names)})
        spec.check_size()
        return spec

    def check_size(self) -> None:
        """Whether images and names are of a size that loang reads back from a file.

        Raises:
            ValueError: they are not.
        """
        if math.prod(self.shape) > MOST_VALUES:
            raise ValueError(f"an image has more than {MOST_VALUES:,} values")
        if len(self.class_names) > MOST_CLASSES:
            raise ValueError(f"there are more than {MOST_CLASSES:,} classes")
        if sum(map(len, self.class_names)) > NAMES_LENGTH:
            raise ValueError(f"the class names are longer than {NAMES_LENGTH:,} characters")
        if any(sign < " " or sign == "\x7f" for name in self.class_names for sign in name):
            raise ValueError("a class name holds a control character")
