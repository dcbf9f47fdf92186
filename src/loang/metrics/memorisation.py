"""Did the model memorise? The share of samples that are copies of training images."""

import hashlib
from collections.abc import Callable, Sized
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

from loang.metrics.alignment import Stored, nearest_aligned, pieces
from loang.metrics.estimate import Estimate
from loang.metrics.neighbours import nearest

CALIBRATING = 20
"""Held-out images from which on the calibration is worth its name."""
RATE = 0.01
"""Of the held-out images, the share that may be flagged."""
OTHERS = 10
"""Training images, after the nearest, whose median distance is the yardstick."""
_NEGLIGIBLE = 1e-3
_DRAWS = 20_000


@dataclass(frozen=True)
class Memorisation:
    """Which samples are copies of training images, and how many beyond what chance explains.

    The statistic of an image is its distance from the nearest training image over the median
    distance of the next 10. It is near 1 for a new image, and for a blurred one too, which is
    about as near to many; near 0 for a copy. Held-out images cannot be copies, so their smallest
    statistics say what counts as suspicious.

    Args:
        share: of copies among the samples, 0..1: the share of flags, less what held-out images
            would show. Copies that the space does not see as near are not in it.
        interval: where the share of copies lies in 95 of 100 cases, within 0..1; both numbers of
            images are finite, and both are in it.
        flagged: how many samples have a statistic at or below the threshold.
        held_out_rate: how often an unseen image is flagged, 0..1.
        threshold: of the statistic.
        calibrated: whether there were held-out images enough (`CALIBRATING`) to know that rate.
        order: the samples' indices, the most suspicious first.
        neighbours: of each sample, the index of its nearest training image.
        distances: of each sample, the distance from that image.
        statistic: of each sample.
    """

    share: Estimate
    interval: tuple[float, float]
    flagged: int
    held_out_rate: float
    threshold: float
    calibrated: bool
    order: Int64[np.ndarray, " n"]
    neighbours: Int64[np.ndarray, " n"]
    distances: Float64[np.ndarray, " n"]
    statistic: Float64[np.ndarray, " n"]

    @property
    def copies(self) -> Bool[np.ndarray, " n"]:
        """Which samples are flagged."""
        return self.statistic <= self.threshold


def memorisation(
    samples: Float[np.ndarray, "n d"],
    train: Float[np.ndarray, "m d"],
    held_out: Float[np.ndarray, "k d"],
) -> Memorisation:
    """By Euclidean distance in a feature space, or of pixels as they are.

    The ratio of distances is that of Carlini et al. 2023, "Extracting training data from
    diffusion models", eq. 3; the comparison with held-out images that of Meehan et al. 2020.
    Equal training images count as one, so that a copy of them stands out too.

    Args:
        samples: features of generated images.
        train: features of the images that the model was trained on.
        held_out: features of images of the same origin that it was not trained on.

    Raises:
        ValueError: no samples or held-out images, fewer than two different training images,
            different numbers of features, or features that are not finite.
    """
    kept = _different(train, np.arange(len(train)))
    among = train if len(kept) == len(train) else train[kept]
    return _judged(lambda images, k: nearest(images, among, k), samples, kept, held_out)


def image_memorisation(
    samples: Stored,
    train: Stored,
    held_out: Stored,
    *,
    searched: Int64[np.ndarray, " s"] | None = None,
) -> Memorisation:
    """By the best correlation of pixels under small shifts and mirroring (`nearest_aligned`).

    It sees copies that are shifted, mirrored, noisy, compressed, a little blurred, darker or of
    less contrast, which no plain distance of pixels or features does. Images may lie in a file:
    they are read in pieces, and twice for each of the other two sets.

    Args:
        samples: generated images.
        train: the images that the model was trained on.
        held_out: images of the same origin that it was not trained on.
        searched: which of `train` are looked at; None for all. Neighbours are places in it.

    Raises:
        ValueError: no samples or held-out images, fewer than two different training images, or
            pixels that are not finite.
    """
    searched = np.arange(len(train)) if searched is None else searched
    kept = _different(train, searched)
    rows = searched[kept]

    def find(images: Stored, k: int) -> Near:
        return nearest_aligned(images, train, k, rows=rows)

    return _judged(find, samples, kept, held_out)


