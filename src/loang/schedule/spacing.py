"""Where a walk of few steps sets its feet: the spacings of the levels between T and 0."""

import math
from collections.abc import Callable, Sequence
from typing import Literal, get_args

Spacing = Literal["trailing", "quadratic", "log-snr", "karras"]
SPACINGS: tuple[Spacing, ...] = get_args(Spacing)

WIDEST = 80.0
"""EDM's noisiest sigma: where a discrete schedule or a flow goes beyond it, up to infinity, the
spacings by sigma begin here, and T itself is put in the place of the first."""

RHO = 7.0


def spaced(
    steps: int,
    spacing: Spacing,
    *,
    T: float,
    sigmas: tuple[float, float],
    time: Callable[[float], float],
) -> list[float]:
    """steps + 1 times from T down to 0.

    - "trailing": evenly in time, T first (Lin et al. 2023, section 3.3).
    - "quadratic": evenly in the root of time, so denser near the image (Song et al. 2021, D.2).
    - "log-snr": evenly in log(signal² / noise²) from T to the first trained time, and then 0
      (Lu et al. 2022, section 3.3).
    - "karras": evenly in sigma^(1/7) (Karras et al. 2022, eq. 5), and then 0.

    Args:
        steps: 1 or more.
        spacing: which of these.
        T: the noisiest time.
        sigmas: noise / signal where spacings by it begin, and at the first trained time.
        time: the time of a sigma.
    """
    if spacing == "trailing":
        return [T * (steps - i) / steps for i in range(steps + 1)]
    if spacing == "quadratic":
        return [T * ((steps - i) / steps) ** 2 for i in range(steps + 1)]
    largest, smallest = sigmas
    shares = [i / max(steps - 1, 1) for i in range(steps)]
    if spacing == "log-snr":
        between = [largest * (smallest / largest) ** share for share in shares]
    else:
        large, small = largest ** (1 / RHO), smallest ** (1 / RHO)
        between = [(large + share * (small - large)) ** RHO for share in shares]
    return [T, *(time(sigma) for sigma in between[1:]), 0]


def fall(times: Sequence[float], rounded: Callable[[float], float]) -> list[float]:
    """Times rounded to those that a walk may visit, each below the one before it.

    Where rounding makes two of them one, the noisier ones give way upwards: whole numbers are
    then one apart.
    """
    levels = [rounded(t) for t in times]
    for i in range(len(levels) - 2, 0, -1):
        if levels[i] <= levels[i + 1]:
            levels[i] = rounded(levels[i + 1] + 1)
    # A schedule of T whole times has room for T steps, so what was pushed beyond T comes back.
    for i in range(1, len(levels)):
        if levels[i] >= levels[i - 1]:
            levels[i] = rounded(levels[i - 1] - 1)
    if not all(map(math.isfinite, levels)):
        raise ValueError(f"levels are no numbers: {levels}")
    return levels
