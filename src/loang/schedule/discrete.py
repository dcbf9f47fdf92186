"""Schedules of T steps, signal² + noise² = 1: linear, scaled-linear, cosine and sigmoid.

Times count 1..T as Ho et al. 2020 do; `t = 0` is the clean image, so `alpha_bar` has T + 1
entries and `alpha_bar[0] = 1`. Tables are float64.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from loang.schedule.base import Schedule, Times, widest


class Discrete(Schedule):
    """A variance-preserving schedule of T discrete steps: signal² + noise² = 1.

    Args:
        alpha_bar: the product of all alpha up to each time, float64, T + 1 entries, the first 1,
            then falling, none below 0; only the last may be 0 ("zero terminal SNR").
        name: how charts and messages call it.
        counted_from: what a network is told of the first step: 1 as Ho et al. 2020 write, 0 as
            their code and most that came after it count.
        in_thousands: whether it is told of the steps as if there were 1000 (Dhariwal and Nichol's
            `rescale_timesteps`).
    """

    def __init__(
        self,
        alpha_bar: Float64[Tensor, " times"],
        name: str = "custom",
        *,
        counted_from: int = 1,
        in_thousands: bool = False,
    ) -> None:
        if len(alpha_bar) < 2 or alpha_bar[0] != 1:
            raise ValueError("alpha_bar needs T + 1 entries, the first of them 1")
        if not bool((alpha_bar.diff() < 0).all()) or alpha_bar[-1] < 0:
            raise ValueError("alpha_bar must fall from 1 towards 0")
        super().__init__(name)
        self.alpha_bar = alpha_bar
        self.counted_from = counted_from
        self.in_thousands = in_thousands
        self._tables: dict[torch.device, tuple[Tensor, Tensor]] = {}

    def __repr__(self) -> str:
        return f"Discrete({self.name!r}, T={self.T}, alpha_bar_T={self.alpha_bar[-1]:.3g})"

    @property
    def T(self) -> int:
        """The number of steps, and the noisiest time."""
        return len(self.alpha_bar) - 1

    @property
    def first(self) -> int:
        """1."""
        return 1

    @property
    def most_steps(self) -> int:
        """T: every time once."""
        return self.T

    @property
    def beta(self) -> Float64[Tensor, " times"]:
        """beta[t] = 1 - alpha_bar[t] / alpha_bar[t-1], with beta[0] = 0 for the clean image."""
        ratio = self.alpha_bar[1:] / self.alpha_bar[:-1]
        return torch.cat((ratio.new_zeros(1), 1 - ratio))

    def signal(self, t: Times) -> Float[Tensor, "*batch"]:
        """sqrt(alpha_bar_t); between whole times, see `_between`."""
        return self._between(t)[0] if t.is_floating_point() else self._on(t.device)[0][t]

    def noise(self, t: Times) -> Float[Tensor, "*batch"]:
        """sqrt(1 - alpha_bar_t); between whole times, see `_between`."""
        return self._between(t)[1] if t.is_floating_point() else self._on(t.device)[1][t]

    def condition(self, t: Times) -> Times:
        """t itself, where steps count from 1 and are as many as there are."""
        told = t - 1 if self.counted_from == 0 else t
        return told * (1000 / self.T) if self.in_thousands else told

    def times(self, sigma: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """The real times at which (signal, noise) has the angle atan(sigma)."""
        signals, noises = self._on(sigma.device)
        angles, angle = torch.atan2(noises, signals), sigma.to(signals.dtype).atan()
        high = torch.searchsorted(angles, angle.contiguous()).clamp(1, self.T)
        below, above = angles[high - 1], angles[high]
        return high - 1 + ((angle - below) / (above - below)).clamp(0, 1)

    def round(self, t: float) -> int:
        """To a whole time: others were not trained."""
        return round(t)

    def with_zero_terminal_snr(self) -> "Discrete":
        """sqrt(alpha_bar) shifted and scaled: last 0, first kept (Lin et al. 2023, alg. 1)."""
        root = self.alpha_bar[1:].sqrt()
        root = (root - root[-1]) * (root[0] / (root[0] - root[-1]))
        made = Discrete(_with_clean_image(root.square()), f"{self.name}, zero terminal SNR")
        return made.told(self.counted_from, in_thousands=self.in_thousands)

    def told(self, counted_from: int = 1, *, in_thousands: bool = False) -> "Discrete":
        """The same schedule, of which a network is told so."""
        return Discrete(
            self.alpha_bar, self.name, counted_from=counted_from, in_thousands=in_thousands
        )

    def _between(
        self, t: Float[Tensor, "*batch"]
    ) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
        """Signal and noise at real times: the table's own at whole ones.

        Between two of them the angle of (signal, noise) is interpolated, which is finite at both
        ends, where log-SNRs are not, and keeps signal² + noise² = 1.
        """
        signals, noises = self._on(t.device)
        t = t.to(signals.dtype)
        low = t.floor().long().clamp(0, self.T)
        share = t - low
        high = (low + 1).clamp(max=self.T)
        below, above = (torch.atan2(noises[at], signals[at]) for at in (low, high))
        angle = torch.lerp(below, above, share)
        whole = share == 0
        return (
            torch.where(whole, signals[low], angle.cos()),
            torch.where(whole, noises[low], angle.sin()),
        )

    def _on(self, device: torch.device) -> tuple[Tensor, Tensor]:
        if device not in self._tables:
            dtype = widest(device)
            signal, noise = self.alpha_bar.sqrt(), (1 - self.alpha_bar).sqrt()
            self._tables[device] = signal.to(device, dtype), noise.to(device, dtype)
        return self._tables[device]


def from_beta(beta: Float64[Tensor, " T"], name: str = "custom") -> Discrete:
    """The schedule of beta_1..beta_T, each in (0, 1): alpha_bar_t = prod(1 - beta) up to t."""
    return Discrete(_with_clean_image((1 - beta).cumprod(0)), name)


def linear(steps: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02) -> Discrete:
    """beta rises in a straight line (Ho et al. 2020, section 4)."""
    return from_beta(torch.linspace(beta_start, beta_end, steps, dtype=torch.float64), "linear")


def scaled_linear(
    steps: int = 1000, beta_start: float = 0.00085, beta_end: float = 0.012
) -> Discrete:
    """sqrt(beta) rises in a straight line (Rombach et al. 2022, latent diffusion)."""
    ends = math.sqrt(beta_start), math.sqrt(beta_end)
    beta = torch.linspace(*ends, steps, dtype=torch.float64).square()
    return from_beta(beta, "scaled-linear")


def cosine(steps: int = 1000, offset: float = 0.008, max_beta: float = 0.999) -> Discrete:
    """alpha_bar falls as a squared cosine (Nichol and Dhariwal 2021, eq. 17)."""

    def alpha_bar(u: float) -> float:
        return math.cos((u + offset) / (1 + offset) * math.pi / 2) ** 2

    return _from_curve(alpha_bar, steps, max_beta, "cosine")


def sigmoid(
    steps: int = 1000,
    start: float = -3.0,
    end: float = 3.0,
    temperature: float = 1.0,
    max_beta: float = 0.999,
) -> Discrete:
    """alpha_bar falls as a logistic curve (Jabri et al. 2022; Chen 2023, alg. 1)."""

    def logistic(u: float) -> float:
        return 1 / (1 + math.exp(-(start + u * (end - start)) / temperature))

    def alpha_bar(u: float) -> float:
        return (logistic(1.0) - logistic(u)) / (logistic(1.0) - logistic(0.0))

    return _from_curve(alpha_bar, steps, max_beta, "sigmoid")


def _from_curve(
    alpha_bar: Callable[[float], float], steps: int, max_beta: float, name: str
) -> Discrete:
    """A curve over u = t / T, its ratios kept below max_beta so that no step loses everything."""
    curve = torch.tensor([alpha_bar(t / steps) for t in range(steps + 1)], dtype=torch.float64)
    return from_beta((1 - curve[1:] / curve[:-1]).clamp(max=max_beta), name)


def _with_clean_image(alpha_bar: Float64[Tensor, " T"]) -> Float64[Tensor, " T+1"]:
    return torch.cat((alpha_bar.new_ones(1), alpha_bar))
