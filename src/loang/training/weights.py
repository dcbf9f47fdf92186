"""The weights that a run trains, as this process holds them: all of them. Or see shards.py."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from loang.team.team import Team
from loang.training.checkpoint import Checkpoint
from loang.training.gradient_sum import GradientSum

T = TypeVar("T")
SMALL = 1e-6
"""Added to a norm before it divides, as torch does where it clips gradients."""


class Weights:
    """All weights of a network, in each process of a team.

    What an optimizer changes, what is averaged and what is kept go by the names of the network's
    weights; what a process holds of each is this class's affair.

    Args:
        network: trained in place.
        on: device.
        team: of the processes that train it together.
    """

    sharded = False
    """Whether each process holds a part only, so that all must ask the network as often."""

    def __init__(self, network: nn.Module, on: torch.device, team: Team) -> None:
        self.network = network.to(on)
        self.team = team
        self.sum = GradientSum(team, list(self.trained().values())) if team.size > 1 else None

    def trained(self) -> dict[str, nn.Parameter]:
        """What an optimizer changes, by name; the same objects each time."""
        return dict(self.network.named_parameters())

    def values(self) -> dict[str, Tensor]:
        """What is averaged, and kept; as it is now, not copied."""
        return dict(self.network.state_dict())

    def load(self, values: Mapping[str, Tensor]) -> None:
        """Take what `values` gave.

        Raises:
            RuntimeError: one is missing, or of another shape.
        """
        self.network.load_state_dict(dict(values))

    def compute(self, work: Callable[[], T]) -> T:
        """What `work` gives, which asks the network; as often in all processes where sharded.

        Raises:
            Lost: a process is gone that this one had to wait for.
        """
        return work()

    def begin(self) -> None:
        """Forget the gradients of the batch before."""
        self.network.zero_grad(set_to_none=True)
        if self.sum:
            self.sum.begin()

    def last(self) -> None:
        """The next backward pass completes what this process computes of a batch."""
        if self.sum:
            self.sum.last()

    def settle(
        self, loss: Float[Tensor, ""], beside: Sequence[nn.Parameter], limit: float
    ) -> Float[Tensor, ""]:
        """Add up what all processes have found of a batch, and clip the gradients.

        Args:
            loss: becomes the sum of all processes'.
            beside: trained beside the network; their gradients are added up, and not clipped.
            limit: of the norm over all of the network's gradients.

        Returns:
            That norm, before it was clipped; no number where a gradient of these beside is none.

        Raises:
            Lost: a process is gone; no sum has changed then.
        """
        if self.sum:
            self.sum.end([loss, *(each.grad for each in beside if each.grad is not None)])
        return sound_beside(clipped(self.network.parameters(), limit), beside)

    def gradient_norms(self) -> dict[str, float]:
        """Of each weight that has a gradient: before `settle`, of this process's images alone."""
        return {
            name: float(weight.grad.norm())
            for name, weight in self.trained().items()
            if weight.grad is not None
        }

    def whole(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Tensors whole that lie as the weights do, at the leader.

        Args:
            tensors: by a weight's name, or `name/more`.
        """
        return tensors

    def together(self, parts: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Tensors whole, in every process, that lie as the weights of their names do.

        Raises:
            Lost: a process is gone that holds a part of them.
        """
        return parts

    def part(self, name: str, tensor: Tensor) -> Tensor:
        """What this process holds of a whole tensor of that name."""
        return tensor

    def handed(self, checkpoint: Checkpoint) -> Checkpoint:
        """The leader's checkpoint, everywhere: of each tensor what the process holds.

        Raises:
            Lost: a process is gone.
        """
        team, tensors = self.team, checkpoint.tensors
        state = team.tell(dict(checkpoint.state))
        files = team.tell(list(tensors))
        return Checkpoint(
            {file: team.hand_out(tensors.get(file), self.part) for file in files}, state
        )


@torch.no_grad()
def clipped(weights: Iterable[nn.Parameter], limit: float) -> Float[Tensor, ""]:
    """The norm over all gradients, which are made smaller where it is more than the limit.

    torch's own multiplies them by 1 where it is not: a pass over all of them, 2 % of a step of
    `tutorial` in batches of 16 on two cores. On a GPU to know that would be to wait.

    Args:
        limit: of the norm; may be infinite.
    """
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    scale = (limit / (norm + SMALL)).clamp(max=1.0)
    if scale.device.type != "cpu" or bool(scale < 1):
        torch._foreach_mul_(gradients, scale)
    return norm


def sound_beside(norm: Float[Tensor, ""], beside: Sequence[nn.Parameter]) -> Float[Tensor, ""]:
    """The norm, or no number where a gradient of these is none; without waiting for a device."""
    gradients = [each.grad for each in beside if each.grad is not None]
    if not gradients:
        return norm
    sound = torch.stack(torch._foreach_norm(gradients)).isfinite().all()
    return torch.where(sound, norm, torch.nan)
