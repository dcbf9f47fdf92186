"""What every noise schedule states, and what follows from it.

`x_t = signal(t) * x_0 + noise(t) * eps`. Time 0 is the clean image, `T` the noisiest time. All
else is derived from the two factors: sigma = noise / signal, the log-SNR, the levels of a walk.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float, Real
from torch import Tensor

from loang.schedule.spacing import WIDEST, Spacing, fall, spaced

Times = Real[Tensor, "*batch"]
"""Times, one an image: integers or real numbers."""


class Schedule(ABC):
    """Two functions of the time: the factor of the image, falling, and of the noise, rising.

    Args:
        name: how charts and messages call it.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    @abstractmethod
    def T(self) -> float:
        """The noisiest time."""

    @property
    @abstractmethod
    def first(self) -> float:
        """The least noisy time that a network is trained at, above 0."""

    @abstractmethod
    def signal(self, t: Times) -> Float[Tensor, "*batch"]:
        """The factor of the image at time t, on t's device."""

    @abstractmethod
    def noise(self, t: Times) -> Float[Tensor, "*batch"]:
        """The factor of the noise at time t, on t's device."""

    @abstractmethod
    def condition(self, t: Times) -> Times:
        """What a network is told of the time: numbers that span about a thousand."""

    @abstractmethod
    def times(self, sigma: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """The times in 0..T at which noise / signal is nearest to sigma; infinity gives T."""

    def time(self, sigma: float) -> float:
        """The time at which noise / signal is nearest to sigma."""
        return float(self.times(torch.tensor(sigma, dtype=torch.float64)))

    @property
    def default_spacing(self) -> Spacing:
        """How the levels of a walk are spaced where nobody says."""
        return "trailing"

    @property
    def most_steps(self) -> int:
        """The most steps that a walk can have."""
        return 100_000

    @property
    def start(self) -> float:
        """The factor of standard normal noise that a walk starts from at time T."""
        return 1.0

    @property
    def zero_terminal_snr(self) -> bool:
        """Whether x_T holds nothing of the image."""
        return bool(self.signal(torch.tensor(self.T, dtype=torch.float64)) == 0)

    def sigma(self, t: Times) -> Float[Tensor, "*batch"]:
        """noise / signal: 0 at time 0, infinite where the signal is 0."""
        return self.noise(t) / self.signal(t)

    def log_snr(self, t: Times) -> Float[Tensor, "*batch"]:
        """log(signal² / noise²): infinite at t = 0, minus infinite where the signal is 0."""
        return 2 * (self.signal(t).log() - self.noise(t).log())

    def size(self, t: Times) -> Float[Tensor, "*batch"]:
        """How many times larger than an image x_t is; 1 where it is no larger.

        For images of about unit size. A network's input and a picture of x_t are divided by it.
        """
        return (self.signal(t).square() + self.noise(t).square()).sqrt().clamp(min=1)

    def levels(self, steps: int, spacing: Spacing | Sequence[float] | None = None) -> list[float]:
        """The times that a sampler of so many steps visits, from T down to 0.

        Args:
            steps: 1 or more. There are steps + 1 levels: a step is a pair (t, s) of neighbours.
            spacing: see `spacing.spaced`; None takes the schedule's own. Of a list of falling
                times each is rounded to one that a walk may visit, and T is put before them and
                0 behind them where they are missing.

        Raises:
            ValueError: there can't be so many steps, or a list does not fall from T to 0.
        """
        if spacing is not None and not isinstance(spacing, str):
            return self._given(spacing)
        if not 1 <= steps <= self.most_steps:
            raise ValueError(f"{steps} steps of a schedule that has 1..{self.most_steps}")
        ends = torch.tensor([self.T, self.first], dtype=torch.float64)
        most, least = self.sigma(ends).tolist()
        if self.start <= 1:  # else the noisiest sigma was chosen, and is no accident of a table
            most = min(most, WIDEST)
        times = spaced(
            steps,
            spacing or self.default_spacing,
            T=self.T,
            sigmas=(most, least),
            time=self.time,
        )
        return fall(times, self.round)

    def round(self, t: float) -> float:
        """The nearest time that a walk may visit."""
        return t

    def _given(self, times: Sequence[float]) -> list[float]:
        if not all(math.isfinite(t) for t in times):
            raise ValueError(f"levels must fall from {self.T:g} to 0, not {list(times)}")
        levels = [self.round(float(t)) for t in times]
        levels = [*([] if levels[:1] == [self.T] else [self.T]), *levels]
        levels = [*levels, *([] if levels[-1] == 0 else [0])]
        if any(t <= s for t, s in pairwise(levels)):
            raise ValueError(f"levels must fall from {self.T:g} to 0, not {list(times)}")
        return levels


def widest(device: torch.device) -> torch.dtype:
    """float64 where there is such a thing: Apple's GPUs have none."""
    return torch.float32 if device.type == "mps" else torch.float64