Near = tuple[Float64[np.ndarray, "_ k"], Int64[np.ndarray, "_ k"]]
"""Of each image, the distances of its nearest training images, ascending, and their indices."""


def judge(samples: Near, held_out: Near) -> Memorisation:
    """The verdict on neighbours that were found already, two or more of each image.

    Equal training images must be among them no more than once.
    """
    distances, indices = samples
    # So small a distance is rounding: features of equal images can differ in their last digits.
    negligible = _NEGLIGIBLE * float(np.median(held_out[0][:, 1:]))
    statistic = _ratio(distances, negligible)
    of_held_out = np.sort(_ratio(held_out[0], negligible))
    # One outlier of a few held-out images may be a near copy of a training image: the second
    # smallest is the strictest threshold.
    rank = min(max(2, round(RATE * len(of_held_out))), len(of_held_out))
    threshold = of_held_out[rank - 1]
    rank = int(np.searchsorted(of_held_out, threshold, side="right"))
    flagged = int((statistic <= threshold).sum())
    share, interval = _excess(flagged, len(statistic), rank, len(of_held_out))
    return Memorisation(
        share=share,
        interval=interval,
        flagged=flagged,
        held_out_rate=rank / (len(of_held_out) + 1),
        threshold=float(threshold),
        calibrated=len(of_held_out) >= CALIBRATING,
        order=np.lexsort((distances[:, 0], statistic)),
        neighbours=indices[:, 0],
        distances=distances[:, 0],
        statistic=statistic,
    )


def _ratio(distances: Float64[np.ndarray, "n k"], negligible: float) -> Float64[np.ndarray, " n"]:
    """Distance from the nearest over the median of the next; 0 for what cannot be told apart."""
    first, others = distances[:, 0], np.median(distances[:, 1:], axis=1)
    return np.where(first <= negligible, 0.0, first / np.maximum(others, np.finfo(float).tiny))


def _excess(
    flagged: int, count: int, rank: int, held_out: int
) -> tuple[Estimate, tuple[float, float]]:
    """The share c of copies in flags = c + (1 - c) · rate, with its interval.

    The chance that an unseen image lies at or below the `rank`-th of `held_out` others is, whatever
    their distribution, Beta(rank, held_out + 1 - rank). That of the samples' flags is Jeffreys'
    posterior. What follows for c is read from draws of both.
    """
    generator = np.random.Generator(np.random.Philox(0))
    rate = generator.beta(rank, held_out + 1 - rank, _DRAWS)
    flags = generator.beta(flagged + 0.5, count - flagged + 0.5, _DRAWS)
    drawn = (flags - rate) / (1 - rate)
    low = np.clip(np.quantile(drawn, 0.025), 0, 1)
    # Samples that are no copies may be flagged less often than held-out images, or never: all that
    # is known is that the copies are no more than the flags.
    high = 1.0 if flagged == count else np.quantile(flags, 0.975)
    expected = rank / (held_out + 1)
    value = float(np.clip((flagged / count - expected) / (1 - expected), 0, 1))
    return Estimate(value, float(drawn.std())), (float(low), float(high))


Some = TypeVar("Some", bound=Sized)


def _judged(
    find: Callable[[Some, int], Near],
    samples: Some,
    kept: Int64[np.ndarray, " m"],
    held_out: Some,
) -> Memorisation:
    """By the neighbours that are found among training images, all different: those `kept`."""
    if min(len(samples), len(held_out)) < 1:
        raise ValueError("no samples, or no held-out images")
    if len(kept) < 2:
        raise ValueError("fewer than two different training images")
    k = min(OTHERS + 1, len(kept))

    def near(images: Some) -> Near:
        distances, indices = find(images, k)
        return distances, kept[indices]

    return judge(near(samples), near(held_out))


def _different(images: Stored, rows: Int64[np.ndarray, " m"]) -> Int64[np.ndarray, " k"]:
    """The first of each set of equal images, by its place in `rows`."""
    first: dict[bytes, int] = {}
    for which, some in pieces(images, rows):
        for place, row in enumerate(some, start=which.start):
            first.setdefault(hashlib.blake2b(row.tobytes(), digest_size=16).digest(), place)
    return np.fromiter(first.values(), dtype=np.int64)
