"""How much a student of few steps is to make of labels, measured when it has learnt.

What it learns from a guided teacher comes out too strong or too weak, by how much no setting says
beforehand: of one student the codes of labels at 0.9 of what sets them apart from that of "no
label" brought the samples from 0.082 of the data to 0.058 (docs/distill.md). Unlike guidance on top
of a student that takes no second evaluation: the model file has the codes so.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from loang.config import Settings
from loang.model import Model
from loang.training.choice import Score
from loang.training.monitor import Monitor
from loang.training.scales import Scales, descend, measure, scored, worth

LADDER = (0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0, 1.05, 1.1, 1.15, 1.2)
"""Factors that are tried."""
CODES = "label.weight"
"""The name of the labels' codes among a network's weights, the last of them that of "no label"."""


@dataclass(frozen=True)
class LabelStrengths(Scales):
    """Of what sets each label's code apart from that of "no label"."""

    name, title, weighs = "label_strength", "Strength of the labels", True

    def weights(self, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """With the best factor; what is given stays as it is."""
        return weighed(weights, self.best)

    def facts(self) -> dict[str, Any]:
        """For the model file."""
        return {"label_strength_chosen_by": self.measure, "label_strength": self.best}


def weighed(weights: Mapping[str, Tensor], factor: float) -> Mapping[str, Tensor]:
    """A network's weights with codes by a factor; what is given stays as it is."""
    return weights if factor == 1 else {**weights, CODES: by(weights[CODES], factor)}


def of_model(model: Model) -> float:
    """The factor that a model's codes were kept by; 1 where nothing was measured."""
    return float(model.facts.get("label_strength", 1))


def by(codes: Float[Tensor, "labels d"], factor: float) -> Float[Tensor, "labels d"]:
    """What sets each code apart from that of "no label", the last, times a factor."""
    none = codes[-1:]
    return none + factor * (codes - none)


def wanted(model: Model, images: int) -> bool:
    """Whether a run's model is to be measured so, after so many images of training."""
    network, settings = model.denoiser.network, model.settings
    coded = isinstance(getattr(network, "label", None), nn.Embedding)
    able = settings.distilled and model.guides_itself and coded
    return able and worth(model, images, settings.distillation.label_samples or 0)


def kept(model: Model, settings: Settings) -> Scales | None:
    """What a model file keeps of an earlier measuring, if one is still wanted."""
    by, best = (model.facts.get(f"label_strength{end}") for end in ("_chosen_by", ""))
    if by is None or best is None or not settings.distillation.label_samples:
        return None
    return LabelStrengths(best, 1.0, (), by)


def choose(model: Model, monitor: Monitor) -> Scales:
    """Draw a student's walk by several factors, and measure each.

    Args:
        model: as `wanted`; it is as it was in the end.
        monitor: measures the samples, always of the same noise.

    Returns:
        The best of those that were tried.
    """
    count = model.settings.distillation.label_samples or 0
    codes = model.denoiser.network.get_parameter(CODES)
    learnt = codes.data

    def score(factor: float) -> Score:
        codes.data = by(learnt, factor)
        return scored(model, monitor, model.settings.sampling, count)

    try:
        scores = descend(score, 1.0, LADDER)
    finally:
        codes.data = learnt
    return LabelStrengths.least(scores, 1.0, measure(monitor, count))
