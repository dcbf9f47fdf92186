"""Precision and recall of samples, density and coverage: by balls around the images."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from loang.metrics.estimate import Estimate, share
from loang.metrics.halves import Halves
from loang.metrics.neighbours import nearest, squared_distances
from loang.metrics.rows import check

_OTHERS = 5
"""Neighbours that are looked up, times k: in 1 of 2,000 cases fewer than k of 25 are in a half."""


@dataclass(frozen=True)
class PrecisionRecall:
    """Are the samples like real images, and are all real images like some sample?

    A set's manifold is the union of balls, one around each of its images, that reach to that
    image's k-th neighbour in the set.

    Args:
        precision: the share of samples in the manifold of the reference images, 0..1.
        recall: the share of reference images in the manifold of the samples, 0..1.
        density: in how many reference images' balls a sample lies, over k: 1 on average where the
            distributions are equal, more where samples keep to what is common in the reference.
        coverage: the share of reference images with a sample in their ball, 0..1; where the
            distributions and numbers are equal, about 1 - 1 / 2**k on average.
    """

    precision: Estimate
    recall: Estimate
    density: Estimate
    coverage: Estimate


def precision_recall(
    samples: Float[np.ndarray, "n d"], reference: Float[np.ndarray, "m d"], *, k: int = 5
) -> PrecisionRecall:
    """Kynkäänniemi et al. 2019 (precision, recall) and Naeem et al. 2020 (density, coverage).

    A point at a ball's very radius lies outside. Errors of precision and density are those of a
    share or a mean over the samples, with the reference's balls as they are. Those of recall and
    coverage are of the share of reference images, and of the samples' chance too (`Halves`): the
    spread over new draws of both sets was 0.8 to 1.1 times recall's error, 0.8 to 1.4 times that
    of coverage, too small where samples are much fewer (features of Fashion-MNIST, 100 to 1,000
    samples, 2,000 and 8,000 reference images). All four depend on k and on both numbers of images:
    compare only what has the same.

    Args:
        samples: features of generated images; more than k.
        reference: features of real images; more than k.
        k: which neighbour's distance is the radius.

    Raises:
        ValueError: k images or fewer, different numbers of features, or features that are not
            finite.
    """
    check(samples, reference, least=k + 1)
    near = nearest(samples, samples, min(_OTHERS * k, len(samples) - 1), skip_self=True)
    of_samples = _squared_radii(near[0][:, k - 1], samples)
    of_reference = _squared_radii(
        nearest(reference, reference, k, skip_self=True)[0][:, -1], reference
    )
    recalling, covering = (Halves(len(samples), len(reference)) for _ in range(2))
    of_halves = _squared_radii(recalling.radii(*near, k), samples)
    balls = torch.zeros(len(samples), dtype=torch.int64)
    recalled = torch.zeros(len(reference), dtype=torch.bool)
    covered = torch.zeros(len(reference), dtype=torch.bool)
    for rows, columns, squared in squared_distances(samples, reference):
        in_reference = squared < of_reference[columns]
        balls[rows] += in_reference.sum(dim=1)
        covered[columns] |= in_reference.any(dim=0)
        recalled[columns] |= (squared < of_samples[rows, None]).any(dim=0)
        for halving, radii in enumerate(of_halves):
            recalling.add(halving, rows, columns, squared < radii[rows, None])
            covering.add(halving, rows, columns, in_reference)
    return PrecisionRecall(
        precision=_share(balls > 0),
        recall=_share(recalled, recalling.variance),
        density=_mean_over_k(balls.double(), k),
        coverage=_share(covered, covering.variance),
    )


def _mean_over_k(balls: Float64[Tensor, " n"], k: int) -> Estimate:
    """The counts are summed before k divides them: so an exact 1 is one."""
    return Estimate(float(balls.mean()) / k, float(balls.std()) / (k * math.sqrt(len(balls))))


def _squared_radii(
    distances: Float64[np.ndarray, "*shape"], features: Float[np.ndarray, "n d"]
) -> Float64[Tensor, "*shape"]:
    """Of the balls, a shade smaller, so that rounding leaves the k-th neighbour itself outside."""
    spread = features.var(axis=0, dtype=np.float64).sum()
    return torch.from_numpy(np.square(distances) * (1 - 1e-9) - 1e-12 * spread)


def _share(counted: Tensor, variance: float = 0.0) -> Estimate:
    """Of what was counted, with so much variance beside that of those who were counted."""
    found = share(int(counted.sum()), len(counted))
    return replace(found, error=math.hypot(found.error or 0.0, math.sqrt(variance)))
