"""The space pixels-v1: the image itself."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float32, Int, Shaped
from torch.nn.functional import avg_pool2d

from loang.data.scaling import to_model
from loang.data.spec import ImageSpec
from loang.errors import LoangError

MOST = 1024
ROWS = 1024


class PixelFeatures:
    """All values of an image in a row, in [0, 1]; blocks of k x k pixels averaged where needed.

    k is the smallest number that leaves at most 1,024 values; blocks that the image's right or
    lower edge cuts are averaged over what is left of them. Values are ordered row by row, the
    channels of one place next to one another.

    Args:
        spec: of the images that will come; their depth and range may be others, their height,
            width and channels not.
    """

    name = "pixels-v1"

    def __init__(self, spec: ImageSpec) -> None:
        self.shape = (spec.height, spec.width, spec.channels)
        self.block = block(*self.shape)
        rows, columns = -(-spec.height // self.block), -(-spec.width // self.block)
        self.dimension = rows * columns * spec.channels
        self.preprocessing = "the range to [0, 1]" + (
            f"; means of {self.block}x{self.block} blocks" if self.block > 1 else ""
        )
        what = f"{self.name} {self.shape} {self.preprocessing}"
        self.digest = hashlib.sha256(what.encode()).hexdigest()
        self.about: Mapping[str, Any] = {}

    def __call__(
        self,
        pixels: Shaped[np.ndarray, "n h w c"],
        spec: ImageSpec,
        on_step: Callable[[int, int], None] | None = None,
    ) -> Float32[np.ndarray, "n d"]:
        """One row an image.

        Args:
            pixels: images at the spec's depth.
            spec: what they are.
            on_step: called with (images done, images in all).

        Raises:
            LoangError: the images have another height, width or number of channels.
        """
        given = (spec.height, spec.width, spec.channels)
        if given != self.shape:
            raise LoangError(
                f"Pixels of {'x'.join(map(str, given))} images can't be compared with those of "
                f"{'x'.join(map(str, self.shape))} ones.",
                "Bring both to one size, or choose other features.",
            )
        features = np.empty((len(pixels), self.dimension), np.float32)
        for start in range(0, len(pixels), ROWS):
            x = (to_model(pixels[start : start + ROWS], spec) + 1) / 2
            x = avg_pool2d(x, self.block, ceil_mode=True, count_include_pad=False)
            features[start : start + ROWS] = x.permute(0, 2, 3, 1).flatten(1).numpy()
            if on_step:
                on_step(min(start + ROWS, len(pixels)), len(pixels))
        return features

    def classify(
        self, pixels: Shaped[np.ndarray, "n h w c"], spec: ImageSpec
    ) -> Int[np.ndarray, " n"] | None:
        """None: pixels know no classes."""
        return None


def block(height: int, width: int, channels: int) -> int:
    """The side of the blocks to average: 1 where an image has at most 1,024 values.

    An image of more than 1,024 channels is averaged as a whole, and keeps them all.
    """
    side = 1
    while -(-height // side) * -(-width // side) * channels > MOST and side < max(height, width):
        side += 1
    return side
