"""Which noise levels training looks at, and how often."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Real
from torch import Tensor

from loang import random
from loang.config import TrainingSettings
from loang.schedule import Discrete, Edm, Schedule

NORMAL = {"log-normal": (-1.2, 1.2), "logit-normal": (0.0, 1.0)}
"""Mean and deviation where nobody says: Karras et al. 2022, table 1; Esser et al. 2024, table 1."""


@dataclass(frozen=True)
class Levels:
    """A distribution of times.

    Args:
        kind: "uniform": whole times 1..T of a schedule in steps (Ho et al. 2020), t of a flow,
            log(sigma) of EDM's schedule from its least to its most noise;
            "log-normal": log(noise / signal) is normal (Karras et al. 2022, table 1);
            "logit-normal": log(t / (T - t)) is normal (Esser et al. 2024, eq. 19).
        mean: of the normal number; None: as published.
        deviation: its standard deviation; None: as published.
    """

    kind: str
    mean: float | None = None
    deviation: float | None = None

    @classmethod
    def of(cls, settings: TrainingSettings) -> "Levels":
        """Those of the settings; importance sampling (importance.py) starts from uniform ones."""
        kind = "uniform" if settings.levels == "importance" else settings.levels
        return cls(kind, settings.level_mean, settings.level_deviation)

    def draw(
        self, schedule: Schedule, *, seed: int, purpose: str, step: int, indices: Int[Tensor, " n"]
    ) -> Real[Tensor, " n"]:
        """One time an index, each independent; for the keyed arguments see random.py."""
        if self.kind == "uniform" and isinstance(schedule, Discrete):
            return random.integers(
                1, schedule.T, seed=seed, purpose=purpose, step=step, indices=indices
            )
        return self.times(schedule, shares(seed=seed, purpose=purpose, step=step, indices=indices))

    def times(self, schedule: Schedule, share: Float[Tensor, " n"]) -> Real[Tensor, " n"]:
        """The quantiles of a share in (0, 1), as times that the schedule has."""
        t = self.quantile(schedule, share)
        if not isinstance(schedule, Discrete):
            return t
        whole = t.floor() + 1 if self.kind == "uniform" else t.round()
        return whole.long().clamp(1, schedule.T)

    def quantile(self, schedule: Schedule, share: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """The real time that a share of all draws lie below; share in (0, 1)."""
        if self.kind == "uniform":
            if isinstance(schedule, Edm):
                least, most = schedule.sigma_min, schedule.sigma_max
                return least * (most / least) ** share
            return schedule.T * share
        published = NORMAL[self.kind]
        mean = published[0] if self.mean is None else self.mean
        deviation = published[1] if self.deviation is None else self.deviation
        normal = mean + deviation * math.sqrt(2) * torch.erfinv(2 * share - 1)
        if self.kind == "logit-normal":
            return schedule.T * torch.sigmoid(normal)
        return schedule.times(normal.exp())


def shares(
    *, seed: int, purpose: str, step: int, indices: Int[Tensor, " n"]
) -> Float[Tensor, " n"]:
    """One number in (0, 1) an index, each independent."""
    drawn = random.uniform(seed=seed, purpose=purpose, step=step, indices=indices)
    return drawn + 2.0**-33  # the middle of the number's 32 bits


def stratified_shares(
    batch: int, *, seed: int, purpose: str, step: int, indices: Int[Tensor, " n"]
) -> Float[Tensor, " n"]:
    """Shares that a whole batch has spread evenly: (i + u_i) / batch, in an order drawn anew.

    Each is uniform in (0, 1), but a batch has as many high ones as low ones, so its loss varies
    less (Kingma et al. 2021, appendix I.1, whose u is one for all: with one for each image what
    is left of the variance is another `batch` times less). They depend on the whole batch's size,
    and not on which of its images are asked for together.

    Args:
        batch: images in all.
        seed: see random.py, as for the next two.
        purpose: of the draw.
        step: of the run.
        indices: numbers of images in the batch, 0..batch-1; beyond, they begin anew.
    """
    every = torch.arange(batch, device=indices.device)
    keys = random.uniform(seed=seed, purpose=f"{purpose} order", step=step, indices=every)
    place = keys.argsort(stable=True).argsort()[indices % batch]
    return (place + shares(seed=seed, purpose=purpose, step=step, indices=indices)) / batch
