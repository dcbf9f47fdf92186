"""Noise levels drawn as often as their losses are large, so that gradients vary least."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from loang.schedule import Discrete, Schedule
from loang.schedule.base import widest
from loang.team.team import ALONE, Team

MEMORY = 10
"""Losses remembered of each level."""
UNIFORM = 0.001
"""The share of draws that stay uniform, so that no level is forgotten."""
UNITS = 2**40
"""Of these each level's probability is a whole number."""
BINS = 100
"""Of a schedule of real time."""


class Drawn(NamedTuple):
    """Shares that were drawn by importance.

    Args:
        share: in (0, 1), to be turned into times.
        weight: 1 / (its density): with it the mean of any loss is that of uniform shares.
        bins: which level each fell into.
    """

    share: Float[Tensor, " n"]
    weight: Float[Tensor, " n"]
    bins: Int[Tensor, " n"]


class Importance:
    """p(level) in proportion to the root of its mean squared loss.

    Nichol and Dhariwal 2021, section 3.3, eq. 18: of each level the last 10 losses are kept, and
    draws are uniform until all levels have as many. All is on the device, and nothing waits for it.

    Args:
        schedule: each of its steps is a level; one of real time is cut into a hundred levels that
            uniform draws hit equally often.
        on: device.
    """

    def __init__(self, schedule: Schedule, on: torch.device) -> None:
        self.bins = schedule.T if isinstance(schedule, Discrete) else BINS
        self.squares = torch.zeros(self.bins, MEMORY, device=on)
        """The last squared losses of each level, in a ring."""
        self.counts = torch.zeros(self.bins, dtype=torch.int64, device=on)
        """How many there have been."""
        self._seen: list[tuple[Tensor, Tensor]] = []

    def tensors(self) -> dict[str, Tensor]:
        """What is remembered."""
        return {"squares": self.squares, "counts": self.counts}

    @property
    def probabilities(self) -> Float[Tensor, " bins"]:
        """Of each level."""
        size = self.squares.to(widest(self.squares.device)).mean(1).sqrt()
        even = torch.full_like(size, 1 / self.bins)
        p = torch.where(size.sum() > 0, size / size.sum(), even)
        known = self.counts.min() >= MEMORY
        return torch.where(known, (1 - UNIFORM) * p + UNIFORM * even, even)

    def draw(self, share: Float[Tensor, " n"]) -> Drawn:
        """Uniform shares, moved to where losses are large; evenly spread ones stay so."""
        # Whole numbers, whose sums up to each level no GPU can round in another order.
        p = (self.probabilities * UNITS).round().long().clamp(min=1)
        up_to = p.cumsum(0)
        share = share * up_to[-1]
        bins = torch.searchsorted(up_to, share, right=True).clamp(max=self.bins - 1)
        within = (share - (up_to - p)[bins]) / p[bins]
        # Below 1, whatever was rounded, so that it stays in its bin.
        moved = (bins + within.clamp(0, 1 - 2.0**-33)) / self.bins
        return Drawn(moved, up_to[-1] / (self.bins * p[bins]), bins)

    def begin(self) -> None:
        """A batch begins; what was noted of an unfinished one is dropped."""
        self._seen.clear()

    def note(self, bins: Int[Tensor, " n"], losses: Float[Tensor, " n"]) -> None:
        """Losses of a part of a batch, remembered when the batch is settled.

        Args:
            bins: their levels.
            losses: without the importance's own weight.
        """
        self._seen.append((bins, losses.detach()))

    def settle(self, team: Team = ALONE) -> None:
        """Remember the losses of the batch, in the order of its images.

        Args:
            team: of the processes that have noted the batch's other parts.
        """
        if not self._seen:
            return
        bins = team.whole(torch.cat([each for each, _ in self._seen]))
        squares = team.whole(torch.cat([each for _, each in self._seen]).float().square())
        self._seen.clear()
        order = bins.argsort(stable=True)
        bins, squares = bins[order], squares[order]
        # Which of its level's losses in this batch each one is, and how many come after it.
        rank = torch.arange(len(bins), device=bins.device) - torch.searchsorted(bins, bins)
        after = torch.searchsorted(bins, bins, right=True) - torch.arange(
            1, len(bins) + 1, device=bins.device
        )
        slot = (self.counts[bins] + rank) % MEMORY
        # A loss that is no number, or that the ring has no room for, leaves what was there.
        known = torch.isfinite(squares) & (after < MEMORY)
        flat = torch.where(known, bins * MEMORY + slot, self.squares.numel())
        room = torch.cat((self.squares.flatten(), self.squares.new_zeros(1)))
        self.squares.copy_(
            room.scatter(0, flat, squares.nan_to_num(nan=0.0, posinf=0.0))[:-1].view_as(
                self.squares
            )
        )
        self.counts.scatter_add_(0, bins, torch.ones_like(bins))
