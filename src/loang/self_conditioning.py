"""Self-conditioning: a network is shown its own last estimate (Chen et al. 2023, algorithm 2)."""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int, Real
from torch import Tensor

from loang.denoiser import Estimate
from loang.schedule import Schedule


@runtime_checkable
class Shown(Protocol):
    """A denoiser that can be shown another image."""

    @property
    def schedule(self) -> Schedule:
        """The schedule whose times `t` counts."""
        ...

    def __call__(
        self,
        x_t: Float[Tensor, "n c h w"],
        t: Real[Tensor, " n"],
        label: Int[Tensor, " n"] | None = None,
        given: Float[Tensor, "n c h w"] | None = None,
    ) -> Estimate:
        """The estimate at time t, with another image in sight."""
        ...


class SelfConditioned:
    """Shows a denoiser its estimate at the time before; nothing, an image of zeros, at first.

    It remembers one walk: make a new one for each. It goes round guidance, not into it, so that
    what the network is shown is the estimate that the walk went by, the same with and without the
    label. Asked at one time again, as Heun's method and correctors ask, it shows what it showed
    there: its answer depends on x, and not on how often it was asked. Each image has its own time.

    Args:
        denoiser: a self-conditioned one, or a guided one.
    """

    def __init__(self, denoiser: Shown) -> None:
        self.denoiser = denoiser
        self._t: Real[Tensor, " n"] | None = None
        self._given: Tensor
        self._last: Tensor

    @property
    def schedule(self) -> Schedule:
        """The denoiser's."""
        return self.denoiser.schedule

    def __call__(
        self,
        x_t: Float[Tensor, "n c h w"],
        t: Real[Tensor, " n"],
        label: Int[Tensor, " n"] | None = None,
    ) -> Estimate:
        """The estimate at time t, one an image."""
        if self._t is None:
            given = torch.zeros_like(x_t)
        else:
            again = (t == self._t).reshape(-1, 1, 1, 1)
            given = torch.where(again, self._given, self._last)
        estimate = self.denoiser(x_t, t, label, given=given)
        self._t, self._given, self._last = t, given, estimate.x0
        return estimate
