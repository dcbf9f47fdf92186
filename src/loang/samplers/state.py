"""What every sampler yields, and what it is given."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int, Real
from torch import Tensor

from loang.denoiser import DenoiserLike
from loang.schedule.base import widest

Noise = Callable[[int], Float[Tensor, "n c h w"]]
"""Standard normal noise for the sampler's step 0, 1, ...; asked for only where it is used."""


class State(NamedTuple):
    """One level of the walk: the images at time t, and what the denoiser sees in them.

    At the last level, t = 0, both are the finished images.
    """

    t: float
    x: Float[Tensor, "n c h w"]
    x0: Float[Tensor, "n c h w"]

    def _repr_png_(self) -> bytes:
        """For notebooks: the images above what is seen in them."""
        from loang.pictures.notebook import state_png

        return state_png(self.x, self.x0)


@runtime_checkable
class Sampler(Protocol):
    """A pure generator: one state a level, the first of them the noise that it was given.

    `levels` are falling times that end at 0; each step is a pair (t, s) of neighbours.
    """

    def __call__(
        self,
        denoiser: DenoiserLike,
        x: Float[Tensor, "n c h w"],
        levels: Sequence[float],
        noise: Noise,
        label: Int[Tensor, " n"] | None = None,
    ) -> Iterator[State]:
        """Walk from x, at time levels[0], to the images at time 0."""
        ...


def pairs(levels: Sequence[float]) -> Iterator[tuple[int, float, float]]:
    """(step, t, s) for each pair of neighbouring levels, from the noisiest down.

    Raises:
        ValueError: the levels do not fall, or do not end at 0.
    """
    if len(levels) < 2 or levels[-1] != 0 or any(t <= s for t, s in pairwise(levels)):
        raise ValueError(f"levels must fall and end at 0, not {list(levels)}")
    for step, (t, s) in enumerate(pairwise(levels)):
        yield step, t, s


def times(t: float, x: Float[Tensor, "n c h w"]) -> Real[Tensor, " n"]:
    """The same time for each image: whole numbers stay whole."""
    dtype = torch.long if isinstance(t, int) else widest(x.device)
    return torch.full((len(x),), t, dtype=dtype, device=x.device)
