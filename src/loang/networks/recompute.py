"""Parts of a network whose inner results are computed again, rather than kept for the gradient."""

from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


class Recomputable(nn.Module):
    """A part that can do without the memory of what lies within it, for a second pass through it.

    Chen et al. 2016, "Training deep nets with sublinear memory cost". The numbers are the same:
    dropout's too, as torch's generator is put back for the second pass.
    """

    recompute = False
    """Whether it does so, where a gradient is wanted."""

    def __call__(self, *args: Any) -> Any:
        """As any module's."""
        if self.recompute and torch.is_grad_enabled():
            return checkpoint(super().__call__, *args, use_reentrant=False)
        return super().__call__(*args)


def recompute(network: nn.Module, wanted: bool) -> None:
    """Let all parts that can compute again what a gradient needs, or keep it."""
    for part in network.modules():
        if isinstance(part, Recomputable):
            part.recompute = wanted
