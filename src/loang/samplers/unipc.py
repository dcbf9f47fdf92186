"""UniPC: a predictor, and a corrector that costs nothing (Zhao et al. 2023).

Each level is reached by extrapolating the image in lambda = log(signal / noise). The evaluation
there, which the next step needs in any case, then takes part in a second look at the same step.
"""

import math
from collections.abc import Iterator, Sequence

from jaxtyping import Float, Int
from torch import Tensor

from loang.denoiser import DenoiserLike
from loang.samplers.level import Level, along, straight
from loang.samplers.multistep import Weights, bend, exponential, midpoint
from loang.samplers.state import Noise, State, times
from loang.schedule import Schedule

ORDER = 3


def unipc(
    denoiser: DenoiserLike,
    x: Float[Tensor, "n c h w"],
    levels: Sequence[float],
    noise: Noise,
    label: Int[Tensor, " n"] | None = None,
) -> Iterator[State]:
    """UniPC-3 of the image, with B(h) = exp(h) - 1: order 4 by its corrector.

    With their B2 the methods of one estimate more than the order 1 have the coefficient 1/2, and
    all others are exact integrals of polynomials. As many estimates as steps are left are used, so
    the end is of lower order. A state's x is the predicted one, which the denoiser was shown.
    """
    schedule, steps = denoiser.schedule, len(levels) - 1
    past: list[tuple[Level, Float[Tensor, "n c h w"]]] = []
    start = x
    for step, t, s in along(schedule, levels):
        estimate = denoiser(x, times(t.t, x), label)
        yield State(t.t, x, estimate.x0)
        if past:
            (at, newest), *older = past
            looked_at = [(at, newest), (t, estimate.x0), *older]
            corrector = trapezoid if len(past) == 1 else exponential
            x = straight(start, newest, at, t) + bend(schedule, looked_at, t, corrector)
        order = min(ORDER, steps - step)
        start, past = x, [(t, estimate.x0), *past][:order]
        predictor: Weights = midpoint if len(past) == 2 else exponential
        x = straight(start, estimate.x0, t, s) + bend(schedule, past, s, predictor)
    yield State(0, x, x)


def trapezoid(schedule: Schedule, levels: Sequence[Level], s: Level) -> Sequence[float]:
    """The mean of the image at both ends of the step."""
    return [-math.expm1(levels[0].lam - s.lam) / 2]
