"""Feature arrays, a row an image: checked, shuffled, and handed out in pieces of float64."""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from loang import random

PIECE = 4096
"""Rows a piece: 64 MiB of 2048 numbers each."""


def check(*arrays: Float[np.ndarray, "_ _"], least: int = 2) -> None:
    """Refuse what no measure can be computed from.

    Raises:
        ValueError: fewer rows than `least`, different numbers of columns, or a number that is
            infinite or not a number.
    """
    for features in arrays:
        if len(features) < least:
            raise ValueError(f"{least} images or more are needed, not {len(features)}")
        if features.shape[1] != arrays[0].shape[1]:
            raise ValueError(f"{features.shape[1]} features against {arrays[0].shape[1]}")
        if not np.isfinite(features).all():
            raise ValueError("features that are infinite or not a number")


def pieces(
    features: Float[np.ndarray, "n d"],
    *,
    centre: Float[np.ndarray, " d"] | None = None,
    size: int = PIECE,
) -> Iterator[tuple[slice, Float64[Tensor, "_ d"]]]:
    """Some rows at a time, copied to float64, less the centre: (which rows, the rows)."""
    for start in range(0, len(features), size):
        rows = features[start : start + size].astype(np.float64)
        if centre is not None:
            rows -= centre
        yield slice(start, start + len(rows)), torch.from_numpy(rows)


def shuffled(count: int, *, seed: int, purpose: str) -> Int64[np.ndarray, " count"]:
    """The indices 0..count-1 in a random order: a sort of random 62-bit keys."""
    words = random.words(2, seed=seed, purpose=purpose, step=0, indices=torch.arange(count))
    return torch.argsort((words[:, 0] << 30) ^ words[:, 1], stable=True).numpy()
