"""Precision and recall of samples, density and coverage: by balls around the images."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from loang.metrics.estimate import Estimate, share
from loang.metrics.neighbours import nearest, squared_distances
from loang.metrics.rows import check


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

    A point at a ball's very radius lies outside. Errors are those of a share or a mean over the
    images that are judged (samples for precision and density, reference images for recall and
    coverage), with the balls as they are: that other images would have made other balls is not in
    them. The spread over new draws of both sets was 0.9 to 1.5 times the error (Gaussian features,
    500 samples, 700 reference images). All four depend on k and on both numbers of images: compare
    only what has the same.

    Args:
        samples: features of generated images; more than k.
        reference: features of real images; more than k.
        k: which neighbour's distance is the radius.

    Raises:
        ValueError: k images or fewer, different numbers of features, or features that are not
            finite.
    """
    check(samples, reference, least=k + 1)
    of_samples, of_reference = _squared_radii(samples, k), _squared_radii(reference, k)
    balls = torch.zeros(len(samples), dtype=torch.int64)
    recalled = torch.zeros(len(reference), dtype=torch.bool)
    covered = torch.zeros(len(reference), dtype=torch.bool)
    for rows, columns, squared in squared_distances(samples, reference):
        in_reference = squared < of_reference[columns]
        balls[rows] += in_reference.sum(dim=1)
        covered[columns] |= in_reference.any(dim=0)
        recalled[columns] |= (squared < of_samples[rows, None]).any(dim=0)
    return PrecisionRecall(
        precision=_share(balls > 0),
        recall=_share(recalled),
        density=_mean_over_k(balls.double(), k),
        coverage=_share(covered),
    )


def _mean_over_k(balls: Float64[Tensor, " n"], k: int) -> Estimate:
    """The counts are summed before k divides them: so an exact 1 is one."""
    return Estimate(float(balls.mean()) / k, float(balls.std()) / (k * math.sqrt(len(balls))))


def _squared_radii(features: Float[np.ndarray, "n d"], k: int) -> Float64[Tensor, " n"]:
    """Of the balls, a shade smaller, so that rounding leaves the k-th neighbour itself outside."""
    squared = np.square(nearest(features, features, k, skip_self=True)[0][:, -1])
    spread = features.var(axis=0, dtype=np.float64).sum()
    return torch.from_numpy(squared * (1 - 1e-9) - 1e-12 * spread)


def _share(counted: Tensor) -> Estimate:
    return share(int(counted.sum()), len(counted))
