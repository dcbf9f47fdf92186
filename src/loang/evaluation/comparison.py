"""Which of two is better, and whether the difference is larger than its error."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loang.evaluation.markdown import table
from loang.evaluation.report import Report
from loang.evaluation.table import MEASURES, Cell, Measure
from loang.evaluation.words import ARROWS, measured
from loang.metrics.estimate import NORMAL_95, Estimate, difference

DECIDING = ("kid", "frechet")
"""The measures that the verdict rests on: the first has no bias, the second is the better known."""
TELLING = {"frechet": 50, "recall": 50, "coverage": math.inf}
"""Images below which the error says too little. Two sets of the same images were told apart by
their Fréchet distances in 23 % of pairs at 10 images, in 2 % at 50, and by recall in 16 % at 20, in
5 % at 50 (64 features); the error of coverage is too small, by up to a third, where samples are
fewer than reference images."""


@dataclass(frozen=True)
class Line:
    """One measure of both.

    Args:
        measure: which.
        first, second: what was measured.
        difference: first - second.
        better: 1 or 2, where the difference is beyond what chance explains; else 0; None where
            there are too few images to tell.
    """

    measure: Measure
    first: Cell
    second: Cell
    difference: Estimate | None
    better: int | None


@dataclass(frozen=True)
class Comparison:
    """Two sets of images, measured alike against the same real ones.

    Args:
        first, second: the reports of both.
        lines: by the name of the feature space.
    """

    first: Report
    second: Report
    lines: Mapping[str, Sequence[Line]]

    @property
    def verdict(self) -> str:
        """One sentence: which is better, in the first space."""
        names = self._names
        space = self.first.space.name
        lines = {line.measure.name: line for line in self.lines[space]}
        better = {name: lines[name].better for name in DECIDING}
        votes = {name: vote for name, vote in better.items() if vote is not None}
        found = set(votes.values())
        if not votes:
            return "There are too few images to tell which is better."
        if found == {0}:
            return f"Which is better can't be told: in {space} both lie within each other's error."
        if {1, 2} <= found:
            kid, frechet = (names[votes[name] - 1] for name in DECIDING)
            return f"The measures disagree: {kid} is better by KID, {frechet} by Fréchet distance."
        winner = next(vote for vote in votes.values() if vote)
        by = " and ".join(lines[name].measure.title for name, vote in votes.items() if vote)
        return (
            f"{names[winner - 1]} is better than {names[2 - winner]}: the difference is larger than"
            f" chance explains, by {by} in {space}."
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, with both reports whole."""
        return {
            "verdict": self.verdict,
            "differences": {
                space: {
                    line.measure.name: {
                        **Cell(line.difference).to_dict(),
                        "better": (None, "first", "second")[line.better or 0],
                    }
                    for line in lines
                }
                for space, lines in self.lines.items()
            },
            "first": self.first.to_dict(),
            "second": self.second.to_dict(),
        }

    def heads(self) -> list[str]:
        """The columns of a table."""
        return [*self._names, "difference", "better"]

    def rows(self, lines: Sequence[Line]) -> list[list[str]]:
        """The rows of a table, one a measure."""
        return [
            [
                f"{line.measure.title} {ARROWS[line.measure.better]}",
                measured(line.first),
                measured(line.second),
                measured(Cell(line.difference)),
                ("–", *self._names)[line.better or 0],
            ]
            for line in lines
        ]

    @property
    def _names(self) -> tuple[str, str]:
        return self.first.subject["name"], self.second.subject["name"]

    def markdown(self) -> str:
        """The comparison as a Markdown page."""
        names = self._names
        real = self.first.data["name"]
        parts = [f"# {names[0]} and {names[1]}, against {real}", "", self.verdict]
        for space, lines in self.lines.items():
            parts += ["", f"## In {space}", ""]
            parts += table(["", *self.heads()], self.rows(lines))
        parts += ["", "± one standard error. Better: the difference is above 1.96 of its own."]
        return "\n".join(parts) + "\n"


def compare(first: Report, second: Report) -> Comparison:
    """Two reports of as many images against the same reference, in the same spaces.

    Raises:
        ValueError: they are not.
    """
    keys = ("fingerprint", "reference")
    if any(first.data[key] != second.data[key] for key in keys):
        raise ValueError("the reports are against different real images")
    lines = {}
    for ours, theirs in zip(first.spaces, second.spaces, strict=True):
        if ours.digest != theirs.digest:
            raise ValueError("the reports are of different feature spaces")
        a, b = ours.columns["samples"], theirs.columns["samples"]
        count = min(a.count, b.count, first.data["reference"])
        lines[ours.name] = [_line(m, a.cells[m.name], b.cells[m.name], count) for m in MEASURES]
    return Comparison(first, second, lines)


def _line(measure: Measure, first: Cell, second: Cell, count: int) -> Line:
    if first.estimate is None or second.estimate is None:
        return Line(measure, first, second, None, None)
    apart = difference(first.estimate, second.estimate)
    if count < TELLING.get(measure.name, 0):
        return Line(measure, first, second, apart, None)
    better = 0
    if apart.error is not None and abs(apart.value) > NORMAL_95 * apart.error:
        better = 1 if (apart.value < 0) == (measure.better == "lower") else 2
    return Line(measure, first, second, apart, better)
