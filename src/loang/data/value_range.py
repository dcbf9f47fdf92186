"""Which stored values a network is shown as -1 and as 1."""

import math

from loang.data.spec import LARGEST_FLOAT
from loang.errors import LoangError


def integer_range(depth: str, highest: int) -> tuple[float, float, str | None]:
    """Low, high and a notice for whole numbers from 0 to `highest`.

    uint8 is always 0..255. Cameras and microscopes keep 10, 12 or 14 bits in 16: there the range
    ends at the fewest bits, from 8 on, that hold the highest value, so that contrast is not lost.
    """
    if depth == "uint8":
        return 0.0, 255.0, None
    bits = max(8, highest.bit_length())
    if bits == 16:
        return 0.0, 65535.0, None
    notice = (
        f"The highest of the 16-bit values is {highest:,}, so {bits} bits (0 to {2**bits - 1:,}) "
        "are taken as their range."
    )
    return 0.0, float(2**bits - 1), notice


def float_range(lowest: float, highest: float, what: str) -> tuple[float, float, str]:
    """Low, high and a notice for real numbers between `lowest` and `highest`.

    [0, 1] or [-1, 1] where the values lie within; else from the lowest to the highest.

    Raises:
        LoangError: a value is not finite or too large, or all are the same.
    """
    if not (math.isfinite(lowest) and math.isfinite(highest)):
        raise LoangError(
            f"{what} contains values that are not finite (NaN or infinity).",
            "Replace them, for instance with numpy.nan_to_num, or leave those images out.",
        )
    if lowest == highest:
        raise LoangError(
            f"All values in {what} are {lowest:g}, so there is nothing to learn.",
            "Look at how the file was written.",
        )
    if max(-lowest, highest) > LARGEST_FLOAT:
        raise LoangError(
            f"The values in {what} run from {lowest:g} to {highest:g}, which is too far.",
            "Scale them, for instance to [-1, 1].",
        )
    low, high = lowest, highest
    for usual in ((0.0, 1.0), (-1.0, 1.0)):
        if usual[0] <= lowest and highest <= usual[1]:
            low, high = usual
            break
    notice = (
        f"The values run from {lowest:g} to {highest:g}; {low:g} to {high:g} is taken as their "
        "range."
    )
    return low, high, notice
