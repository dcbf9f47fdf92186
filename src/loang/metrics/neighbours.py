"""Nearest neighbours by brute force: exact, in memory that does not grow with the number."""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from loang.metrics.rows import check, pieces

_QUERIES = 1024
_SPARE = 4


def nearest(
    queries: Float[np.ndarray, "n d"],
    among: Float[np.ndarray, "m d"],
    k: int,
    *,
    skip_self: bool = False,
) -> tuple[Float64[np.ndarray, "n k"], Int64[np.ndarray, "n k"]]:
    """The k nearest rows of `among`: Euclidean distances, ascending, and their indices.

    Distances are those of a direct difference, so that of a copy is exactly 0. Equal distances
    are ordered by index.

    Args:
        queries: the rows to find neighbours of.
        among: where to look.
        k: how many, at most the number of candidates.
        skip_self: `queries` is `among`, and a row is no neighbour of itself.

    Raises:
        ValueError: too few rows, or features that are not finite.
    """
    check(among, queries, least=1)
    if not 1 <= k <= len(among) - skip_self:
        raise ValueError(f"{k} neighbours of {len(among) - skip_self} candidates")
    if skip_self and len(queries) != len(among):
        raise ValueError("skip_self is for the neighbours of a set in itself")
    # Some more than k are kept, so that rounding in the fast formula costs no true neighbour.
    kept = min(k + _SPARE, len(among) - skip_self)
    best = torch.full((len(queries), kept), torch.inf, dtype=torch.float64)
    found = torch.zeros(len(queries), kept, dtype=torch.int64)
    for rows, columns, squared in squared_distances(queries, among):
        if skip_self:
            _diagonal(squared, rows, columns).fill_(torch.inf)
        near, where = squared.topk(min(kept, squared.shape[1]), largest=False)
        near = torch.cat((best[rows], near), dim=1)
        where = torch.cat((found[rows], where + columns.start), dim=1)
        best[rows], chosen = near.topk(kept, largest=False)
        found[rows] = where.gather(1, chosen)
    return _ranked(queries, among, found.sort(dim=1).values.numpy(), k)


def squared_distances(
    queries: Float[np.ndarray, "n d"], among: Float[np.ndarray, "m d"]
) -> Iterator[tuple[slice, slice, Float64[Tensor, "rows columns"]]]:
    """All squared Euclidean distances, a block at a time: (rows, columns, block).

    |a|² - 2 a·b + |b|², with the mean of `among` as the origin: the rounding error is that of the
    spread and not of the distance from 0. Never below 0.
    """
    centre = among.mean(axis=0, dtype=np.float64)
    for columns, b in pieces(among, centre=centre):
        of_b = b.square().sum(dim=1)
        for rows, a in pieces(queries, centre=centre, size=_QUERIES):
            of_a = a.square().sum(dim=1, keepdim=True)
            yield rows, columns, torch.addmm(of_b, a, b.T, alpha=-2).add_(of_a).clamp_(min=0)


def _diagonal(block: Float64[Tensor, "rows columns"], rows: slice, columns: slice) -> Tensor:
    """The entries of a block whose row and column are the same image; maybe none."""
    start, stop = max(rows.start, columns.start), min(rows.stop, columns.stop)
    if start >= stop:
        return block[:0, 0]
    return block[start - rows.start : stop - rows.start, start - columns.start :].diagonal()


def _ranked(
    queries: Float[np.ndarray, "n d"],
    among: Float[np.ndarray, "m d"],
    candidates: Int64[np.ndarray, "n c"],
    k: int,
) -> tuple[Float64[np.ndarray, "n k"], Int64[np.ndarray, "n k"]]:
    """The best k of a few candidates in ascending order of index, by direct differences."""
    distances = np.empty(candidates.shape)
    for rows, a in pieces(queries, size=_QUERIES):
        for column, chosen in enumerate(candidates[rows].T):
            apart = a.numpy() - among[chosen]
            distances[rows, column] = np.sqrt(np.einsum("nd,nd->n", apart, apart))
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distances, order, 1), np.take_along_axis(candidates, order, 1)
