"""An ordinary differential equation, solved with steps that its own error decides."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from loang.errors import LoangError

# Dormand and Prince 1980: order 5, with an error of order 4; the last slope is the next's first.
NODES = (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
SLOPES = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)
LEAST, MOST, SAFE = 0.2, 5.0, 0.9
STEPS = 10_000

Field = Callable[[float, Float[Tensor, "n d"]], Float[Tensor, "n d"]]


def integrate(
    field: Field,
    state: Float[Tensor, "n d"],
    start: float,
    end: float,
    *,
    first: float,
    size: Callable[[Float[Tensor, "n d"]], float],
) -> tuple[Float[Tensor, "n d"], int]:
    """The state at `end`, and how often the field was asked.

    Args:
        field: the slope at a place, start to end, and a state.
        state: at `start`, below `end`.
        start, end: of the way.
        first: the first step to try.
        size: of the error of one step; the step is taken where it is 1 or less.

    Raises:
        LoangError: no step is small enough: the field is no function that can be followed.
    """
    at, step = start, min(first, end - start)
    slope, asked = field(at, state), 1
    for _ in range(STEPS):
        slopes = [slope]
        for node, shares in zip(NODES[1:], SLOPES, strict=True):
            ahead = state + step * _mixed(shares, slopes)
            slopes.append(field(at + node * step, ahead))
        asked += len(SLOPES)
        error = size(step * _mixed(ERROR, slopes))
        if error <= 1:
            at, state, slope = at + step, ahead, slopes[-1]
            if at >= end:
                return state, asked
        # An error that is no number is as good as infinite.
        step *= max(LEAST, min(MOST, SAFE * max(error, 1e-10) ** -0.2)) if error < 1e30 else LEAST
        if at + step * (1 + 1e-9) >= end:
            step = end - at
        if at + step <= at:
            break
    raise LoangError(
        "The flow of this model can't be followed: it changes faster than any step.",
        "Its weights may be too large, or trained too little: look with loang doctor.",
    )


def _mixed(shares: tuple[float, ...], slopes: list[Tensor]) -> Tensor:
    return sum(
        (share * slope for share, slope in zip(shares, slopes, strict=True) if share),
        torch.zeros_like(slopes[0]),
    )
