"""Which stored values a network is shown as -1 and as 1."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Int, Shaped

from loang.data.spec import FULL_RANGE, LARGEST_FLOAT, NARROWEST
from loang.errors import LoangError

Rule = Literal["auto", "full", "data", "percentiles", "unit"]
PERCENTILES = (0.1, 99.9)
_ENDS = f"{PERCENTILES[0]}th and the {PERCENTILES[1]}th percentile"
SAMPLED = 2**24
"""Values that percentiles are taken of, at the most."""


@dataclass(frozen=True)
class Range:
    """The ends of a range, and what a person should know of them.

    Args:
        low: becomes -1.
        high: becomes 1; what lies beyond the ends is shown as lying on them.
        notices: sentences.
        dark: the value that black is filled with; None: `low`.
    """

    low: float
    high: float
    notices: tuple[str, ...] = ()
    dark: float | None = None

    @property
    def black(self) -> float:
        """The stored value of what is added as black, or has no opacity."""
        return self.low if self.dark is None else self.dark


def range_of(
    rule: Rule,
    depth: str,
    lowest: float,
    highest: float,
    sample: Callable[[int], Shaped[np.ndarray, "..."]],
    what: str,
) -> Range:
    """The range of images whose values run from `lowest` to `highest`.

    - "auto": `integer_range` or `float_range`.
    - "full": all that the depth can hold; real numbers have no such range.
    - "data": from the lowest to the highest value.
    - "percentiles": from the 0.1th to the 99.9th percentile of up to 2**24 values of evenly spaced
      images, so that a few hot pixels do not press all others together.
    - "unit": 0 and the high end of "auto" are shown as 0 and 1, and nothing as less: as code does
      that divides by 255.

    Args:
        rule: which.
        depth: of the values.
        lowest: of all.
        highest: of all.
        sample: gives about so many of the values; see `spaced`.
        what: what a person calls the place.

    Raises:
        LoangError: there is nothing to learn, or no such range.
    """
    if rule == "auto":
        if depth == "float32":
            return float_range(lowest, highest, what)
        return integer_range(depth, int(highest))
    if rule == "unit":
        if lowest < 0:
            raise LoangError(
                f"The values in {what} begin at {lowest:g}, and in [0, 1] there is none below 0.",
                "Choose data.range=auto, data or percentiles.",
            )
        found = range_of("auto", depth, lowest, highest, sample, what)
        return Range(-found.high, found.high, dark=0.0)
    if rule == "full":
        if depth == "float32":
            raise LoangError(
                f"The values in {what} are real numbers, which have no full range.",
                "Choose data.range=auto, data or percentiles.",
            )
        return Range(*FULL_RANGE[depth])
    _check(lowest, highest, what)
    if rule == "data":
        _check_width(lowest, highest, what)
        return Range(lowest, highest, (_sentence(lowest, highest, lowest, highest),))
    values = sample(SAMPLED).astype(np.float32, copy=False)
    low, high = (float(end) for end in np.percentile(values, PERCENTILES))
    if depth != "float32":
        low, high = float(math.floor(low)), float(math.ceil(high))
    if low == high:
        raise LoangError(
            f"The {_ENDS} of the values in {what} are both {low:g}, though they run from"
            f" {lowest:g} to {highest:g}.",
            "Choose data.range=data, as nearly all values are the same.",
        )
    _check_width(low, high, what)
    return Range(
        low,
        high,
        (
            f"{_sentence(lowest, highest, low, high)} These are the {_ENDS}: what lies beyond is"
            " cut to them.",
        ),
    )


def spaced(count: int, one: int, most: int) -> Int[np.ndarray, " n"]:
    """Which of so many images to look at, evenly spaced, to see about `most` values.

    Args:
        count: how many images there are.
        one: values of an image.
        most: values in all.
    """
    return np.arange(0, count, max(1, math.ceil(count * one / most)))


def integer_range(depth: str, highest: int) -> Range:
    """The range of whole numbers from 0 to `highest`.

    uint8 is always 0..255. Cameras and microscopes keep 10, 12 or 14 bits in 16: there the range
    ends at the fewest bits, from 8 on, that hold the highest value, so that contrast is not lost.
    """
    if depth == "uint8":
        return Range(0.0, 255.0)
    bits = max(8, highest.bit_length())
    if bits == 16:
        return Range(0.0, 65535.0)
    notice = (
        f"The highest of the 16-bit values is {highest:,}, so {bits} bits (0 to {2**bits - 1:,}) "
        "are taken as their range."
    )
    return Range(0.0, float(2**bits - 1), (notice,))


def float_range(lowest: float, highest: float, what: str) -> Range:
    """The range of real numbers between `lowest` and `highest`.

    [0, 1] or [-1, 1] where the values lie within; else from the lowest to the highest.

    Raises:
        LoangError: the values are too large, or all the same.
    """
    _check(lowest, highest, what)
    low, high = lowest, highest
    for usual in ((0.0, 1.0), (-1.0, 1.0)):
        if usual[0] <= lowest and highest <= usual[1]:
            low, high = usual
            break
    return Range(low, high, (_sentence(lowest, highest, low, high),))


def _check(lowest: float, highest: float, what: str) -> None:
    if lowest >= highest:
        raise LoangError(
            f"All values in {what} are {lowest:g}, so there is nothing to learn.",
            "Look at how the file was written.",
        )
    if max(-lowest, highest) > LARGEST_FLOAT:
        raise LoangError(
            f"The values in {what} run from {lowest:g} to {highest:g}, which is too far.",
            "Scale them, for instance to [-1, 1].",
        )


def _check_width(low: float, high: float, what: str) -> None:
    if high - low < NARROWEST:
        raise LoangError(
            f"The values in {what} run from {low:g} to {high:g}, a range too narrow to be"
            " computed with.",
            "Scale them, for instance to [-1, 1].",
        )


def _sentence(lowest: float, highest: float, low: float, high: float) -> str:
    return (
        f"The values run from {lowest:g} to {highest:g}; {low:g} to {high:g} is taken as their"
        " range."
    )
