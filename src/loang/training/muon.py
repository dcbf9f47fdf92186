"""Muon: kernels move along their momentum made orthogonal, all else as AdamW moves it."""

from collections.abc import Callable, Iterator, Mapping, Set
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from loang.device import full_precision
from loang.training.adamw import AdamW
from loang.training.inspection import MOMENTUM
from loang.training.weights import Weights

SMALLEST = 16
"""Channels in and out from which on a kernel is a matrix that is worth it: not those that images
come in and go out by."""
ITERATIONS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Jordan's: what is small grows fastest, and what is more than some 0.002 of the norm ends between
0.7 and 1.2."""
AS_ADAMW = 0.2
"""The usual root mean square of AdamW's steps, before the learning rate (Liu et al. 2025)."""
AT_ONCE = 2**24
"""Numbers of matrices that are made orthogonal together: each takes a handful of copies."""
TINY = 1e-12
"""Added to a norm before it divides: a gradient may be nothing at all."""


class Muon(AdamW):
    """Jordan et al. 2024, https://kellerjordan.github.io/posts/muon, with the scale of Liu et al.

    A step of gradient descent favours the few directions in which a gradient is large. The weights
    of a layer are a matrix, outputs by inputs; of its momentum the nearest orthogonal matrix is
    taken, so that all directions are followed alike. Scaled so that a weight moves by as much as
    AdamW would move it (Liu et al. 2025, "Muon is scalable for LLM training", 2.2), both take one
    learning rate. Nothing here depends on how many processes there are, but for rounding: each
    makes all matrices orthogonal for itself, so that processors of unlike kinds, which do not round
    alike, come to differ by 1e-8 or so in a step, until the run is gone on with.

    Args:
        weights: whose `trained` are changed.
        momentum: of the gradients' running mean, 0..1; Nesterov's.
        more: AdamW's.
    """

    def __init__(self, weights: Weights, *, momentum: float, **more: Any) -> None:
        self._weights, self._momentum = weights, momentum
        trained = weights.trained()
        names = matrices(weights.network)
        self._matrices = {name: trained[name] for name in names if name in trained}
        self._apart = {id(weight) for weight in self._matrices.values()}
        super().__init__(trained.values(), **more)

    def _init_group(self, group: dict[str, Any], *lists: Any, **more: Any) -> Any:
        rest = [weight for weight in group["params"] if id(weight) not in self._apart]
        return super()._init_group({**group, "params": rest}, *lists, **more)

    def slots(self, weight: Tensor) -> Set[str]:
        """What is kept of a weight that has been moved."""
        return {MOMENTUM} if id(weight) in self._apart else super().slots(weight)

    def __setstate__(self, state: dict[str, Any]) -> None:
        # torch's own looks for a count of steps beside each weight, which matrices have not.
        self.check(state)
        kept = state["state"]
        apart = {weight: kept.pop(weight) for weight in self._matrices.values() if weight in kept}
        super().__setstate__(state)
        kept.update(apart)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; where `found_inf` is 1 it changes nothing, and nothing waits to know.

        Raises:
            Lost: a process is gone that holds a part of the weights; nothing has changed then.
        """
        answer = None
        if closure is not None:
            with torch.enable_grad():
                answer = closure()
        moved = self._moved()
        whole = self._weights.together({name: ahead for name, (_, ahead) in moved.items()})
        super().step()
        for name, (momentum, _) in moved.items():
            self.state[self._matrices[name]][MOMENTUM] = momentum
        group = self.param_groups[0]
        rate = group["lr"] * self._sound()
        for names in _alike(whole):
            updates = orthogonal([whole[name] for name in names])
            weights = list[Tensor](self._matrices[name] for name in names)
            parts = [self._weights.part(*each) for each in zip(names, updates, strict=True)]
            if group["weight_decay"]:
                torch._foreach_mul_(weights, 1 - rate * group["weight_decay"])
            torch._foreach_mul_(parts, rate)
            torch._foreach_sub_(weights, parts)
        return answer

    def _sound(self) -> Tensor | float:
        """1, or 0 where this step changes nothing."""
        found: Tensor | None = getattr(self, "found_inf", None)
        return 1.0 if found is None else 1 - found

    def _moved(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Of each matrix with a gradient its new momentum, and where that will be a step later."""
        names, gradients, before = [], list[Tensor](), list[Tensor]()
        for name, weight in self._matrices.items():
            if weight.grad is not None:
                kept = self.state[weight].get(MOMENTUM)
                names.append(name)
                gradients.append(weight.grad)
                before.append(torch.zeros_like(weight) if kept is None else kept)
        if not names:
            return {}
        sound = self._sound()
        if isinstance(sound, Tensor):
            holds = sound > 0
            # Not times 0, which leaves what is no number as it is.
            pairs = zip(gradients, before, strict=True)
            gradients = [torch.where(holds, gradient, old) for gradient, old in pairs]
        momenta = torch._foreach_lerp(gradients, before, self._momentum)
        ahead = torch._foreach_lerp(gradients, momenta, self._momentum)
        return dict(zip(names, zip(momenta, ahead, strict=True), strict=True))


