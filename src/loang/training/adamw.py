"""AdamW by torch, told where weights lie in memory."""

from collections.abc import Mapping, Set
from typing import Any

import torch
from torch import Tensor

LAST = torch.channels_last
SLOTS = frozenset({"step", "exp_avg", "exp_avg_sq"})
"""What torch's own keeps of each weight that it has moved."""


class AdamW(torch.optim.AdamW):
    """torch's own, which copies each gradient of a convolution whose channels lie last.

    It walks through memory where it is fused, and makes sure first that nothing lies otherwise than
    the shape says. Turned so that the shape says how they lie, the same numbers are walked through
    in the same order, and nothing is copied: a step takes half of the time on a CPU.
    """

    def slots(self, weight: Tensor) -> Set[str]:
        """What is kept of a weight that has been moved."""
        return SLOTS

    def check(self, state: Mapping[str, Any]) -> None:
        """Whether of each weight there is what this one keeps, or nothing.

        Raises:
            ValueError: there is something else, which torch would notice in the next step.
        """
        for weight, found in state["state"].items():
            if found and found.keys() != self.slots(weight):
                raise ValueError(f"of a weight it keeps {', '.join(sorted(self.slots(weight)))}")

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.check(state)
        super().__setstate__(state)

    def _init_group(self, group: dict[str, Any], *lists: Any, **more: Any) -> Any:
        # Of torch's own making, and not the same in all versions: where it has become another,
        # nothing is turned, and the step is what it always was.
        found = super()._init_group(group, *lists, **more)
        if group.get("fused"):
            counts = {len(each) for each in lists if isinstance(each, list) and each}
            tensors = [each for each in lists if isinstance(each, list) and each]
            if len(counts) == 1:
                for number in range(counts.pop()):
                    _turn(tensors, number)
        return found


def _turn(lists: list[list[Tensor]], number: int) -> None:
    """A weight, its gradient and its moments, if all of them lie with the channels last."""
    maps = [each for each in lists if each[number].ndim == 4]
    if all(each[number].is_contiguous(memory_format=LAST) for each in maps):
        for each in maps:
            each[number] = each[number].permute(0, 2, 3, 1)
