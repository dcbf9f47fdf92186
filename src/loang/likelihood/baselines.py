"""What no model is needed for, so that bits per value can be judged."""

import math

import numpy as np
import torch
from jaxtyping import Shaped

from loang.data.images import Images
from loang.data.scaling import to_model
from loang.gaussian import discretized_log_likelihood

COUNTED = 256  # levels, at the most, that are counted pixel by pixel
MOST = 10_000  # training images
ROWS = 1024


def baselines(
    training: Images, real: Shaped[np.ndarray, "n h w c"], levels: int
) -> dict[str, float]:
    """Bits per value of real images by what knows each pixel alone, and by what knows nothing.

    - "uniform": every level is as likely as any other.
    - "pixel histogram": how often each pixel had each level in training images, each counted once
      more than it was seen; of 8 bits and fewer.
    - "pixel Gaussian": mean and variance of each pixel, in bins.

    Args:
        training: of the range that the levels fill.
        real: the images that the model is asked about.
        levels: as of `bound`.
    """
    found = {"uniform": math.log2(levels)}
    rows = np.unique(np.linspace(0, len(training) - 1, min(MOST, len(training))).astype(np.int64))
    if levels <= COUNTED:
        found["pixel histogram"] = _histogram(training, rows, real, levels)
    found["pixel Gaussian"] = _gaussian(training, rows, real, levels)
    return found


def _histogram(
    training: Images,
    rows: Shaped[np.ndarray, " m"],
    real: Shaped[np.ndarray, "n h w c"],
    levels: int,
) -> float:
    low = int(training.spec.low)

    def numbered(pixels: Shaped[np.ndarray, "k h w c"]) -> Shaped[np.ndarray, "k d"]:
        flat = pixels.reshape(len(pixels), -1).astype(np.int64)
        return (flat - low).clip(0, levels - 1)

    size = int(np.prod(real.shape[1:]))
    counts = np.ones(size * levels)
    first = np.arange(size) * levels
    for start in range(0, len(rows), ROWS):
        seen = numbered(training[rows[start : start + ROWS]]) + first
        counts += np.bincount(seen.reshape(-1), minlength=len(counts))
    bits = np.log2(len(rows) + levels) - np.log2(counts)
    return float(bits[numbered(real) + first].mean())


def _gaussian(
    training: Images,
    rows: Shaped[np.ndarray, " m"],
    real: Shaped[np.ndarray, "n h w c"],
    levels: int,
) -> float:
    spec = training.spec
    parts = [
        to_model(training[rows[start : start + ROWS]], spec).double()
        for start in range(0, len(rows), ROWS)
    ]
    mean = sum((part.sum(0) for part in parts), torch.zeros(spec.shape).double()) / len(rows)
    squared = sum(((part - mean).square().sum(0) for part in parts), torch.zeros_like(mean))
    # As if one image more had been seen that was uniform: a pixel that never varied may yet.
    log_var = ((squared + 1 / 3) / (len(rows) + 1)).log()
    x = to_model(real, spec).double()
    nats = discretized_log_likelihood(x, mean.expand_as(x), log_var, levels)
    return -float(nats.mean()) / math.log(2)
