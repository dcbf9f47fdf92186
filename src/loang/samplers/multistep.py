"""Linear multistep methods: the estimates of earlier levels say how the newest will change."""

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float, Float64, Int
from torch import Tensor

from loang.denoiser import DenoiserLike
from loang.samplers.level import Level, along, straight
from loang.samplers.state import State, times
from loang.schedule import Schedule

Weights = Callable[[Schedule, Sequence[Level], Level], Sequence[float]]
"""`weights(schedule, [t, older, ...], s)`: what each older estimate, less that at t, is worth.

One number each older level, in units of x_s / signal(s); fewer leave the oldest out.
"""

POINTS, SHARES = np.polynomial.legendre.leggauss(32)


def multistep(
    denoiser: DenoiserLike,
    x: Float[Tensor, "n c h w"],
    levels: Sequence[float],
    label: Int[Tensor, " n"] | None,
    *,
    order: int,
    of: Literal["x0", "eps"],
    weights: Weights,
) -> Iterator[State]:
    """One evaluation a step; the first steps have as many estimates to go by as there are.

    The last step, to the clean image, is of order 1: it is the estimate itself.

    Args:
        order: how many estimates are remembered.
        of: whether estimates of the image or of the noise are.
        weights: the method.
    """
    past: deque[tuple[Level, Float[Tensor, "n c h w"]]] = deque(maxlen=order)
    for _, t, s in along(denoiser.schedule, levels):
        estimate = denoiser(x, times(t.t, x), label)
        yield State(t.t, x, estimate.x0)
        past.appendleft((t, estimate.x0 if of == "x0" else estimate.eps))
        x = straight(x, estimate.x0, t, s)
        if s.t > 0:
            x = x + bend(denoiser.schedule, past, s, weights)
    yield State(0, x, x)


def bend(
    schedule: Schedule,
    past: Sequence[tuple[Level, Float[Tensor, "n c h w"]]],
    s: Level,
    weights: Weights,
) -> Float[Tensor, "n c h w"] | float:
    """What the change of the estimates adds to DDIM's step from the first of them to s."""
    (t, newest), *older = past
    added: Float[Tensor, "n c h w"] | float = 0.0
    if older:
        shares = weights(schedule, [t, *(level for level, _ in older)], s)
        for share, (_, value) in zip(shares, older, strict=False):
            added = added + s.signal * share * (value - newest)
    return added


def midpoint(schedule: Schedule, levels: Sequence[Level], s: Level) -> Sequence[float]:
    """The estimate of the image at half the step's lambda (Lu et al. 2022b, algorithm 2)."""
    t, before = levels[:2]
    h = s.lam - t.lam
    return [math.expm1(-h) * h / (2 * (t.lam - before.lam))]


def exponential(schedule: Schedule, levels: Sequence[Level], s: Level) -> Sequence[float]:
    """The image as a polynomial of lambda, integrated exactly (Lu et al. 2022b, eq. 9).

    x_s = (noise_s / noise_t) x_t + noise_s * integral of exp(lambda) x0(lambda) from t to s. A
    level without signal has no lambda, and none before it is known, so it is left out.
    """
    nodes = [level.lam for level in levels if level.signal > 0]
    at, shares = points(nodes[0], s.lam)
    return integrals(nodes, at, shares * np.exp(at - s.lam))[1:]


def points(
    start: float, stop: float
) -> tuple[Float64[np.ndarray, " k"], Float64[np.ndarray, " k"]]:
    """Gauss and Legendre's points of an integral from start to stop, and their shares of it."""
    half = (stop - start) / 2
    return start + half * (1 + POINTS), half * SHARES


def integrals(
    nodes: Sequence[float], at: Float64[np.ndarray, " k"], shares: Float64[np.ndarray, " k"]
) -> list[float]:
    """The sum over points of each Lagrange polynomial: 1 at its own node, 0 at all others."""
    sums = []
    for node in nodes:
        others = [other for other in nodes if other != node]
        factors = [(at - other) / (node - other) for other in others]
        sums.append(float((shares * np.prod(factors, axis=0)).sum()))
    return sums
