"""How far the samples' chance moves a share of reference images that they reach: by halving."""

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from loang.metrics.rows import shuffled

HALVINGS = 10


class Halves:
    """The samples, halved at random ten times, and which reference images each half reaches.

    Two halves are two independent sets, of half as many samples: the mean square of half their
    difference is the variance that the whole set's chance gives a share. It is right for shares
    that one sample does not move smoothly too, where leaving out a tenth at a time is not
    (Shao and Wu 1989): that gave twice the spread of recall.

    Args:
        count: how many samples.
        reference: how many reference images.
    """

    def __init__(self, count: int, reference: int) -> None:
        self.first = torch.zeros(HALVINGS, count, dtype=torch.bool)
        for halving, which in enumerate(self.first):
            order = shuffled(count, seed=0, purpose=f"metrics/halves/{halving}")
            which[torch.from_numpy(order[: count // 2])] = True
        self.reached = torch.zeros(HALVINGS, 2, reference, dtype=torch.bool)

    def radii(
        self, distances: Float64[np.ndarray, "n j"], neighbours: Int64[np.ndarray, "n j"], k: int
    ) -> Float64[np.ndarray, "h n"]:
        """Of each halving, each sample's distance from its k-th neighbour in its own half.

        Args:
            distances: of each sample's nearest others, ascending; of enough for k in each half.
            neighbours: which samples they are.
            k: which; the farthest where fewer are in the half.
        """
        found = np.empty(self.first.shape)
        for halving, which in enumerate(self.first.numpy()):
            own = which[neighbours] == which[:, None]
            own &= own.cumsum(axis=1) <= k
            found[halving] = (distances * own).max(axis=1)
        return found

    def add(
        self, halving: int, rows: slice, columns: slice, near: Bool[Tensor, "rows columns"]
    ) -> None:
        """Some samples reach some reference images; which, may differ from halving to halving."""
        which = self.first[halving, rows]
        for half, own in enumerate((which, ~which)):
            self.reached[halving, half, columns] |= near[own].any(dim=0)

    @property
    def variance(self) -> float:
        """Of the share of reference images that all samples reach."""
        shares = self.reached.double().mean(dim=2)
        return float(((shares[:, 0] - shares[:, 1]) / 2).square().mean())
