"""What an examination says: findings, each with a verdict; answers; and the numbers behind them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Verdict = Literal["good", "note", "warning", "wrong"]
WEIGHT: Mapping[Verdict, int] = {"wrong": 0, "warning": 1, "note": 2, "good": 3}


@dataclass(frozen=True)
class Finding:
    """One thing that was examined.

    Args:
        verdict: "wrong" spoils the result, "warning" may, "note" is worth knowing, "good" is good.
        topic: what it is about, in a word or two that a program can look for.
        what: what was found, a sentence with its numbers.
        remedy: what to do, a sentence; empty where nothing need be done.
    """

    verdict: Verdict
    topic: str
    what: str
    remedy: str = ""


@dataclass(frozen=True)
class Answer:
    """A person's question, answered from what was found.

    Args:
        question: as a person asks it.
        answer: sentences.
    """

    question: str
    answer: str


@dataclass(frozen=True)
class Table:
    """Numbers for people.

    Args:
        title: of the table.
        heads: of its columns.
        rows: as many cells each.
        note: how to read it; empty for none.
    """

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True)
class Part:
    """What one of the examinations gives; several make a `Diagnosis`.

    Args:
        findings: in any order.
        facts: numbers, for JSON.
        tables: for people.
    """

    findings: tuple[Finding, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True)
class Diagnosis:
    """All that was found.

    Args:
        subject: what a person calls what was examined.
        kind: what it is.
        findings: the gravest first.
        answers: to what people ask.
        facts: plain values for JSON, by topic.
        tables: numbers for people.
    """

    subject: str
    kind: Literal["run", "model", "data"]
    findings: tuple[Finding, ...]
    answers: tuple[Answer, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    tables: tuple[Table, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The gravest of all; "good" where nothing was found."""
        return self.findings[0].verdict if self.findings else "good"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; a number that is infinite or none becomes None."""
        return _finite(
            {
                "subject": self.subject,
                "kind": self.kind,
                "verdict": self.verdict,
                "findings": [asdict(finding) for finding in self.findings],
                "answers": [asdict(answer) for answer in self.answers],
                "facts": dict(self.facts),
            }
        )


def sorted_by_weight(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The gravest first; those of one verdict stay in their order."""
    return tuple(sorted(findings, key=lambda finding: WEIGHT[finding.verdict]))


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
