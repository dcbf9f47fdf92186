"""A number that was measured on a finite sample, with its standard error."""

import math
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

NORMAL_95 = 1.959964
"""A standard normal number lies within this of 0 in 95 of 100 cases."""


@dataclass(frozen=True)
class Influence:
    """How each image moved an estimate, to first order: the estimate's influence function.

    The variance of the estimate is var(samples) / n + var(reference) / m. Two estimates against
    the same reference images share the second part, which is why their difference can be known
    better than either (`difference`).

    Args:
        samples: one number a sample, of mean about 0.
        reference: one number a reference image, of mean about 0.
    """

    samples: Float[np.ndarray, " n"]
    reference: Float[np.ndarray, " m"]

    @property
    def error(self) -> float:
        """The standard error that follows."""
        return math.sqrt(_variance(self.samples) + _variance(self.reference))


@dataclass(frozen=True)
class Estimate:
    """A value, and how far chance alone may have moved it.

    Args:
        value: the estimate.
        error: its standard error; None where it is not known.
        influence: what the error was computed from, where it was computed so.
        within: the least and the most that the value can be, whatever was sampled.
    """

    value: float
    error: float | None = None
    influence: Influence | None = field(default=None, repr=False, compare=False)
    within: tuple[float, float] = field(default=(-math.inf, math.inf), repr=False)

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval, value ± 1.96 errors as far as it can be; None without an error."""
        if self.error is None:
            return None
        low, high = self.value - NORMAL_95 * self.error, self.value + NORMAL_95 * self.error
        return max(low, self.within[0]), min(high, self.within[1])


def share(hits: int, count: int) -> Estimate:
    """`hits / count`, with the error of two hits and two misses more: not 0 even at 0 or 1.

    Agresti and Coull 1998.
    """
    p = (hits + 2) / (count + 4)
    return Estimate(hits / count, math.sqrt(p * (1 - p) / (count + 4)), within=(0.0, 1.0))


def difference(first: Estimate, second: Estimate) -> Estimate:
    """`first - second`, for estimates of the same measure against the same reference images.

    Where both know their influences, the reference's share of chance, which both have in common,
    is counted once; else the errors add as those of independent numbers do, which is too large.
    """
    value = first.value - second.value
    a, b = first.influence, second.influence
    if a is not None and b is not None and len(a.reference) == len(b.reference):
        shared = _variance(a.reference - b.reference)
        return Estimate(value, math.sqrt(_variance(a.samples) + _variance(b.samples) + shared))
    if first.error is None or second.error is None:
        return Estimate(value)
    return Estimate(value, math.hypot(first.error, second.error))


def _variance(influence: Float[np.ndarray, " n"]) -> float:
    """Of the mean of independent contributions."""
    return float(np.var(influence, ddof=1)) / len(influence) if len(influence) > 1 else math.inf
