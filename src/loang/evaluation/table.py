"""The measures of one set of images against the reference, in one feature space."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from loang.metrics.estimate import Estimate
from loang.metrics.frechet import frechet_distance, frechet_infinity
from loang.metrics.kid import kernel_distance
from loang.metrics.precision_recall import precision_recall
from loang.metrics.two_sample import two_sample_test
from loang.metrics.wasserstein import sliced_wasserstein

NEIGHBOURS = 5
Vectors = Float[np.ndarray, "n d"]


@dataclass(frozen=True)
class Measure:
    """What one row of the table is.

    Args:
        name: its key in report.json.
        title: what a person reads.
        better: in which direction samples get better.
        least: images without which it means nothing; it is then left out.
        enough: images, as a function of the dimension, below which a note says that they are few.
    """

    name: str
    title: str
    better: Literal["lower", "higher"]
    least: int
    enough: Callable[[int], int]

    def cell(self, estimate: Estimate | None, count: int, dimension: int) -> "Cell":
        """What was measured on so many images, or None; with what to know of it."""
        if estimate is None:
            return Cell(None, f"needs {self.least} images, not {count}")
        enough = self.enough(dimension)
        few = f"of few images: {count:,}, better {enough:,}" if count < enough else None
        return Cell(estimate, few)


@dataclass(frozen=True)
class Cell:
    """A measure of one column: a number, or why there is none; and what to know of it."""

    estimate: Estimate | None
    note: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        if self.estimate is None:
            return {"value": None, "note": self.note}
        interval = self.estimate.interval
        return {
            "value": self.estimate.value,
            "error": self.estimate.error,
            "interval_95": None if interval is None else list(interval),
            **({"note": self.note} if self.note else {}),
        }


@dataclass(frozen=True)
class Column:
    """All measures of one set of images.

    Args:
        count: how many images.
        cells: by the measure's name.
    """

    count: int
    cells: Mapping[str, Cell]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"images": self.count, **{name: c.to_dict() for name, c in self.cells.items()}}


MEASURES = (
    Measure("frechet", "Fréchet distance", "lower", 2, lambda d: 10 * d),
    Measure("frechet_infinity", "Fréchet distance, n → ∞", "lower", 50, lambda d: 2 * d),
    Measure("kid", "kernel distance (KID)", "lower", 10, lambda d: 100),
    Measure("precision", "precision", "higher", 2 * NEIGHBOURS, lambda d: 500),
    Measure("recall", "recall", "higher", 2 * NEIGHBOURS, lambda d: 500),
    Measure("density", "density", "higher", 2 * NEIGHBOURS, lambda d: 500),
    Measure("coverage", "coverage", "higher", 2 * NEIGHBOURS, lambda d: 500),
    Measure("sliced_wasserstein", "sliced Wasserstein distance", "lower", 20, lambda d: 200),
    Measure("two_sample", "told apart by a classifier", "lower", 40, lambda d: 200),
)
BY_NAME = {measure.name: measure for measure in MEASURES}


def column(samples: Vectors, reference: Float[np.ndarray, "m d"], seed: int) -> Column:
    """Every measure that so many images allow.

    Args:
        samples: feature vectors of what is measured.
        reference: those of the real images.
        seed: of the directions, subsets and classifiers that some measures draw.
    """
    count = min(len(samples), len(reference))
    wanted = {measure.name for measure in MEASURES if count >= measure.least}
    found = _estimates(samples, reference, seed, wanted)
    cells = {m.name: m.cell(found.get(m.name), count, samples.shape[1]) for m in MEASURES}
    return Column(len(samples), cells)


def _estimates(
    samples: Vectors, reference: Float[np.ndarray, "m d"], seed: int, wanted: set[str]
) -> dict[str, Estimate]:
    found: dict[str, Estimate] = {}
    if "frechet" in wanted:
        found["frechet"] = frechet_distance(samples, reference)
    if "frechet_infinity" in wanted:
        found["frechet_infinity"] = frechet_infinity(samples, reference, seed=seed)
    if "kid" in wanted:
        found["kid"] = kernel_distance(samples, reference)
    if "precision" in wanted:
        manifolds = precision_recall(samples, reference, k=NEIGHBOURS)
        found |= {
            "precision": manifolds.precision,
            "recall": manifolds.recall,
            "density": manifolds.density,
            "coverage": manifolds.coverage,
        }
    if "sliced_wasserstein" in wanted:
        found["sliced_wasserstein"] = sliced_wasserstein(samples, reference, seed=seed)
    if "two_sample" in wanted:
        found["two_sample"] = two_sample_test(samples, reference, seed=seed).accuracy
    return found
