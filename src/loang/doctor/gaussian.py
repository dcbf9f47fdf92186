"""The best that can be done with a Gaussian: what a network must know more than.

For data N(mean, Sigma) with eigenvalues lambda_i the best estimate of x_0, given
x_t = a x_0 + s eps, is linear (Wiener's filter), and its mean squared error a value is
mean_i lambda_i s^2 / (a^2 lambda_i + s^2).
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from loang.data.images import Images
from loang.data.scaling import to_model
from loang.metrics.rows import shuffled

MOST = 4000  # images that a fit is made of,
MOST_DIRECTIONS = 2000  # where images have more values than that: eigenvectors take n³ steps,
MOST_VALUES = 2**24  # and values of all of them: 128 MB in double precision
LEAST = 8
CHOOSING = 4  # one image of so many says how large the variances are


@dataclass(frozen=True)
class Gaussian:
    """A normal distribution of images in [-1, 1], (c, h, w) flattened to d values.

    Args:
        mean: the average image.
        directions: orthonormal, r of them, a row each.
        variances: along each of these.
        rest: the variance along every direction that is orthogonal to all of these.
        images: how many the fit is made of.
    """

    mean: Float64[Tensor, " d"]
    directions: Float64[Tensor, "r d"]
    variances: Float64[Tensor, " r"]
    rest: float
    images: int

    @property
    def variance(self) -> float:
        """The mean variance of a value."""
        size = len(self.mean)
        return (float(self.variances.sum()) + (size - len(self.variances)) * self.rest) / size

    def estimate(
        self, x_t: Float[Tensor, "n c h w"], signal: float, noise: float
    ) -> Float64[Tensor, "n c h w"]:
        """The best estimate of x_0 that knows the distribution and nothing else."""
        from_mean = x_t.double().flatten(1) - signal * self.mean
        along = from_mean @ self.directions.T
        gains = gain(self.variances, signal, noise)
        others = gain(torch.tensor(self.rest, dtype=torch.float64), signal, noise)
        flat = self.mean + others * from_mean + (along * (gains - others)) @ self.directions
        return flat.reshape(x_t.shape)

    def plain_estimate(
        self, x_t: Float[Tensor, "n c h w"], signal: float, noise: float
    ) -> Float64[Tensor, "n c h w"]:
        """The best estimate that knows the average image and the mean variance alone."""
        from_mean = x_t.double().flatten(1) - signal * self.mean
        one = gain(torch.tensor(self.variance, dtype=torch.float64), signal, noise)
        return (self.mean + one * from_mean).reshape(x_t.shape)

    def least_error(self, signal: float, noise: float) -> float:
        """The mean squared error a value of `estimate`, for data of this very distribution."""
        shares = _left(self.variances, signal, noise).sum()
        rest = _left(torch.tensor(self.rest, dtype=torch.float64), signal, noise)
        size = len(self.mean)
        return float(shares + (size - len(self.variances)) * rest) / size


def gain(variance: Float64[Tensor, "*r"], signal: float, noise: float) -> Float64[Tensor, "*r"]:
    """a λ / (a² λ + s²): the factor of x_t - a mean, 0 where there is neither λ nor noise."""
    return signal * variance / (signal**2 * variance + noise**2).clamp(min=1e-300)


def _left(variance: Float64[Tensor, "*r"], signal: float, noise: float) -> Float64[Tensor, "*r"]:
    return variance * noise**2 / (signal**2 * variance + noise**2).clamp(min=1e-300)


def fit(images: Images, seed: int = 0) -> Gaussian | None:
    """The distribution of some of the images; None for fewer than 8, or for huge ones.

    With fewer images than values their covariance is singular, and its eigenvalues are too far
    apart in any case. So three of four images say which directions there are, and the others say
    how large the variance is along each and along all the rest: no number has to be chosen, and
    no variance is zero (Lam 2016, "Nonparametric eigenvalue-regularized precision or covariance
    matrix estimator", with a single split).
    """
    size = int(np.prod(images.spec.shape))
    most = MOST if size <= MOST_DIRECTIONS else MOST_DIRECTIONS
    most = min(len(images), most, MOST_VALUES // size)
    if most < LEAST:
        return None
    rows = shuffled(len(images), seed=seed, purpose="doctor gaussian")[:most]
    return of_values(_values(images, rows))


def of_values(x: Float64[Tensor, "n d"]) -> Gaussian:
    """The distribution of these rows, at least 8 of them."""
    choosing = len(x) // CHOOSING
    given, held = x[choosing:], x[:choosing]
    mean = given.mean(0)
    given = given - mean
    # The covariance d x d or the products n x n, whichever is smaller, have the same eigenvectors.
    if len(given) > x.shape[1]:
        directions = torch.linalg.eigh(given.T @ given).eigenvectors.T
    else:
        values, vectors = torch.linalg.eigh(given @ given.T)
        kept = values > 1e-10 * values[-1].clamp(min=1e-300)
        directions = (vectors[:, kept] / values[kept].sqrt()).T @ given
    held = held - mean
    along = (held @ directions.T).square().mean(0)
    beside = x.shape[1] - len(directions)
    rest = float(held.square().sum(1).mean() - along.sum()) / beside if beside else 0.0
    return Gaussian(x.mean(0), directions, along, max(rest, 0.0), len(x))


def _values(images: Images, rows: Int64[np.ndarray, " n"]) -> Float64[Tensor, "n d"]:
    return to_model(images[rows], images.spec).flatten(1).double()
