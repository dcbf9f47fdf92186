"""Tensors that are being added up with their counterparts in other processes."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeVar

import torch
from jaxtyping import Shaped
from torch import Tensor
from torch import distributed as dist

T = TypeVar("T", bound=Tensor)


class Sum(NamedTuple):
    """A sum that is under way.

    Args:
        shapes: of each tensor.
        flat: their numbers, one after another; the sum's, once it is there.
        work: torch's; None where there is nothing to add up.
    """

    shapes: list[torch.Size]
    flat: Shaped[Tensor, " n"]
    work: "dist.Work | None"

    def parts(self) -> list[Tensor]:
        """The sums, each in its shape; of the memory of `flat`."""
        pieces = self.flat.split([shape.numel() for shape in self.shapes])
        return [piece.view(shape) for piece, shape in zip(pieces, self.shapes, strict=True)]


def buckets(tensors: Sequence[T], size: int) -> Iterator[list[T]]:
    """As many tensors that follow one another as have `size` numbers together, but at least one."""
    bucket: list[T] = []
    numbers = 0
    for tensor in tensors:
        if bucket and numbers + tensor.numel() > size:
            yield bucket
            bucket, numbers = [], 0
        bucket.append(tensor)
        numbers += tensor.numel()
    yield bucket
