"""How strongly labels are to guide a walk, measured when a run has learnt.

The best scale falls as a model learns: of one recipe it was 3 after 70,000 images and 1.5 after
700,000, where 3 was eight times as far from the data (docs/benchmarks.md). No preset can know it.
"""

from dataclasses import dataclass
from typing import Any

from loang.config import Settings
from loang.model import Model
from loang.training.choice import Score
from loang.training.monitor import Monitor
from loang.training.scales import Scales, descend, measure, scored, worth

LADDER = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0)
"""Scales that are tried, and the model's own among them."""


@dataclass(frozen=True)
class GuidanceScales(Scales):
    """Of classifier-free guidance."""

    name, title = "guidance", "Guidance"

    def settings(self, settings: Settings) -> Settings:
        """Those of a model, with the best scale."""
        sampling = settings.sampling.model_copy(update={"guidance": self.best})
        return settings.model_copy(update={"sampling": sampling})

    def facts(self) -> dict[str, Any]:
        """For the model file."""
        return {"guidance_chosen_by": self.measure, "guidance_set": self.own}


def wanted(model: Model, images: int) -> bool:
    """Whether the scale of a run's model is to be measured, after so many images of training."""
    settings = model.settings
    guidable = model.guides_itself and not settings.distilled
    return guidable and worth(model, images, settings.evaluation.guidance_samples)


def kept(model: Model, settings: Settings) -> Scales | None:
    """What a model file keeps of an earlier measuring, if its run is still set as it was then."""
    by, own = (model.facts.get(name) for name in ("guidance_chosen_by", "guidance_set"))
    if by is None or own is None or not settings.evaluation.guidance_samples:
        return None
    found = GuidanceScales(model.settings.sampling.guidance, own, (), by)
    same = settings.sampling.guidance == own and found.settings(settings) == model.settings
    return found if same else None


def choose(model: Model, monitor: Monitor) -> Scales:
    """Draw a model's own walk by several scales, and measure each.

    Args:
        model: with labels that can be hidden.
        monitor: measures the samples, always of the same noise.

    Returns:
        The best of those that were tried.
    """
    count = model.settings.evaluation.guidance_samples
    own = model.settings.sampling.guidance

    def score(scale: float) -> Score:
        sampling = model.settings.sampling.model_copy(update={"guidance": scale})
        return scored(model, monitor, sampling, count)

    return GuidanceScales.least(descend(score, own, LADDER), own, measure(monitor, count))
