"""The levels of a walk in numbers: how much of the image and of the noise, and the plainest step.

Every deterministic sampler here is DDIM's step, right for an estimate of the image that stays as it
is, and a sum of differences of estimates that makes up for its changing. So their coefficients
depend on the levels alone; they are float64, on no device.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from loang.samplers.state import pairs
from loang.schedule import Schedule


class Level(NamedTuple):
    """A time, and the factors of the image and of the noise at it."""

    t: float
    signal: float
    noise: float

    @property
    def sigma(self) -> float:
        """noise / signal: infinite where nothing of the image is left."""
        return self.noise / self.signal if self.signal else math.inf

    @property
    def lam(self) -> float:
        """lambda = log(signal / noise), half of the log-SNR; infinite at both ends."""
        if not self.signal:
            return -math.inf
        return math.log(self.signal) - math.log(self.noise) if self.noise else math.inf


def level(schedule: Schedule, t: float) -> Level:
    """The level of that time."""
    dtype = torch.long if isinstance(t, int) else torch.float64
    at = torch.tensor(t, dtype=dtype)
    return Level(t, float(schedule.signal(at)), float(schedule.noise(at)))


def along(schedule: Schedule, levels: Sequence[float]) -> Iterator[tuple[int, Level, Level]]:
    """(step, t, s) for each pair of neighbouring levels, from the noisiest down.

    Raises:
        ValueError: the levels do not fall, or do not end at 0.
    """
    for step, t, s in pairs(levels):
        yield step, level(schedule, t), level(schedule, s)


def straight(
    x: Float[Tensor, "n c h w"], x0: Float[Tensor, "n c h w"], t: Level, s: Level
) -> Float[Tensor, "n c h w"]:
    """DDIM's step from t to s: the image x0, and the noise that it leaves in x."""
    kept = s.noise / t.noise
    return kept * x + (s.signal - kept * t.signal) * x0
