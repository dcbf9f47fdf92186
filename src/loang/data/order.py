"""The order in which training reads its images: a function of (seed, epoch) alone.

"Where was I" is one integer, the number of images read so far.

Each epoch's order is one permutation of all images, computed only at the places that a batch
reads. Nothing is kept between batches, and a batch costs the same among a thousand images and
among a billion. A shuffle of blocks, or of a window that moves over the images, would be as
cheap, but images that are sorted by class would then stay together; here each image may come at
any place.

The permutation is a format-preserving cipher on 0..count-1: a Feistel network (Luby and Rackoff
1988) over the two digits of a place in a mixed radix, and a walk along its cycle out of what lies
beyond count (Black and Rogaway 2002, "Ciphers with arbitrary finite domains", methods 2 and 3).
"""

import math
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Int64, UInt64

from loang import random

ROUNDS = 8
"""Of tests/data/test_order.py four and five fail some, and six pass all; the rest is margin."""
SORTED = 2**12
"""Up to so many images random keys are sorted: all count! orders are then as likely, where the
two short digits of a Feistel network leave it few functions to choose from; and it is as fast."""


def permutation(count: int, seed: int, epoch: int) -> Int64[np.ndarray, " count"]:
    """The indices 0..count-1 in this epoch's order, all of them; `batch` gives a part for less."""
    return _at(np.arange(count), count, seed, epoch)


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
        places = np.arange(offset, min(offset + size, count))
        parts.append(_at(places, count, seed, epoch))
        position += len(places)
        size -= len(places)
    return np.concatenate(parts)


def _at(
    places: Int64[np.ndarray, " n"], count: int, seed: int, epoch: int
) -> Int64[np.ndarray, " n"]:
    """What stands at these places, each 0..count-1, of an epoch's order."""
    if count <= SORTED:
        return _sorted(count, seed, epoch)[places]
    keys = _keys(count, seed, epoch)
    found = _feistel(places.astype(np.uint64), count, keys)
    # The network permutes a few numbers more than there are; its cycle leads back from those.
    while len(beyond := np.flatnonzero(found >= count)):
        found[beyond] = _feistel(found[beyond], count, keys)
    return found.astype(np.int64)


def _feistel(
    x: UInt64[np.ndarray, " n"], count: int, keys: UInt64[np.ndarray, " rounds"]
) -> UInt64[np.ndarray, " n"]:
    """A permutation of 0..a*b-1, with a = ceil(sqrt(count)) and b = ceil(count / a).

    x = left * b + right; in turn each digit is moved, around its circle, by a hash of the other.
    """
    a = math.isqrt(count - 1) + 1
    b = -(-count // a)
    left, right = np.divmod(x, np.uint64(b))
    for number, key in enumerate(keys):
        if number % 2:
            right = (right + _hash(left, key) % np.uint64(b)) % np.uint64(b)
        else:
            left = (left + _hash(right, key) % np.uint64(a)) % np.uint64(a)
    return left * np.uint64(b) + right


def _hash(x: UInt64[np.ndarray, " n"], key: np.uint64) -> UInt64[np.ndarray, " n"]:
    """The x-th number that SplitMix64 draws when it starts at `key` (Steele et al. 2014)."""
    z = x * np.uint64(0x9E3779B97F4A7C15) + key
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@lru_cache(maxsize=4)
def _keys(count: int, seed: int, epoch: int) -> UInt64[np.ndarray, " rounds"]:
    """One a round; another count has others."""
    words = random.words(
        2 * ROUNDS, seed=seed, purpose="order", step=epoch, indices=torch.tensor([count])
    )
    high, low = words[0].numpy().astype(np.uint64).reshape(2, ROUNDS)
    return (high << np.uint64(32)) | low


@lru_cache(maxsize=4)
def _sorted(count: int, seed: int, epoch: int) -> Int64[np.ndarray, " count"]:
    """All of a small order: a sort of random 62-bit keys."""
    words = random.words(2, seed=seed, purpose="order", step=epoch, indices=torch.arange(count))
    keys = (words[:, 0] << 30) ^ words[:, 1]
    return torch.argsort(keys, stable=True).numpy()
