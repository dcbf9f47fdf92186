"""The probability flow: what one draws who samples by the deterministic equation, and its density.

Song et al. 2021, section 4.3 and eq. 39. Any schedule's x_t, divided by its size, is
y = cos(a) x_0 + sin(a) eps with tan(a) = noise / signal, and the flow is

    dy / da = cos(a) eps - sin(a) x_0

with the denoiser's image and noise, on an angle that is finite at both ends. Along it log p changes
by minus the divergence, which is a trace: exact, or by Hutchinson's estimate e . (J e) with random
signs e (Grathwohl et al. 2019).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from loang.denoiser import DenoiserLike
from loang.likelihood.solver import integrate
from loang.process import like
from loang.schedule.base import widest


class Flow(NamedTuple):
    """log p(x) of each image at the first time, in nats, and the evaluations that it took."""

    log_density: Float[Tensor, " n"]
    evaluations: int


def flow(
    denoiser: DenoiserLike,
    x: Float[Tensor, "n c h w"],
    label: Int[Tensor, " n"] | None = None,
    *,
    probes: Sequence[Float[Tensor, "n c h w"]] | None = None,
    tolerance: float = 1e-4,
) -> Flow:
    """The log-density of x among what the flow makes of noise by the schedule's first time.

    Args:
        denoiser: one that does not clip: a clipped image has no slope.
        x: at the first time: signal * image + noise * eps, or whatever is to stand for it.
        label: of each image, for a denoiser that knows them.
        probes: of the trace; None takes it exactly, at one backward pass a value.
        tolerance: error of a step: of the root mean square of y, and of nats a value.

    Raises:
        LoangError: the equation can't be solved.
    """
    schedule, shape = denoiser.schedule, x.shape
    wide, values = widest(x.device), x[0].numel()
    ends = torch.tensor([schedule.first, schedule.T], dtype=wide, device=x.device)
    signal, noise = schedule.signal(ends), schedule.noise(ends)
    first, last = torch.atan2(noise, signal).tolist()
    sizes = torch.hypot(signal, noise).tolist()
    asked = None if probes is None else torch.stack(list(probes))

    def field(angle: float, state: Tensor) -> Tensor:
        y = state[:, :-1].reshape(shape).to(x.dtype)
        slope, divergence = _slope(denoiser, y, angle, label, asked)
        return torch.cat((slope.flatten(1).to(wide), divergence[:, None].to(wide)), dim=1)

    def size(error: Tensor) -> float:
        of_y = error[:, :-1].square().mean(1).sqrt()
        of_log = error[:, -1].abs() / values
        return float(torch.maximum(of_y, of_log).max()) / tolerance

    start = torch.cat((x.flatten(1).to(wide) / sizes[0], x.new_zeros(len(x), 1).to(wide)), dim=1)
    state, evaluations = integrate(field, start, first, last, first=first / 2, size=size)
    # y at the last angle is N(0, (start / size)²).
    deviation = schedule.start / sizes[1]
    log_prior = -(state[:, :-1] / deviation).square().sum(1) / 2 - values * (
        math.log(deviation) + math.log(2 * math.pi) / 2
    )
    return Flow(log_prior + state[:, -1] - values * math.log(sizes[0]), evaluations)


def _slope(
    denoiser: DenoiserLike,
    y: Float[Tensor, "n c h w"],
    angle: float,
    label: Int[Tensor, " n"] | None,
    probes: Float[Tensor, "k n c h w"] | None,
) -> tuple[Float[Tensor, "n c h w"], Float[Tensor, " n"]]:
    """dy / da, and its divergence."""
    schedule = denoiser.schedule
    sigma = torch.full((len(y),), math.tan(angle), dtype=widest(y.device), device=y.device)
    # Rounding may lead a little beyond the ends.
    t = schedule.times(sigma).clamp(schedule.first, schedule.T)
    size = torch.hypot(schedule.signal(t), schedule.noise(t))
    with torch.enable_grad():
        y = y.detach().requires_grad_()
        estimate = denoiser(like(size, y) * y, t, label)
        slope = math.cos(angle) * estimate.eps - math.sin(angle) * estimate.x0
        divergence = _exact(slope, y) if probes is None else _estimated(slope, y, probes)
    return slope.detach(), divergence


def _estimated(
    slope: Float[Tensor, "n c h w"],
    y: Float[Tensor, "n c h w"],
    probes: Float[Tensor, "k n c h w"],
) -> Float[Tensor, " n"]:
    total = slope.new_zeros(len(y))
    for number, probe in enumerate(probes, start=1):
        keep = number < len(probes)
        (back,) = torch.autograd.grad(slope, y, probe.to(slope.dtype), retain_graph=keep)
        total += (back * probe).flatten(1).sum(1)
    return total / len(probes)


def _exact(slope: Float[Tensor, "n c h w"], y: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
    flat, total = slope.flatten(1), slope.new_zeros(len(y))
    for value in range(flat.shape[1]):
        (back,) = torch.autograd.grad(flat[:, value].sum(), y, retain_graph=True)
        total += back.flatten(1)[:, value]
    return total
