"""The order in which training reads its images: a function of (seed, epoch) alone.

"Where was I" is one integer, the number of images read so far.
"""

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Int64

from loang import random


@lru_cache(maxsize=2)
def permutation(count: int, seed: int, epoch: int) -> Int64[np.ndarray, " count"]:
    """The indices 0..count-1 in this epoch's order: a sort of random 62-bit keys."""
    indices = torch.arange(count)
    words = random.words(2, seed=seed, purpose="order", step=epoch, indices=indices)
    keys = (words[:, 0] << 30) ^ words[:, 1]
    return torch.argsort(keys, stable=True).numpy()


def batch(position: int, size: int, count: int, seed: int) -> Int64[np.ndarray, " size"]:
    """Which images stand at position, position + 1, ... in the endless stream of epochs.

    An epoch's end falls anywhere within a batch; no image is dropped.

    Args:
        position: how many images were read before.
        size: how many to read.
        count: how many there are; 1 or more.
        seed: of the run.
    """
    parts = []
    while size > 0:
        epoch, offset = divmod(position, count)
        part = permutation(count, seed, epoch)[offset : offset + size]
        parts.append(part)
        position += len(part)
        size -= len(part)
    return np.concatenate(parts)
