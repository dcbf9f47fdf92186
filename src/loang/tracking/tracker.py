"""What a tracker must be able to do; and the run that it is told of."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from loang import untrusted

End = Literal["finished", "interrupted", "failed"]
Record = Mapping[str, Any]
"""A line of log.jsonl."""
PROJECT = "loang"
"""Where runs are put that nobody has named a project for."""


@dataclass(frozen=True)
class Subject:
    """The run that a tracker is told of.

    Args:
        folder: of the run.
        settings: all of them, as `section.key`.
    """

    folder: Path
    settings: Mapping[str, Any]

    @property
    def name(self) -> str:
        """As people see it."""
        return self.folder.resolve().name

    @classmethod
    def of(cls, folder: Path) -> "Subject":
        """The run that lies there.

        Raises:
            OSError, ValueError: its config.json can't be read.
        """
        settings = untrusted.read_json(folder / "config.json")["settings"]
        flat: dict[str, Any] = {}
        for section, values in settings.items():
            if isinstance(values, dict):
                flat |= {f"{section}.{key}": value for key, value in values.items()}
            else:
                flat[section] = values
        return cls(folder, flat)


class Tracker(ABC):
    """One run in one tracker. It may raise whatever it likes, and take its time."""

    @abstractmethod
    def check(self) -> None:
        """Whether it can be used here; nothing is written or sent.

        Raises:
            LoangError: its package, or an account that it needs, is missing.
        """

    @abstractmethod
    def open(self, run: Subject, identity: str | None, row: int) -> str:
        """Begin, or go on.

        Args:
            run: what is tracked.
            identity: what this method gave before, of a run that is gone on with; None begins one.
            row: how many records and pictures were told before.

        Returns:
            By what it is found again.
        """

    @abstractmethod
    def tell(self, records: Sequence[Record]) -> None:
        """Records of the log, in their order; they are kept when this returns."""

    @abstractmethod
    def show(self, title: str, path: Path, step: int) -> None:
        """A PNG or GIF file as a picture of that step."""

    @abstractmethod
    def keep(self, model: Path) -> None:
        """The finished run's model file."""

    @abstractmethod
    def close(self, end: End) -> None:
        """Nothing more comes in this session."""

    @abstractmethod
    def discard(self) -> None:
        """What was told holds no more, as the run went back: close it, or remove it."""


def numbers(record: Record) -> dict[str, float]:
    """What of a record can be drawn as a curve, but the step, which is the axis."""
    return {
        key: value
        for key, value in record.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and key != "step"
    }


def words(record: Record) -> dict[str, str]:
    """What of a record is no number: events and tables, as text."""
    return {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in record.items()
        if value is not None and not isinstance(value, int | float)
    }


def step_of(record: Record) -> int:
    """The optimizer's steps done when it was written."""
    step = record.get("step", 0)
    return step if isinstance(step, int) else 0
