"""How strongly labels are to guide, by what a run can measure of its samples when it has learnt.

The best scale falls as a model learns: of one recipe it was 3 after 70,000 images and 1.5 after
700,000, where 3 was eight times as far from the data (docs/benchmarks.md). No preset can know it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from loang.config import Settings
from loang.data.images import Dataset
from loang.metrics import features
from loang.model import Model
from loang.samplers import METHODS
from loang.training.choice import Score
from loang.training.monitor import Monitor
from loang.walking import chosen, levels_of

LADDER = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0)
"""Scales that are tried, and the model's own among them."""
WORTH = 5
"""Images that a run must have learnt from for each evaluation of a sample's walk: a shorter one
would spend more time on the measuring than its result is worth."""
LEARNING = 600.0
"""Seconds that a run must have trained where features of its images have to be learnt first, which
may take some minutes."""


@dataclass(frozen=True)
class Scales:
    """The best scale, and what it was compared with.

    Args:
        best: of the least distance.
        own: what the model was set to.
        scores: of each scale that was tried, from the least scale up.
        measure: what scored them.
    """

    best: float
    own: float
    scores: tuple[tuple[float, Score], ...]
    measure: str

    def guided(self, settings: Settings) -> Settings:
        """Those of a model, with the best scale."""
        sampling = settings.sampling.model_copy(update={"guidance": self.best})
        return settings.model_copy(update={"sampling": sampling})

    def facts(self) -> dict[str, Any]:
        """For the model file."""
        return {"guidance_chosen_by": self.measure, "guidance_set": self.own}

    def table(self) -> list[dict[str, float | None]]:
        """All that was scored, in plain values."""
        return [
            {"guidance": scale, "score": score.value if math.isfinite(score.value) else None}
            for scale, score in self.scores
        ]

    def sentence(self) -> str:
        """For people."""
        tried = "; ".join(f"{scale:g}: {score}" for scale, score in self.scores)
        changed = f", in place of {self.own:g}" if self.best != self.own else ", as it was set"
        return f"Guidance by {self.measure}: {tried}. The best is {self.best:g}{changed}."


def wanted(model: Model, images: int) -> bool:
    """Whether the scale of a run's model is to be measured, after so many images of training."""
    settings, schedule = model.settings, model.denoiser.schedule
    count = settings.evaluation.guidance_samples
    hides = model.denoiser.hides_labels and settings.training.label_dropout > 0
    guidable = model.knows_labels and hides and not settings.distilled
    if not guidable or count == 0:
        return False
    way = chosen(settings.sampling, schedule)
    asked = METHODS[way.sampler].evaluations(len(levels_of(way, schedule)) - 1)
    return asked is not None and WORTH * asked * count <= images


def at_hand(dataset: Dataset, settings: Settings, seconds: float) -> bool:
    """Whether the features that samples are measured in are there, or worth being learnt.

    Args:
        dataset: the run's images.
        settings: the run's.
        seconds: that it has trained.
    """
    return seconds >= LEARNING or features.at_hand(settings.evaluation.features, dataset)


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
        found = monitor.distance(model, sampling, count)
        return Score(found.value if math.isfinite(found.value) else math.inf, found.error)

    scores = descend(score, own)
    best = min(scores, key=lambda scale: scores[scale].value)
    measure = f"the Fréchet distance of {count:,} samples in {monitor.space.name}"
    return Scales(best, own, tuple(sorted(scores.items())), measure)


def descend(
    score: Callable[[float], Score], own: float, ladder: Sequence[float] = LADDER
) -> dict[float, Score]:
    """Scores from a scale down the ladder, or up, as long as they get less.

    Both neighbours of the best scale have been tried in the end, where it has two.
    """
    rungs = sorted({*ladder, own})
    at = rungs.index(own)
    scores = {own: score(own)}
    for way in (-1, 1):
        here = at
        while 0 <= here + way < len(rungs):
            scale = rungs[here + way]
            scores[scale] = score(scale)
            if scores[scale].value >= scores[rungs[here]].value:
                break
            here += way
        if here != at:
            break
    return scores
