"""Schedules of a real time: EDM's, whose time is the noise's own size, and rectified flow's."""

import math

from jaxtyping import Float
from torch import Tensor

from loang.schedule.base import Schedule, Times, widest
from loang.schedule.spacing import Spacing


class Edm(Schedule):
    """x_t = x_0 + t * eps: time is sigma (Karras et al. 2022, table 1, "ours").

    Args:
        sigma_min: the least noise that a network is trained for and a walk stops at before 0.
        sigma_max: the noise that a walk starts from.
    """

    def __init__(self, sigma_min: float = 0.002, sigma_max: float = 80.0) -> None:
        if not 0 < sigma_min < sigma_max < math.inf:
            raise ValueError(f"sigma must rise from above 0, not {sigma_min:g} to {sigma_max:g}")
        super().__init__("edm")
        self.sigma_min, self.sigma_max = sigma_min, sigma_max

    def __repr__(self) -> str:
        return f"Edm(sigma_min={self.sigma_min:g}, sigma_max={self.sigma_max:g})"

    @property
    def T(self) -> float:
        """sigma_max."""
        return self.sigma_max

    @property
    def first(self) -> float:
        """sigma_min."""
        return self.sigma_min

    @property
    def start(self) -> float:
        """sigma_max: beside it the image is nothing."""
        return self.sigma_max

    @property
    def default_spacing(self) -> Spacing:
        """Karras et al. 2022, eq. 5."""
        return "karras"

    def signal(self, t: Times) -> Float[Tensor, "*batch"]:
        """1."""
        return t.new_ones(t.shape, dtype=widest(t.device))

    def noise(self, t: Times) -> Float[Tensor, "*batch"]:
        """t."""
        return t.to(widest(t.device))

    def condition(self, t: Times) -> Times:
        """100 log(sigma): about as many units a factor as the times of a discrete schedule have."""
        return 100 * t.to(widest(t.device)).clamp(min=self.sigma_min / 10).log()

    def times(self, sigma: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """sigma itself, within 0..T."""
        return sigma.clamp(0, self.sigma_max)


class Flow(Schedule):
    """x_t = (1 - t) * x_0 + t * eps: a straight line (Liu et al. 2023; Lipman et al. 2023).

    Args:
        first: the least time above 0 that a walk visits where levels follow the noise.
    """

    def __init__(self, first: float = 1e-3) -> None:
        if not 0 < first < 1:
            raise ValueError(f"the first time must lie in (0, 1), not at {first:g}")
        super().__init__("flow")
        self._first = first

    def __repr__(self) -> str:
        return f"Flow(first={self._first:g})"

    @property
    def T(self) -> float:
        """1, where x is noise and nothing else."""
        return 1.0

    @property
    def first(self) -> float:
        """Training draws all of (0, 1); no walk needs less than this."""
        return self._first

    def signal(self, t: Times) -> Float[Tensor, "*batch"]:
        """1 - t."""
        return 1 - t.to(widest(t.device))

    def noise(self, t: Times) -> Float[Tensor, "*batch"]:
        """t."""
        return t.to(widest(t.device))

    def condition(self, t: Times) -> Times:
        """1000 t."""
        return 1000 * t.to(widest(t.device))

    def times(self, sigma: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """sigma = t / (1 - t), turned round."""
        return 1 / (1 + 1 / sigma)
