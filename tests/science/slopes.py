"""How fast a sampler's error falls with its steps, on data whose flow is known exactly.

In one dimension the probability flow keeps the order of points, so it keeps their quantiles: where
x at one level ends at another is F_stop^-1(F_start(x)), with the mixture's own distribution
functions F. No solver takes part in the reference.
"""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch

from loang.denoiser import Estimate
from loang.process import like
from loang.samplers.level import level
from loang.schedule import Edm, Flow, Schedule


class Continuous(Schedule):
    """Song et al. 2021b's variance-preserving SDE, beta from 0.1 to 20: smooth in real time."""

    T, first = 1.0, 1e-3

    def __init__(self):
        super().__init__("vp")

    def signal(self, t):
        return (-(19.9 * t.double().square() + 0.2 * t.double()) / 4).exp()

    def noise(self, t):
        return (1 - self.signal(t).square()).sqrt()

    def condition(self, t):
        return 1000 * t

    def times(self, sigma):
        decay = 2 * torch.log1p(sigma.square())
        return (-0.2 + (0.04 + 4 * 19.9 * decay).sqrt()) / (2 * 19.9)


SCHEDULES = {"vp": Continuous(), "edm": Edm(1e-3, 1e3), "flow": Flow()}


class Mixture:
    """The exact denoiser of numbers of several normal distributions, all of one deviation."""

    def __init__(self, schedule, centres=(0.3,), shares=(1.0,), deviation=0.5):
        self.schedule, self.deviation = schedule, deviation
        self.centres = torch.tensor(centres, dtype=torch.float64)
        self.shares = torch.tensor(shares, dtype=torch.float64)

    def __call__(self, x_t, t, label=None):
        signal, noise = like(self.schedule.signal(t), x_t), like(self.schedule.noise(t), x_t)
        variance = (signal * self.deviation).square() + noise.square()
        away = x_t[..., None] - signal[..., None] * self.centres
        logits = self.shares.log() - away.square() / (2 * variance[..., None])
        centre = (logits.softmax(-1) * self.centres).sum(-1)
        x0 = centre + signal * self.deviation**2 / variance * (x_t - signal * centre)
        return Estimate(x0, (x_t - signal * x0) / noise)

    def share_below(self, x, t):
        """The distribution function of x_t."""
        at = level(self.schedule, t)
        spread = math.hypot(at.signal * self.deviation, at.noise)
        scaled = (x[..., None] - at.signal * self.centres) / spread
        return (self.shares * torch.special.ndtr(scaled)).sum(-1)

    def carried(self, x, start, stop):
        """Where the flow takes x from one time to another."""
        share, at = self.share_below(x, start), level(self.schedule, stop)
        reach = 10 * math.hypot(at.signal * self.deviation, at.noise)
        low = torch.full_like(x, at.signal * float(self.centres.min()) - reach)
        high = torch.full_like(x, at.signal * float(self.centres.max()) + reach)
        for _ in range(100):
            middle = (low + high) / 2
            under = self.share_below(middle, stop) < share
            low, high = torch.where(under, middle, low), torch.where(under, high, middle)
        return (low + high) / 2


def gaussian(schedule):
    return Mixture(schedule)


def mixture(schedule):
    return Mixture(schedule, (-0.8, 0.1, 0.7), (0.3, 0.5, 0.2), 0.4)


DATA = {"gaussian": gaussian, "mixture": mixture}


def undrawn(step):
    raise AssertionError(f"noise is drawn in step {step}")


class Walk(NamedTuple):
    """Levels that show a solver's order: even, in its own variable.

    A solver that looks back starts with steps of lower order. Their error shrinks with the square
    of their length, so `short` of them of length 4 / steps² come first: then it falls as the fourth
    power of the steps, and is not what is measured. Where estimates are taken to be evenly spaced,
    the walk starts from so much noise that what the first steps neglect is nothing.

    Args:
        variable: "lambda", "sigma" or "time".
        sigmas: from where to where.
        steps: counts of steps.
        short: how many short steps come first.
        beyond: how many steps go on where the error is measured: the last ones are of lower order.
    """

    variable: str
    sigmas: tuple[float, float]
    steps: tuple[int, ...]
    short: int = 0
    beyond: int = 0

    def levels(self, schedule: Schedule, steps: int) -> list[float]:
        """Times down to 0; the error is measured `beyond` + 2 from the end."""
        shares = [4 * i / steps**2 for i in range(self.short + 1)]
        shares += [i / steps for i in range(1, steps + 1 + self.beyond)]
        along = torch.tensor(shares, dtype=torch.float64)
        start, stop = self.sigmas
        if self.variable == "time":
            start, stop = schedule.time(start), schedule.time(stop)
            return [*(start + (stop - start) * along).tolist(), 0]
        if self.variable == "sigma":
            return [*schedule.times(start + (stop - start) * along).tolist(), 0]
        return [*schedule.times(start * (stop / start) ** along).tolist(), 0]

    def errors(self, sampler, denoiser) -> list[float]:
        """For each count of steps the largest error of five starts, spread over the noise."""
        found = []
        for steps in self.steps:
            levels = self.levels(denoiser.schedule, steps)
            at = level(denoiser.schedule, levels[0])
            spread = torch.linspace(-1.5, 1.5, 5, dtype=torch.float64).reshape(-1, 1, 1, 1)
            x, last = math.hypot(at.signal * 0.5, at.noise) * spread, len(levels) - 2 - self.beyond
            state = next(itertools.islice(sampler(denoiser, x, levels, undrawn), last, None))
            truth = denoiser.carried(x, levels[0], levels[last])
            found.append(float((state.x - truth).abs().max()))
        return found


def slope(steps: Sequence[int], errors: Sequence[float]) -> float:
    """The order: minus the slope of log(error) against log(steps), by least squares."""
    a, b = (torch.tensor(values, dtype=torch.float64).log() for values in (steps, errors))
    a, b = a - a.mean(), b - b.mean()
    return -float((a * b).sum() / a.square().sum())


WALKS = {
    "ddim": Walk("lambda", (50, 0.05), (40, 80, 160)),
    "euler": Walk("lambda", (50, 0.05), (40, 80, 160)),
    "heun": Walk("sigma", (10, 0.1), (80, 160, 320)),
    "dpmpp-2m": Walk("lambda", (50, 0.05), (40, 80, 160)),
    "dpmpp-3m": Walk("lambda", (50, 0.2), (160, 320), short=2),
    "unipc": Walk("lambda", (50, 0.05), (120, 240), short=3, beyond=2),
    "deis": Walk("time", (10, 0.3), (200, 400), short=2),
    "ipndm": Walk("sigma", (10, 0.1), (500, 1000)),
}
