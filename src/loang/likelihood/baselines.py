"""What no model is needed for, so that bits per value can be judged."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Int64, Shaped

from loang.data.images import Images
from loang.data.scaling import to_model
from loang.gaussian import discretized_log_likelihood

COUNTED = 256  # levels, at the most, that are counted pixel by pixel
COUNTS = 2**26  # levels of all pixels, at the most: 256 MiB of counts
MOST = 10_000  # training images
VALUES = 2**20  # pixels at once: 8 MiB in double precision, a dozen times


def baselines(
    training: Images, real: Images, asked: Int64[np.ndarray, " n"], levels: int
) -> dict[str, float]:
    """Bits per value of real images by what knows each pixel alone, and by what knows nothing.

    - "uniform": every level is as likely as any other.
    - "pixel histogram": how often each pixel had each level in training images, each counted once
      more than it was seen; of 8 bits and fewer, and where the counts fit (`COUNTS`).
    - "pixel Gaussian": mean and variance of each pixel, in bins.

    Images are read in pieces, so that memory does not grow with their number.

    Args:
        training: of the range that the levels fill.
        real: the images, of which
        asked: those are looked at that the model is asked about.
        levels: as of `bound`.
    """
    found = {"uniform": math.log2(levels)}
    count = min(MOST, len(training))
    rows = np.unique(np.linspace(0, len(training) - 1, count).astype(np.int64))
    # The levels of all pixels must be few enough to be counted one by one.
    if levels <= COUNTED and math.prod(real.spec.shape) * levels <= COUNTS:
        found["pixel histogram"] = _histogram(training, rows, real, asked, levels)
    found["pixel Gaussian"] = _gaussian(training, rows, real, asked, levels)
    return found


def _pieces(images: Images, rows: Int64[np.ndarray, " m"]) -> Iterator[Shaped[np.ndarray, "..."]]:
    size = max(1, VALUES // math.prod(images.spec.shape))
    for start in range(0, len(rows), size):
        yield images[rows[start : start + size]]


def _histogram(
    training: Images,
    rows: Int64[np.ndarray, " m"],
    real: Images,
    asked: Int64[np.ndarray, " n"],
    levels: int,
) -> float:
    low = int(training.spec.low)
    size = math.prod(training.spec.shape)
    first = np.arange(size) * levels

    def places(pixels: Shaped[np.ndarray, "k h w c"]) -> Int64[np.ndarray, "k d"]:
        flat = pixels.reshape(len(pixels), size).astype(np.int64)
        return (flat - low).clip(0, levels - 1) + first

    counts = np.ones(size * levels, np.int32)
    for pixels in _pieces(training, rows):
        for image in places(pixels):  # no place twice in an image
            counts[image] += 1
    bits = np.log2(len(rows) + levels)
    seen = sum(float(np.log2(counts[places(x)]).sum()) for x in _pieces(real, asked))
    return float(bits - seen / (len(asked) * size))


def _gaussian(
    training: Images,
    rows: Int64[np.ndarray, " m"],
    real: Images,
    asked: Int64[np.ndarray, " n"],
    levels: int,
) -> float:
    spec = training.spec
    mean, squared = torch.zeros(2, *spec.shape, dtype=torch.float64)
    for pixels in _pieces(training, rows):
        mean += to_model(pixels, spec).double().sum(0) / len(rows)
    for pixels in _pieces(training, rows):  # again: a difference of sums would lose digits
        squared += (to_model(pixels, spec).double() - mean).square_().sum(0)
    # As if one image more had been seen that was uniform: a pixel that never varied may yet.
    log_var = ((squared + 1 / 3) / (len(rows) + 1)).log()
    nats = 0.0
    for pixels in _pieces(real, asked):
        x = to_model(pixels, spec).double()
        nats += float(discretized_log_likelihood(x, mean.expand_as(x), log_var, levels).sum())
    return -nats / (len(asked) * mean.numel() * math.log(2))
