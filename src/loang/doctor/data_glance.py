"""One look at every image: how bright, how clipped, how it looks from afar. No torch."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, Shaped

from loang.data.resize import LUMA
from loang.doctor.data_images import Numbered, evenly

MOST_IMAGES = 30_000  # that are compared each with each: half a minute,
MOST_VALUES = 2**30  # and values of these, however large they are
AT_ONCE = 2**22  # values
SIDE = 32  # pixels of an image seen from afar, at the most
TINT_SIDE = 8  # pixels of its colours
SAMPLED = 2**22  # values whose distribution is looked at
OnDone = Callable[[int, int], None]


@dataclass(frozen=True)
class Glance:
    """What was seen of the images that were looked at, one entry each, in ascending number.

    Args:
        numbers: which they are.
        of: how many there are in all.
        constant: whether all its pixels are equal.
        lowest: its lowest value; of this and the next three, neither opacity nor padding is any.
        highest: its highest.
        at_low: the share of its values at the end that becomes -1, or beyond, 0..1.
        at_high: the same, of the end that becomes 1.
        border: the median of its outermost pixels, as a share of the range, 0..1.
        colour: the largest difference of its first three channels, as a share of the range, 0..1.
        small: its brightness (of three channels luma, else their mean), averaged down to at most
            `SIDE` pixels a side.
        tint: how far red, green and blue are from their mean, as shares of the range, averaged down
            to about `TINT_SIDE` pixels a side; 0 where there is no colour.
        values: some values of all images, ascending; no opacity, and no padding.
    """

    numbers: Int64[np.ndarray, " n"]
    of: int
    constant: Bool[np.ndarray, " n"]
    lowest: Float64[np.ndarray, " n"]
    highest: Float64[np.ndarray, " n"]
    at_low: Float64[np.ndarray, " n"]
    at_high: Float64[np.ndarray, " n"]
    border: Float64[np.ndarray, " n"]
    colour: Float64[np.ndarray, " n"]
    small: Float32[np.ndarray, "n h w 1"]
    tint: Float32[np.ndarray, "n g f 3"]
    values: Shaped[np.ndarray, " v"]

    @property
    def whole(self) -> bool:
        """Whether all images were looked at."""
        return len(self.numbers) == self.of


def glance(
    images: Numbered, on_done: OnDone | None = None, *, padding: float | None = None
) -> Glance:
    """Look at all images, or at some evenly spaced where that would take too long.

    Args:
        images: where to look.
        on_done: told how many images are done, of how many.
        padding: the value that was added beside images of another shape; None if none was.
    """
    spec = images.spec
    one = math.prod(spec.shape)
    numbers = evenly(len(images), max(2, min(MOST_IMAGES, MOST_VALUES // one)))
    size = max(1, AT_ONCE // one)
    step = max(1, math.ceil(len(numbers) * one / SAMPLED))
    own_of_one = one // spec.channels * (3 if spec.channels == 4 else spec.channels)
    while math.gcd(step, own_of_one) > 1:  # else the same pixels of all images would be taken
        step += 1
    columns: dict[str, list[np.ndarray]] = {}
    for start in range(0, len(numbers), size):
        pixels = images[numbers[start : start + size]]
        own = _own(_shown(pixels), padding)
        for name, values in _seen(pixels, own, spec.low, spec.high).items():
            columns.setdefault(name, []).append(values)
        columns.setdefault("values", []).append(np.concatenate(own)[::step])
        if on_done is not None:
            on_done(min(start + size, len(numbers)), len(numbers))
    joined = {name: np.concatenate(parts) for name, parts in columns.items()}
    joined["values"].sort()
    return Glance(numbers, len(images), **joined)


def _shown(pixels: Shaped[np.ndarray, "n h w c"]) -> Shaped[np.ndarray, "n h w d"]:
    """Opacity is no brightness."""
    return pixels[..., :3] if pixels.shape[3] == 4 else pixels


def _own(
    shown: Shaped[np.ndarray, "n h w c"], padding: float | None
) -> list[Shaped[np.ndarray, " v"]]:
    """The values of each image without what was added beside it.

    That is, without rows and columns at its edges that are padding throughout, unless all are.
    """
    if padding is None:
        return [image.reshape(-1) for image in shown]
    own = (shown != padding).any(axis=3)
    found = []
    for image, rows, columns in zip(shown, own.any(axis=2), own.any(axis=1), strict=True):
        kept = image
        if rows.any():
            kept = image[_from_first_to_last(rows), _from_first_to_last(columns)]
        found.append(kept.reshape(-1))
    return found


def _from_first_to_last(there: Bool[np.ndarray, " n"]) -> slice:
    places = np.flatnonzero(there)
    return slice(places[0], places[-1] + 1)


def _seen(
    pixels: Shaped[np.ndarray, "n h w c"],
    own: Sequence[Shaped[np.ndarray, " v"]],
    low: float,
    high: float,
) -> dict[str, np.ndarray]:
    """The columns of a `Glance` for some images, of whose values some are their own."""
    shown = _shown(pixels)
    grey = shown.mean(axis=3, dtype=np.float32)
    edges = (grey[:, 0], grey[:, -1], grey[:, 1:-1, 0], grey[:, 1:-1, -1])
    border = np.median(np.concatenate(edges, axis=1), axis=1).astype(np.float64)
    colour = np.zeros(len(pixels))
    if shown.shape[3] == 3:
        # One row in two says as much, in half the time.
        rows = shown[:, ::2].reshape(len(pixels), -1, 3).astype(np.float32)
        colour = (rows.max(axis=2) - rows.min(axis=2)).max(axis=1) / (high - low)
    return {
        "colour": colour.astype(np.float64),
        "constant": (pixels == pixels[:, :1, :1]).all(axis=(1, 2, 3)),
        "lowest": np.array([values.min() for values in own], np.float64),
        "highest": np.array([values.max() for values in own], np.float64),
        "at_low": np.array([(values <= low).mean() for values in own]),
        "at_high": np.array([(values >= high).mean() for values in own]),
        "border": ((border - low) / (high - low)).clip(0, 1),
        "small": _averaged(_luma(shown) if shown.shape[3] == 3 else grey)[..., None],
        "tint": _tint(shown, high - low),
    }


def _averaged(grey: Float32[np.ndarray, "n h w"]) -> Float32[np.ndarray, "n s t"]:
    """Means of squares of pixels; what is left over at the lower and right edge is not looked at.

    Images too narrow to be averaged are cut to the middle.
    """
    height, width = grey.shape[1:]
    factor = min(math.ceil(max(height, width) / SIDE), height, width)
    rows, columns = height // factor, width // factor
    kept = grey[:, : rows * factor, : columns * factor]
    small: np.ndarray = kept.reshape(len(grey), rows, factor, columns, factor).mean((2, 4))
    return small[:, _middle(rows), _middle(columns)]


def _luma(shown: Shaped[np.ndarray, "n h w 3"]) -> Float32[np.ndarray, "n h w"]:
    """What JPEG keeps best of colours."""
    found: np.ndarray = shown @ (np.array(LUMA, np.float32) / np.float32(65536))
    return found


def _tint(shown: Shaped[np.ndarray, "n h w c"], width: float) -> Float32[np.ndarray, "n g f 3"]:
    """Colour without brightness, of the middle: so that mirroring mirrors it and does no more."""
    count, height, across, channels = shown.shape
    if channels != 3:
        return np.zeros((count, 1, 1, 3), np.float32)
    factor = min(math.ceil(max(height, across) / TINT_SIDE), height, across)
    rows, columns = height // factor, across // factor
    top, left = (height - rows * factor) // 2, (across - columns * factor) // 2
    kept = shown[:, top : top + rows * factor, left : left + columns * factor]
    parts = kept.reshape(count, rows, factor, columns, factor, 3)
    small = parts.mean((2, 4), dtype=np.float32)[:, _middle(rows), _middle(columns)]
    tint: np.ndarray = (small - small.mean(axis=3, keepdims=True)) / np.float32(width)
    return tint


def _middle(length: int) -> slice:
    """The middle of a side, of at most four times as many pixels as there should be."""
    start = max(0, (length - 4 * SIDE) // 2)
    return slice(start, start + 4 * SIDE)
