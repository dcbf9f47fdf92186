"""Samples in the units of the real images that they are measured against.

Values of one depth are in the same units already, whatever their own highest and lowest are: a
sample whose values fill half of the real range is too flat, and must be measured so. Between depths
something has to be supposed, and is told.
"""

import math
from dataclasses import replace

import numpy as np
from jaxtyping import Shaped

from loang.data.spec import FULL_RANGE, ImageSpec

ROWS = 1024
TOLD = 0.01  # of the values; fewer lie beyond the ends of any percentiles
USUAL = ((0.0, 1.0), (-1.0, 1.0))  # of real numbers: such ranges say nothing of units
BYTE = FULL_RANGE["uint8"]


def brought(
    pixels: Shaped[np.ndarray, "n h w c"], own: ImageSpec, spec: ImageSpec, name: str
) -> tuple[Shaped[np.ndarray, "n h w c"], tuple[str, ...]]:
    """The same pictures at the depth of real ones, cut to the range of these, and what to tell.

    - of the same depth: as they are
    - 8 bits for 16: 0..255 becomes the real range
    - 16 bits for 8: 0..65535 becomes 0..255, unless 255 is the highest value: as they are then
    - real for whole numbers and back: as they are where all fit in the real range, and the real
      numbers are not just in 0..1 or -1..1; else their range becomes the real range

    Args:
        pixels: at least one.
        own: what they are.
        spec: what the real ones are, of the same size.
        name: what a person calls them.
    """
    if own.depth == spec.depth:
        return _cut(pixels, spec, name)
    low, high = own.low, own.high
    to = spec.low, spec.high
    if "float32" in (own.depth, spec.depth):
        numbers = own if own.depth == "float32" else spec
        fits = spec.low <= pixels.min() and pixels.max() <= spec.high
        same = fits and (numbers.low, numbers.high) not in USUAL
    else:
        low, high = FULL_RANGE[own.depth]
        same = own.depth == "uint16" and float(pixels.max()) <= BYTE[1]
        to = BYTE if spec.depth == "uint8" else to
    if same:
        told = f"The values of {name} ({own.depth}) are taken as those of the real images are"
        return _cut(_rounded(pixels, spec.depth), spec, name, f"{told} ({spec.depth}).")
    told = (
        f"The values of {name} are {own.depth}, those of the real images {spec.depth}: {low:g} to"
        f" {high:g} is taken for {to[0]:g} to {to[1]:g}."
    )
    whole = replace(spec, low=to[0], high=to[1])
    return _cut(_mapped(pixels, replace(own, low=low, high=high), whole), spec, name, told)


def _rounded(pixels: Shaped[np.ndarray, "n h w c"], depth: str) -> Shaped[np.ndarray, "n h w c"]:
    return (pixels if depth == "float32" else np.rint(pixels)).astype(depth)


def _mapped(
    pixels: Shaped[np.ndarray, "n h w c"], own: ImageSpec, spec: ImageSpec
) -> Shaped[np.ndarray, "n h w c"]:
    """From one range to the other."""
    from loang.data.scaling import to_model, to_pixels  # torch takes a second to import

    result = np.empty(pixels.shape, spec.depth)
    for start in range(0, len(pixels), ROWS):
        part = slice(start, start + ROWS)
        result[part] = to_pixels(to_model(pixels[part], own), spec)
    return result


def _cut(
    pixels: Shaped[np.ndarray, "n h w c"], spec: ImageSpec, name: str, *told: str
) -> tuple[Shaped[np.ndarray, "n h w c"], tuple[str, ...]]:
    """Nothing beyond the range, as no network can see it; told where it is more than a little."""
    lowest, highest = float(pixels.min()), float(pixels.max())
    if spec.low <= lowest and highest <= spec.high:
        return pixels, told
    low, high = spec.low, spec.high
    if spec.depth != "float32":
        low, high = math.ceil(low), math.floor(high)
    beyond = sum(np.count_nonzero((one < low) | (one > high)) for one in pixels) / pixels.size
    if beyond >= TOLD:
        told += (
            f"The values of {name} run from {lowest:g} to {highest:g}: {beyond:.0%} of them lie"
            f" beyond the real images' range, {spec.low:g} to {spec.high:g}, and are cut to it.",
        )
    return pixels.clip(low, high), told
