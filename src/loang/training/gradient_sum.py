"""Gradients of a team, added up while the backward pass is still finding others."""

from collections.abc import Sequence
from functools import partial
from itertools import chain

from torch import Tensor, nn

from loang.team.sums import Sum, buckets
from loang.team.team import Team

SIZE = 2**20
"""Numbers that are sent at once."""


class GradientSum:
    """The sum of all processes' gradients, begun in buckets as they come.

    The backward pass finds those of the last weights first, so these are sent first (Li et al.
    2020, "PyTorch Distributed", section 3.2). A bucket is sent when it and all before it are
    complete: in the same order everywhere. Where memory runs out and a batch is computed anew,
    what was sent stays sent: it was complete.

    Args:
        team: of several processes.
        weights: in their order in the network; the same everywhere.
    """

    def __init__(self, team: Team, weights: Sequence[nn.Parameter]) -> None:
        self.team = team
        self._buckets = list(buckets(weights[::-1], SIZE))
        self._sums: list[Sum] = []
        self._heard = False
        for number, bucket in enumerate(self._buckets):
            for weight in bucket:
                weight.register_post_accumulate_grad_hook(partial(self._came, number))

    def begin(self) -> None:
        """Gradients come that are not whole yet: of a part of what this process computes."""
        self._heard = False
        self._missing = [set(bucket) for bucket in self._buckets]

    def last(self) -> None:
        """From now on gradients that come are whole."""
        self._heard = True

    def end(self, beside: Sequence[Tensor]) -> None:
        """All gradients become sums; weights without one anywhere stay without.

        Args:
            beside: become sums as well.

        Raises:
            Lost: a process is gone. None of them was changed then.
        """
        self._heard = False
        while len(self._sums) < len(self._buckets):
            self._send()
        sums, self._sums = self._sums, []
        sums.append(self.team.begin_sum(beside))
        self.team.end_sums(sums, [*chain(*map(_gradients, self._buckets)), *beside])

    def _came(self, number: int, weight: Tensor) -> None:
        if not self._heard:
            return
        self._missing[number].discard(weight)
        while len(self._sums) < len(self._buckets) and not self._missing[len(self._sums)]:
            self._send()

    def _send(self) -> None:
        self._sums.append(self.team.begin_sum(_gradients(self._buckets[len(self._sums)])))


def _gradients(bucket: Sequence[nn.Parameter]) -> list[Tensor]:
    return [weight.grad for weight in bucket if weight.grad is not None]
