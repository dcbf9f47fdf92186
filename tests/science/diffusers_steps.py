"""One walk by a scheduler of the diffusers library, on a network and times that loang counts.

Their discrete times are ours less one. Where their state is x / signal, as in Euler's and Heun's
schedulers, it is brought back to x_t = signal * x0 + noise * eps.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from loang import parameterization
from loang.denoiser import Denoiser
from loang.parameterization import Parameterization
from loang.process import like
from loang.schedule import Discrete, Schedule

SHAPE = (3, 2, 4, 4)
THEIR_NAMES: dict[Parameterization, str] = {
    "eps": "epsilon",
    "x0": "sample",
    "v": "v_prediction",
    "flow": "flow_prediction",
}


class Network(nn.Module):
    """A fixed, smooth function of the image and the time, whose estimate of the image is bounded.

    Args:
        schedule: whose times it is told, as its condition.
        kind: what it answers.
        reach: the bound of its estimate; above 1, clipping has something to clip.
        variance: whether it answers where the variance of a step lies, too, from -1 to 1.
    """

    def __init__(
        self,
        schedule: Schedule,
        kind: Parameterization = "eps",
        reach: float = 0.9,
        variance: bool = False,
    ) -> None:
        super().__init__()
        self.schedule, self.kind, self.reach, self.variance = schedule, kind, reach, variance

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        signal, noise = like(self.schedule.signal(t), x), like(self.schedule.noise(t), x)
        seen = 0.8 * x + 0.5 * x.roll(1, -1) - 0.3 * x.roll(1, -2) * x.roll(1, 1)
        x0 = self.reach * (1.5 * (seen + 0.3 * noise)).tanh()
        p, q = parameterization.mixture(self.kind, signal, noise)
        answer = p * x0 + q * (x - signal * x0) / noise
        return torch.cat((answer, (2 * seen).sin()), 1) if self.variance else answer


class Raw(nn.Module):
    """A fixed, smooth, bounded answer of any kind, to the image as it is given."""

    def __init__(self, schedule: Schedule) -> None:
        super().__init__()
        self.schedule = schedule

    def forward(self, x: Tensor, condition: Tensor, label: Tensor | None = None) -> Tensor:
        seen = 0.8 * x + 0.5 * x.roll(1, -1) - 0.3 * x.roll(1, -2)
        return (seen + (like(condition, x) / 100).sin()).tanh()


class Draws:
    """The noise of each step, from a generator of its own that a scheduler can be given."""

    def __call__(self, step: int) -> Tensor:
        return torch.randn(SHAPE, generator=self.generator(step), dtype=torch.float64)

    def generator(self, step: int) -> torch.Generator:
        return torch.Generator().manual_seed(1000 + step)


DRAWS = Draws()


def first() -> Tensor:
    """Standard normal noise to start from."""
    return DRAWS(-1)


def ours(sampler, denoiser: Denoiser, levels: list[float], **options) -> list[Tensor]:
    """x at each level, by loang."""
    x = first() * denoiser.schedule.start
    return [state.x for state in sampler(denoiser, x, levels, DRAWS, **options)]


def theirs(
    scheduler,
    network: Network | Raw,
    levels: list[float],
    options: Callable[[int], dict] = lambda step: {},
    size: Callable[[Tensor], Tensor] | None = None,
    double: bool = False,
) -> list[Tensor]:
    """x at each level, by diffusers.

    Args:
        scheduler: its time steps set.
        network: is told what its schedule makes of our times.
        levels: our times of its steps, and 0.
        options: what its `step` takes at a step.
        size: how many times x_t its state is, of its sigma; None for x_t itself.
        double: whether it computes with its sigmas in float64, so far as it does not cast x.
    """

    def scale(step: int) -> Tensor | float:
        return 1.0 if size is None else size(scheduler.sigmas[step].double())

    if double:
        scheduler.sigmas = scheduler.sigmas.double()
    scaled = getattr(scheduler, "scale_model_input", lambda x, timestep: x)
    start = first() * network.schedule.start
    x, walk = start * scale(0), [start]
    for step, t in enumerate(levels[:-1]):
        timestep = scheduler.timesteps[step]
        told = torch.full((len(x),), t, dtype=torch.long if t == int(t) else torch.float64)
        given = scaled(x, timestep)
        answer = network(given, network.schedule.condition(told))
        x = scheduler.step(answer, timestep, x, **options(step)).prev_sample
        walk.append(x / scale(step + 1))
    return walk


def exact(scheduler, schedule: Discrete):
    """Their scheduler with our table, of which theirs is the rounding to float32.

    That rounding is 3e-4 of the first beta, so that near the image a step is moved by up to 1e-4.
    """
    torch.testing.assert_close(
        scheduler.alphas_cumprod.double(), schedule.alpha_bar[1:], rtol=2e-5, atol=0
    )
    scheduler.alphas_cumprod = schedule.alpha_bar[1:]
    return scheduler


def from_generator(step: int) -> dict:
    """Our noise of that step, by the generator that draws it."""
    return {"generator": DRAWS.generator(step)}


def difference(one: Tensor, other: Tensor) -> float:
    """The largest, relative to the largest value."""
    assert one.isfinite().all()
    assert other.isfinite().all()
    return float((one - other).abs().max() / other.abs().max())


def differences(one: list[Tensor], other: list[Tensor]) -> list[float]:
    """Level for level."""
    return [difference(a, b) for a, b in zip(one, other, strict=True)]


def of_sigmas(scheduler, schedule: Schedule) -> list[float]:
    """Our times of their sigmas."""
    return [*(schedule.time(float(sigma)) for sigma in scheduler.sigmas[:-1]), 0]


def whole_levels(scheduler) -> list[float]:
    """Our times of their whole time steps, and 0."""
    return [*(int(t) + 1 for t in scheduler.timesteps), 0]
