"""What a picture is given that is none of its own: background beside it, and opacity.

Both are ends of the range of values, and that is known only when all pictures have been read. So
they are left out when the range is found, and are set to its ends afterwards.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Shaped

from loang.data.agreement import Shape
from loang.data.resize import inner
from loang.data.value_range import Range
from loang.data.wishes import Wishes


@dataclass(frozen=True)
class Filling:
    """What is filled in every picture of one reading.

    Args:
        shape: that all are brought to.
        low: the value that was taken for black, and for no opacity, while they were read,
        high: and for white, and for full opacity.
        padded: whether background was added.
        white: whether it is white.
    """

    shape: Shape
    low: float
    high: float
    padded: bool
    white: bool

    @classmethod
    def of(cls, shape: Shape, wishes: Wishes, ends: tuple[float, float]) -> "Filling":
        """That of a reading whose depth has these ends."""
        padded = shape.resized and wishes.fit == "pad"
        return cls(shape, *ends, padded, wishes.background == "white")

    @property
    def any(self) -> bool:
        """Whether pictures are given anything at all."""
        return self.padded or self.shape.transparent

    def own(
        self, picture: Shaped[np.ndarray, "h w c"], tall: int, wide: int
    ) -> Shaped[np.ndarray, "rows columns d"]:
        """The values that were in the picture, whose size was `tall` x `wide`: a view."""
        if self.padded:
            picture = picture[inner(tall, wide, self.shape.height, self.shape.width)]
        return picture[..., :3] if self.shape.transparent else picture

    def anew(
        self, picture: Shaped[np.ndarray, "h w c"], tall: int, wide: int, found: Range
    ) -> Shaped[np.ndarray, "h w c"]:
        """The picture, with the ends of the range that was found."""
        filled = picture.copy()
        if self.padded:
            filled[...] = found.high if self.white else found.black
            place = inner(tall, wide, self.shape.height, self.shape.width)
            filled[place] = picture[place]
        if self.shape.transparent:
            share = (picture[..., 3].astype(np.float64) - self.low) / (self.high - self.low)
            opacity = found.black + share * (found.high - found.black)
            whole = picture.dtype.kind == "u"
            filled[..., 3] = np.rint(opacity) if whole else opacity
            if self.padded:
                outside = np.ones(picture.shape[:2], bool)
                outside[place] = False
                filled[outside, 3] = found.high
        return filled
