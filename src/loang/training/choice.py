"""Which length of average is best, by what a run can measure of itself."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

from loang.data.images import Dataset
from loang.errors import LoangError
from loang.model import Model
from loang.training.averages import Average, Snapshots
from loang.training.monitor import Monitor
from loang.training.trainer import Trainer

CANDIDATES = (0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2)
"""Lengths that are tried, as far as the snapshots reach."""


class Score(NamedTuple):
    """What a measure says of an average; less is better.

    Args:
        value: infinite where it is no number.
        error: its standard error; None where there is none.
    """

    value: float
    error: float | None = None

    def __str__(self) -> str:
        return f"{self.value:.4f}" + ("" if self.error is None else f" ± {self.error:.4f}")


class Judge:
    """Scores averages of one network's weights, always on the same noise.

    Args:
        trainer: of that network; its own weights are put back each time.
        dataset: the run's images.
        monitor: measures samples; None leaves the validation loss.
    """

    def __init__(self, trainer: Trainer, dataset: Dataset, monitor: Monitor | None) -> None:
        self.trainer = trainer
        self.dataset = dataset
        self.monitor = monitor
        self.measure = "validation loss"
        if monitor is not None:
            self.measure = f"KID of {monitor.settings.samples:,} samples"

    def __call__(self, weights: Mapping[str, Tensor]) -> Score:
        """The distance of samples, if they are measured; else the validation loss."""
        if self.monitor is None:
            loss = self.loss(weights)
            return Score(math.inf if loss is None else loss)
        trainer = self.trainer
        with trainer.averaged(weights):
            model = Model(trainer.shown, self.dataset.spec, trainer.settings)
            scores = self.monitor.score(model)
        value = scores["kid"]
        return Score(value if math.isfinite(value) else math.inf, scores["kid_error"])

    def loss(self, weights: Mapping[str, Tensor]) -> float | None:
        """The validation loss; None where it is no number."""
        with self.trainer.averaged(weights):
            loss = self.trainer.validate(self.dataset.validation)
        return loss if math.isfinite(loss) else None


class Candidate(NamedTuple):
    """One average that was scored, without its weights."""

    length: float | None
    score: Score

    def __str__(self) -> str:
        name = "the run's own" if self.length is None else f"{self.length:g}"
        return f"{name}: {self.score}"


@dataclass(frozen=True)
class Choice:
    """The best average, and what it was compared with.

    Args:
        average: the best.
        score: of it.
        candidates: all that were scored.
        measure: what scored them.
        by_samples: whether that measures samples.
    """

    average: Average
    score: Score
    candidates: tuple[Candidate, ...]
    measure: str
    by_samples: bool

    def facts(self) -> dict[str, Any]:
        """For the model file."""
        return {
            **self.average.facts(),
            "average_chosen_by": self.measure,
            "average_score": self.score.value,
        }

    def table(self) -> list[dict[str, float | None]]:
        """All that was scored, in plain values."""
        return [
            {"length": length, "score": score.value if math.isfinite(score.value) else None}
            for length, score in self.candidates
        ]

    def sentences(self) -> list[str]:
        """For people."""
        best = self.average
        name = "the run's own average" if best.length is None else f"length {best.length:g}"
        made = f", made of {best.snapshots} snapshots" if best.snapshots else ", as it was tracked"
        said = [
            f"Averages by {self.measure}: {'; '.join(map(str, self.candidates))}.",
            f"The best is {name}{made} (profile's error {best.error:.1e}).",
        ]
        near = [
            one
            for one in self.candidates
            if one.score.error is not None
            and one.length != best.length
            and one.score.value - self.score.value < one.score.error
        ]
        if near:
            said.append(f"{len(near)} more are within one standard error of it.")
        if not self.by_samples:
            said.append(
                "It is chosen by loss, which may prefer another length than the samples would: they"
                " are measured with evaluation.samples=1000 in training, and afterwards by loang"
                " average RUN --best --samples 1000."
            )
        return said


def choose(
    snapshots: Snapshots,
    judge: Judge,
    own: Average | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Choice:
    """Score averages of several lengths, and keep the best.

    Args:
        snapshots: that they are made of.
        judge: of each.
        own: the average that the run tracked, which is scored as well.
        say: told what is tried.

    Raises:
        LoangError: there are no snapshots, none of the lengths is in their reach, or no average
            has a score that is a number.
    """
    steps = snapshots.steps()
    if not steps:
        snapshots.average(CANDIDATES[0])  # says what to do
    known = None if own is None else own.length
    lengths = sorted({*CANDIDATES} - {known})
    reach = snapshots.reach()
    within = [] if reach is None else [one for one in lengths if reach[0] <= one <= reach[1]]
    if beyond := [f"{one:g}" for one in lengths if one not in within]:
        say(f"Of length {', '.join(beyond)} none can be made: there are too few snapshots.")
    count = len(within) + (own is not None)
    say(f"Scoring {count} averages of the weights by {judge.measure} ...")
    best: tuple[Average, Score] | None = None
    found = []
    for average in [*([own] if own else []), *map(snapshots.average, within)]:
        score = judge(average.weights)
        found.append(Candidate(average.length, score))
        if score.value < (math.inf if best is None else best[1].value):
            best = average, score
    if best is None:
        raise LoangError(
            "No average of these snapshots could be scored.",
            "Keep more snapshots, or take the model as it is.",
        )
    found.sort(key=lambda one: -1.0 if one.length is None else one.length)
    by_samples = judge.monitor is not None
    return Choice(*best, tuple(found), judge.measure, by_samples)
