"""What was found of a model's likelihood: bits per value, and what they are made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float64

from loang.metrics.estimate import Estimate


@dataclass(frozen=True)
class Score:
    """Bits per value by one method.

    Args:
        bits: the mean over the images; its error is that of the images, of the times that were
            looked at and of all noise together.
        shares: what it is the sum of, bits per value each.
        images: bits per value of each image.
        evaluations: of the network, an image.
        way: which variance, or which last step, it is the bound of; empty for the flow.
    """

    bits: Estimate
    shares: Mapping[str, float]
    images: Float64[np.ndarray, " n"] = field(repr=False)
    evaluations: int
    way: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            **plain(self.bits),
            "images": len(self.images),
            "shares": dict(self.shares),
            "evaluations_an_image": self.evaluations,
            **({"way": self.way} if self.way else {}),
        }


@dataclass(frozen=True)
class Likelihood:
    """A model's likelihood.

    Args:
        bound: the variational bound; None where images are real numbers, which no bin holds.
        flow: the probability flow's: of whole numbers a bound as well, of real numbers a density;
            None where it was not asked for.
        ways: the bound by every way of sampling that it is valid for.
        gap: bound less flow, on the images that both were measured on.
        baselines: bits per value of what knows no more than it says.
        about: images, levels, labels, schedule, effort, seed: how it was measured.
    """

    bound: Score | None
    flow: Score | None
    ways: Mapping[str, Estimate]
    gap: Estimate | None
    baselines: Mapping[str, float]
    about: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "unit": "bits per value",
            "bound": None if self.bound is None else self.bound.to_dict(),
            "flow": None if self.flow is None else self.flow.to_dict(),
            "bound_by_way": {way: plain(bits) for way, bits in self.ways.items()},
            "bound_less_flow": None if self.gap is None else plain(self.gap),
            "baselines": dict(self.baselines),
            "about": dict(self.about),
        }


def estimated(images: Float64[np.ndarray, " n"]) -> Estimate:
    """The mean of independent images, with its error."""
    count = len(images)
    error = float(np.std(images, ddof=1)) / count**0.5 if count > 1 else None
    return Estimate(float(images.mean()), error)


def plain(estimate: Estimate) -> dict[str, Any]:
    """Plain values for JSON."""
    interval = estimate.interval
    return {
        "value": estimate.value,
        "error": estimate.error,
        "interval_95": None if interval is None else list(interval),
    }
