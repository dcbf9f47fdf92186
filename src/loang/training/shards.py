"""Weights that no process holds whole: a part of each, with its gradient, moments and averages.

Torch's FSDP2 (`fully_shard`) fetches the weights of one block after another as the network is
asked, and drops them again; gradients come back to whoever holds the part. All else, the optimizer
above all, sees plain tensors: this process's parts.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch import distributed as dist

from loang.config import Settings
from loang.errors import LoangError
from loang.networks.recompute import Recomputable
from loang.team.team import Team
from loang.training.weights import SMALL, Weights, sound_beside

T = TypeVar("T")


def check(settings: Settings, on: torch.device, team: Team) -> None:
    """Whether a team's processes can each hold a part of the weights.

    Raises:
        LoangError: they can't.
    """
    batch, without = settings.training.batch, "Leave it away: --set training.shard=false."
    if settings.distilled:
        raise LoangError(
            "training.shard spreads one network over all processes; a student has a teacher beside"
            " it.",
            without,
        )
    if batch % team.size:
        raise LoangError(
            f"With training.shard all processes take equally many images, and a batch of {batch:,}"
            f" can't be divided by {team.size:,}.",
            f"Make it a multiple: --set training.batch={batch + -batch % team.size}.",
        )
    if on.type not in ("cpu", "cuda"):
        raise LoangError(
            f"Weights can't be spread over devices of the kind {on.type}: training.shard.", without
        )
    _fully_shard()


class Shards(Weights):
    """A part of each weight of a network, in each process of a team.

    Each weight is cut along its first dimension into parts that are as long as one another, but
    for the last ones, which may be empty.

    Args:
        network: of the same weights everywhere, on the CPU; trained in place.
        on: device.
        team: of several processes.
    """

    sharded = True

    def __init__(self, network: nn.Module, on: torch.device, team: Team) -> None:
        from torch.distributed.device_mesh import DeviceMesh

        fully_shard = _fully_shard()
        self.network = network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        self.team = team
        self.lengths = {name: len(weight) for name, weight in network.named_parameters()}
        assert dist.group.WORLD is not None
        mesh = DeviceMesh.from_group(dist.group.WORLD, on.type)
        for part in (*_blocks(network), network):
            part.register_forward_hook(_no_view)
            fully_shard(part, mesh=mesh)
        self._distributed: dict[str, Any] = dict(network.named_parameters())
        self._own = {name: nn.Parameter(part) for name, part in self.values().items()}

    def trained(self) -> dict[str, nn.Parameter]:
        """This process's part of each weight."""
        return self._own

    @torch.no_grad()
    def values(self) -> dict[str, Tensor]:
        """This process's part of each weight, where torch has it now."""
        return {name: weight.to_local() for name, weight in self._distributed.items()}

    @torch.no_grad()
    def load(self, values: Mapping[str, Tensor]) -> None:
        """Take this process's parts.

        Raises:
            RuntimeError: one is missing, or of another shape.
        """
        own = self.values()
        if {name: part.shape for name, part in own.items()} != {
            name: part.shape for name, part in values.items()
        }:
            raise RuntimeError("the weights are not those of the network")
        for name, part in own.items():
            part.copy_(values[name])

    def compute(self, work: Callable[[], T]) -> T:
        """What `work` gives, in which the network's blocks are fetched from the others.

        Raises:
            Lost: a process is gone.
        """
        return self.team.within(work)

    def begin(self) -> None:
        """Forget the gradients of the batch before."""
        for weights in (self._distributed, self._own):
            for weight in weights.values():
                weight.grad = None

    def last(self) -> None:
        """Nothing: torch adds up each backward pass by itself."""

    @torch.no_grad()
    def settle(
        self, loss: Float[Tensor, ""], beside: Sequence[nn.Parameter], limit: float
    ) -> Float[Tensor, ""]:
        """As of `Weights`: torch has added up the gradients, but for the norm of all parts.

        Raises:
            Lost: a process is gone; no weight has changed then.
        """
        gradients = self._gradients()
        squares = self._squares(gradients.values(), loss)
        self.team.add_up([loss, squares, *(p.grad for p in beside if p.grad is not None)])
        # Torch gives their mean over the processes: of a loss that is divided by the whole batch
        # already, the sum is wanted.
        norm = self.team.size * squares.sqrt()
        scale = self.team.size * (limit / (norm + SMALL)).clamp(max=1.0)
        torch._foreach_mul_(list(gradients.values()), scale)
        for name, part in self.values().items():
            # Torch may have moved it once, as it set itself up.
            self._own[name].data = part
            self._own[name].grad = gradients.get(name)
        return sound_beside(norm, beside)

    @torch.no_grad()
    def gradient_norms(self) -> dict[str, float]:
        """Of each weight that has a gradient: the mean of all processes'."""
        gradients = self._gradients()
        if not gradients:
            return {}
        squares = torch.stack([gradient.square().sum() for gradient in gradients.values()])
        self.team.add_up([squares])
        return dict(zip(gradients, squares.sqrt().tolist(), strict=True))

    def whole(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """At the leader, in main memory and in memory of their own; with the others nothing.

        One after another, so that the others hold no more than a part.

        Raises:
            Lost: a process is gone.
        """
        found: dict[str, Tensor] = {}
        for name, tensor in tensors.items():
            length = self._length(name, tensor)
            if length is None:
                found[name] = tensor.detach().to("cpu", copy=True)
                continue
            part = tensor.detach().cpu().contiguous().numpy()
            ends = [self._range(length, rank) for rank in range(self.team.size)]
            parts = self.team.gather(part, [len(each) for each in ends])
            if self.team.leads:
                found[name] = torch.from_numpy(np.concatenate(parts))
        return found if self.team.leads else {}

    @torch.no_grad()
    def together(self, parts: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """As of `Weights`: each process adds its rows to the others' nothing.

        Raises:
            Lost: a process is gone.
        """
        found = {}
        for name, part in parts.items():
            length = self.lengths[name]
            own = self._range(length, self.team.place.rank)
            found[name] = part.new_zeros(length, *part.shape[1:])
            found[name][own.start : own.stop] = part
        self.team.add_up(list(found.values()))
        return found

    def part(self, name: str, tensor: Tensor) -> Tensor:
        """What this process holds of a whole tensor of that name, in memory of its own.

        Raises:
            RuntimeError: it is of another length than the weight of that name.
        """
        length = self._length(name, tensor)
        if length is None:
            return tensor
        if len(tensor) != length:
            raise RuntimeError(f"{name} is of another shape")
        own = self._range(length, self.team.place.rank)
        return tensor[own.start : own.stop].clone()

    def _length(self, name: str, tensor: Tensor) -> int | None:
        """Of the first dimension of a tensor that lies as a weight does; None for any other."""
        name = name if name in self.lengths else name.rpartition("/")[0]
        return self.lengths.get(name) if tensor.ndim else None

    def _range(self, length: int, rank: int) -> range:
        """Which of so many rows a process has: as `torch.chunk` cuts."""
        each = -(-length // self.team.size)
        return range(min(rank * each, length), min((rank + 1) * each, length))

    def _gradients(self) -> dict[str, Tensor]:
        """This process's part of each gradient; the same names in all processes."""
        return {
            name: weight.grad.to_local()
            for name, weight in self._distributed.items()
            if weight.grad is not None
        }

    @staticmethod
    def _squares(parts: Any, like: Tensor) -> Float[Tensor, ""]:
        """The sum of the squares of all numbers; there may be none."""
        norms = torch._foreach_norm([part for part in parts if part.numel()])
        return torch.stack([like.new_zeros(()), *norms]).square().sum()


def _blocks(network: nn.Module) -> Iterator[nn.Module]:
    """The parts of a network that lie within no other: what is fetched and dropped at once."""
    for child in network.children():
        if isinstance(child, Recomputable):
            yield child
        else:
            yield from _blocks(child)


def _no_view(part: nn.Module, given: Any, answer: Tensor) -> Tensor:
    """Torch hangs the fetching of weights on an answer, which a change to a view would undo."""
    return answer.clone() if answer._is_view() else answer


def _fully_shard() -> Any:
    try:
        from torch.distributed.fsdp import fully_shard
    except ImportError as error:
        raise LoangError(
            f"torch {torch.__version__} can't spread weights over processes: training.shard.",
            "Install torch 2.6 or newer, or leave it away: --set training.shard=false.",
        ) from error
    return fully_shard
