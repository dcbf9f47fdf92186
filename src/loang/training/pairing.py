"""Which noise each image of a batch is trained with: any, or the one that lies nearest."""

import numpy as np
import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor


def nearest(
    x0: Float[Tensor, "n c h w"],
    eps: Float[Tensor, "n c h w"],
    label: Int[Tensor, " n"] | None,
    told: Float[Tensor, "n parameters"] | None = None,
) -> Int64[Tensor, " n"]:
    """The order of the noises in which all images together are nearest to theirs.

    Li et al. 2024, "Immiscible diffusion", algorithm 1; the same is the optimal transport within
    a batch (Pooladian et al. 2023; Tong et al. 2024). Noises are only handed round, so together
    they are what was drawn: standard normal. They are handed round among images of one label
    that were changed in the same way only, else what the network is told of an image would tell
    something of the noise, which nothing tells it when it samples (Cheng and Schwing 2025, "The
    curse of conditions").

    Args:
        x0: images.
        eps: as many noises.
        label: one an image; None where the network is told none.
        told: how each was changed; None where the network is not told.

    Returns:
        The number of each image's noise, on the CPU.
    """
    images, noises = x0.detach().flatten(1).float(), eps.flatten(1).float()
    # |x0 - eps|² but for two sums that no order changes.
    with torch.autocast(x0.device.type, enabled=False):
        cost = -(images @ noises.T).cpu().double().numpy()
    conditions = [np.zeros((len(cost), 1))]
    conditions += [
        each.detach().cpu().numpy().reshape(len(cost), -1)
        for each in (label, told)
        if each is not None
    ]
    groups = np.unique(np.concatenate(conditions, axis=1), axis=0, return_inverse=True)[1].ravel()
    found = np.arange(len(cost))
    for group in range(groups.max(initial=-1) + 1):
        members = np.flatnonzero(groups == group)
        found[members] = members[assignment(cost[np.ix_(members, members)])]
    return torch.from_numpy(found)


def assignment(cost: Float[np.ndarray, "n n"]) -> Int64[np.ndarray, " n"]:
    """The column of each row, all different, whose costs have the least sum; exact.

    Rows are taken in one by one, each by a shortest path that moves those before it (Jonker and
    Volgenant 1987). Of order n³ at worst.

    Args:
        cost: finite.
    """
    count = len(cost)
    row_of = np.full(count, -1)
    matched = np.zeros(count, bool)
    price = cost.min(0) if count else np.zeros(0)  # of columns, so that no reduced cost is below 0
    for column, row in enumerate(cost.argmin(0) if count else ()):
        if not matched[row]:  # at no cost but the price
            matched[row], row_of[column] = True, row
    for row in np.flatnonzero(~matched):
        # Dijkstra's search over columns, from this row to a column that is free.
        reach, before = cost[row] - price, np.full(count, -1)
        done: list[int] = []
        final: list[float] = []
        while True:
            column = int(reach.argmin())
            least = float(reach[column])
            done.append(column)
            final.append(least)
            owner = row_of[column]
            if owner < 0:
                break
            through = cost[owner] - price
            through += least - through[column]
            shorter = through < reach
            shorter[done] = False
            reach[shorter], before[shorter] = through[shorter], column
            reach[column] = np.inf
        price[done] -= least - np.array(final)
        while before[column] >= 0:
            row_of[column] = row_of[before[column]]
            column = int(before[column])
        row_of[column] = row
    column_of = np.empty(count, np.int64)
    column_of[row_of] = np.arange(count)
    return column_of
