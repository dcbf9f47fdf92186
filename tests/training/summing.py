"""What each process of `test_gradient_sum.py` does: gradients added up as they come."""

import torch
from torch import Tensor, nn

from loang.team.joining import join
from loang.training import gradient_sum
from loang.training.weights import Weights

gradient_sum.SIZE = 30  # numbers: one layer below at once
team = join()
rank = team.place.rank

begun: list[int] = []
begin_sum = team.begin_sum


def noted(tensors):
    begun.append(sum(tensor.numel() for tensor in tensors))
    return begin_sum(tensors)


team.begin_sum = noted  # type: ignore[method-assign]


class Looks(torch.autograd.Function):
    """Looks, on the way back, at what has been sent by then; and may find no memory."""

    seen: list[int] | None = None
    full = False

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        Looks.seen = list(begun)
        if Looks.full:
            raise torch.OutOfMemoryError("no memory in the midst of it")
        return gradient


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.idle = nn.Linear(3, 3)
        self.first, self.second, self.third = (nn.Linear(5, 5) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        return self.third(self.second(Looks.apply(self.first(x))).tanh())


def fresh() -> Net:
    torch.manual_seed(0)
    return Net()


x = torch.randn(8, 5, generator=torch.Generator().manual_seed(1))
own = x[list(team.part(8))]
alone = fresh()
alone(x).square().sum().backward()
expected = {name: weight.grad for name, weight in alone.named_parameters()}
expected_norm = nn.utils.clip_grad_norm_(alone.parameters(), float("inf"))

network = fresh()
weights = Weights(network, torch.device("cpu"), team)


def backward(part: Tensor) -> Tensor:
    loss = network(part).square().sum()
    loss.backward()
    return loss.detach()


def settled(loss: Tensor) -> None:
    """All is as of one process: the loss, the gradients, and which weights have none."""
    norm = weights.settle(loss, [], float("inf"))
    torch.testing.assert_close(norm, expected_norm)
    torch.testing.assert_close(loss, alone(x).square().sum().detach())
    assert network.idle.weight.grad is None
    for name, weight in network.named_parameters():
        if expected[name] is not None:
            torch.testing.assert_close(weight.grad, expected[name])


# As they come: the last layers' are under way while the first layer's are not known yet.
weights.begin()
weights.last()
loss = backward(own)
assert Looks.seen == [30, 30]
settled(loss)
sent = list(begun)
assert sent == [30, 30, 30, 0, 1]

# Of a batch that is computed in parts, nothing is sent before the last of them.
begun.clear()
weights.begin()
half = backward(own[:2])
assert begun == []
weights.last()
settled(half + backward(own[2:]))
assert begun == sent

# One process has no memory in the midst, when some are on their way: it computes anew, in parts,
# and the others know nothing of it.
begun.clear()
weights.begin()
weights.last()
if rank == 1:
    Looks.full = True
    try:
        backward(own)
    except torch.OutOfMemoryError:
        Looks.full = False
    assert len(Looks.seen) >= 1
    weights.begin()
    half = backward(own[:1])
    weights.last()
    settled(half + backward(own[1:]))
else:
    settled(backward(own))
assert begun == sent

# What is looked at beside a step sends nothing.
begun.clear()
weights.begin()
backward(own)
assert begun == []

print("all is well")