def matrices(network: nn.Module) -> list[str]:
    """The names of the weights that are matrices: of convolutions from many channels to many.

    Linear layers, which turn codes of times and labels into others, learnt no better by it and took
    most of the time (docs/benchmarks.md).
    """
    return [
        f"{name}.weight"
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Conv2d)
        and layer.groups == 1
        and min(layer.in_channels, layer.out_channels) >= SMALLEST
    ]


def orthogonal(alike: list[Float[Tensor, "_ ..."]]) -> list[Float[Tensor, "_ ..."]]:
    """Nearly the nearest matrices whose rows, or columns, are orthonormal, in AdamW's scale.

    By five steps of an odd polynomial (Newton and Schulz's iteration, with Jordan's coefficients),
    x <- (a + b x x^T + c (x x^T)^2) x, which takes singular values towards 1 without computing
    them. All its factors are polynomials of the first x x^T, so that they are multiplied up as
    matrices of the shorter side, and x once: of a kernel of 3x3 that takes less than half of it,
    and matrices of other shapes are computed together. That is done in float32, whatever the
    network is computed in and torch was told of products: squares lose half of the digits, and with
    fewer of them what is nearly 0 would grow without end.

    Args:
        alike: tensors whose shorter side is the same; a kernel is a matrix of its outputs by all
            that it looks at.

    Returns:
        As large as they are; the mean of their squares is about `AS_ADAMW`**2, where no direction
        of theirs is nothing.
    """
    found = list(alike)
    places: dict[torch.Size, list[int]] = {}
    for place, each in enumerate(alike):
        places.setdefault(each.shape, []).append(place)
    with torch.autocast(alike[0].device.type, enabled=False), full_precision():
        stacks = [
            torch.stack([_lying(alike[at]).float() for at in same]) for same in places.values()
        ]
        for same, stack in zip(places.values(), _orthogonal(stacks), strict=True):
            for at, one in zip(same, stack, strict=True):
                found[at] = _as(one, alike[at])
    return found


def _orthogonal(stacks: list[Float[Tensor, "_ short _"]]) -> list[Float[Tensor, "_ short _"]]:
    """Which are changed in place."""
    xs = [x.div_(x.norm(dim=(1, 2), keepdim=True) + TINY) for x in stacks]
    factors = _factor(torch.cat([x @ x.mT for x in xs])).split([len(x) for x in xs])
    scales = [AS_ADAMW * x.shape[2] ** 0.5 for x in xs]
    return [(factor * scale) @ x for factor, scale, x in zip(factors, scales, xs, strict=True)]


def _factor(square: Float[Tensor, "many short short"]) -> Float[Tensor, "many short short"]:
    """By what all steps together multiply x, of its x x^T."""
    linear, cubic, quintic = COEFFICIENTS
    identity = linear * torch.eye(square.shape[1], device=square.device, dtype=square.dtype)
    product: Tensor | None = None
    for number in range(ITERATIONS):
        factor = torch.baddbmm(square, square, square, beta=cubic, alpha=quintic) + identity
        product = factor if product is None else factor @ product
        if number < ITERATIONS - 1:
            square = factor @ square @ factor
    assert product is not None
    return product


def _sides(tensor: Tensor) -> tuple[int, int]:
    """Of its matrix: outputs, and all that each looks at."""
    return len(tensor), tensor.numel() // len(tensor)


def _lying(tensor: Float[Tensor, "out ..."]) -> Float[Tensor, "short long"]:
    """Its matrix, the longer side last; a kernel's channels lie last, as mostly in memory."""
    out, seen = _sides(tensor)
    flat = tensor.movedim(1, -1).reshape(out, seen) if tensor.ndim > 2 else tensor
    return flat if out <= seen else flat.mT


def _as(lying: Float[Tensor, "short long"], like: Float[Tensor, "out ..."]) -> Tensor:
    out, seen = _sides(like)
    flat = (lying if out <= seen else lying.mT).to(like.dtype)
    if like.ndim == 2:
        return flat
    return flat.reshape(out, *like.shape[2:], like.shape[1]).movedim(-1, 1)


def _alike(tensors: Mapping[str, Tensor]) -> Iterator[list[str]]:
    """The names of tensors of one shorter side, in their order, not too many numbers at once."""
    by_side: dict[int, list[str]] = {}
    for name, tensor in tensors.items():
        by_side.setdefault(min(_sides(tensor)), []).append(name)
    for names in by_side.values():
        some: list[str] = []
        for name in names:
            if some and sum(tensors[each].numel() for each in [*some, name]) > AT_ONCE:
                yield some
                some = []
            some.append(name)
        yield some
