"""How strongly labels are to count, by what a run can measure of its samples when it has learnt.

What is common to the two ways: guiding.py for a walk, strengths.py for a student of few steps.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from loang.config import SamplingSettings, Settings
from loang.data.images import Dataset
from loang.metrics import features
from loang.model import Model
from loang.samplers import METHODS
from loang.training.choice import Score
from loang.training.monitor import Monitor
from loang.walking import chosen, levels_of

WORTH = 5
"""Images that a run must have learnt from for each evaluation of a sample's walk: a shorter one
would spend more time on the measuring than its result is worth."""
LEARNING = 600.0
"""Seconds that a run must have trained where features of its images have to be learnt first, which
may take some minutes."""


@dataclass(frozen=True)
class Scales(ABC):
    """The best scale, and what it was compared with.

    Args:
        best: of the least distance.
        own: what it was before.
        scores: of each scale that was tried, from the least scale up.
        measure: what scored them.
    """

    best: float
    own: float
    scores: tuple[tuple[float, Score], ...]
    measure: str

    name: ClassVar[str]
    """Of the scale, in logs."""
    weighs: ClassVar[bool] = False
    """Whether it changes weights."""
    title: ClassVar[str]
    """For people."""

    @classmethod
    def least(cls, scores: Mapping[float, Score], own: float, measure: str) -> "Scales":
        """That of the best of these."""
        best = min(scores, key=lambda scale: scores[scale].value)
        return cls(best, own, tuple(sorted(scores.items())), measure)

    def settings(self, settings: Settings) -> Settings:
        """Those of a model, with the best scale."""
        return settings

    def weights(self, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Those of its network, with the best scale; what is given stays as it is."""
        return weights

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """For the model file."""

    def table(self) -> list[dict[str, float | None]]:
        """All that was scored, in plain values."""
        return [
            {self.name: scale, "score": score.value if math.isfinite(score.value) else None}
            for scale, score in self.scores
        ]

    def sentence(self) -> str:
        """For people."""
        tried = "; ".join(f"{scale:g}: {score}" for scale, score in self.scores)
        changed = f", in place of {self.own:g}" if self.best != self.own else ", as it was set"
        return f"{self.title} by {self.measure}: {tried}. The best is {self.best:g}{changed}."

    def kept_sentence(self) -> str:
        """For people, where it was measured before."""
        return f"{self.title} stays at {self.best:g}, as measured before by {self.measure}."


def worth(model: Model, images: int, count: int) -> bool:
    """Whether a run of so many images of training is worth measuring so many samples a scale."""
    schedule = model.denoiser.schedule
    way = chosen(model.settings.sampling, schedule)
    asked = METHODS[way.sampler].evaluations(len(levels_of(way, schedule)) - 1)
    return count > 0 and asked is not None and WORTH * asked * count <= images


def at_hand(dataset: Dataset, settings: Settings, seconds: float) -> bool:
    """Whether the features that samples are measured in are there, or worth being learnt.

    Args:
        dataset: the run's images.
        settings: the run's.
        seconds: that it has trained.
    """
    return seconds >= LEARNING or features.at_hand(settings.evaluation.features, dataset)


def scored(model: Model, monitor: Monitor, sampling: SamplingSettings, count: int) -> Score:
    """How far samples that are drawn so are, always of the same noise; inf for no numbers."""
    found = monitor.distance(model, sampling, count)
    return Score(found.value if math.isfinite(found.value) else math.inf, found.error)


def measure(monitor: Monitor, count: int) -> str:
    """What scores them, for people."""
    return f"the Fréchet distance of {count:,} samples in {monitor.space.name}"


def descend(
    score: Callable[[float], Score], own: float, ladder: Sequence[float]
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
