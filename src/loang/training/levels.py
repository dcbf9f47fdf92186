"""Which noise levels training looks at, and how often."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Real
from torch import Tensor

from loang import random
from loang.config import TrainingSettings
from loang.schedule import Discrete, Schedule


@dataclass(frozen=True)
class Levels:
    """A distribution of times.

    Args:
        kind: "uniform" in time (whole times 1..T of a discrete schedule; Ho et al. 2020);
            "log-normal": log(noise / signal) is normal (Karras et al. 2022, table 1);
            "logit-normal": log(t / (T - t)) is normal (Esser et al. 2024, eq. 19).
        mean: of the normal number.
        deviation: its standard deviation.
    """

    kind: str
    mean: float
    deviation: float

    @classmethod
    def of(cls, settings: TrainingSettings) -> "Levels":
        """Those of the settings."""
        return cls(settings.levels, settings.level_mean, settings.level_deviation)

    def draw(
        self, schedule: Schedule, *, seed: int, purpose: str, step: int, indices: Int[Tensor, " n"]
    ) -> Real[Tensor, " n"]:
        """One time an index; for the keyed arguments see random.py."""
        if self.kind == "uniform" and isinstance(schedule, Discrete):
            return random.integers(
                1, schedule.T, seed=seed, purpose=purpose, step=step, indices=indices
            )
        share = random.uniform(seed=seed, purpose=purpose, step=step, indices=indices)
        t = self.quantile(schedule, share + 2.0**-33)  # the middle of the number's 32 bits
        return t.round().long().clamp(1, schedule.T) if isinstance(schedule, Discrete) else t

    def quantile(self, schedule: Schedule, share: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """The time that a share of all draws lie below; share in (0, 1)."""
        if self.kind == "uniform":
            return schedule.T * share
        normal = self.mean + self.deviation * math.sqrt(2) * torch.erfinv(2 * share - 1)
        if self.kind == "logit-normal":
            return schedule.T * torch.sigmoid(normal)
        return schedule.times(normal.exp())
