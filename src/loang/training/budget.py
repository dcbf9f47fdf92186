"""How long a run is, and the learning rate that goes with the share of it that is used."""

import math
import re
import time
from dataclasses import dataclass

from loang.config import OptimizerSettings
from loang.errors import LoangError

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Budget:
    """Exactly one of the two is set.

    Args:
        seconds: of training, wall clock, over all sessions of a run.
        images: seen in training.
        epochs: what `images` was asked for as, if it was; then each epoch ends in a report.
    """

    seconds: float | None = None
    images: int | None = None
    epochs: float | None = None

    def share(self, images: int, seconds: float) -> float:
        """How much of the budget is used, 0..1."""
        if self.seconds is not None:
            return min(seconds / self.seconds, 1.0)
        assert self.images is not None
        return min(images / self.images, 1.0)

    def __str__(self) -> str:
        if self.seconds is not None:
            return duration(self.seconds)
        if self.epochs is not None:
            return f"{self.epochs:g} epochs, {self.images:,} images"
        return f"{self.images:,} images"


def parse(text: str, images_an_epoch: int) -> Budget:
    """`5m`, `1h30m`, `90s`, `50 epochs` or `1000000 images` (also `1e6 images`, `1_000_000`).

    Raises:
        LoangError: none of these, or nothing left after rounding.
    """
    words = re.sub(r"(?<=\d)[,_](?=\d{3}(?!\d))", "", text.strip().lower())
    if match := re.fullmatch(r"([\d.]+(?:e\d+)?)\s*(epochs?|images?)", words):
        number = _number(match[1])
        if number is not None and number > 0 and math.isfinite(number):
            if match[2].startswith("epoch"):
                images = max(1, round(number * images_an_epoch))
                return Budget(images=images, epochs=number)
            if number >= 1:
                return Budget(images=round(number))
    words = words.replace(" ", "")
    if re.fullmatch(r"([\d.]+[smhd])+", words):
        parts = [(_number(n), unit) for n, unit in re.findall(r"([\d.]+)([smhd])", words)]
        seconds = sum((n or 0) * _SECONDS[unit] for n, unit in parts)
        if 0 < seconds < math.inf and all(n is not None for n, _ in parts):
            return Budget(seconds=float(seconds))
    raise LoangError(
        f"{text!r} is no length of training.",
        "Write --for 5m, --for 1h30m, --epochs 50 or --images 1000000.",
    )


def twice(text: str) -> str:
    """The option of `loang train` that asks for twice as much: --for 10m."""
    budget = parse(text, 1)
    if budget.epochs is not None:
        return f"--epochs {_plain(2 * budget.epochs)}"
    if budget.images is not None:
        return f"--images {2 * budget.images}"
    assert budget.seconds is not None
    seconds = 2 * budget.seconds
    unit = next((u for u in "dhm" if seconds % _SECONDS[u] == 0), "s")
    return f"--for {_plain(seconds / _SECONDS[unit])}{unit}"


class Clock:
    """Wall-clock seconds, going on from those of earlier sessions."""

    def __init__(self, before: float) -> None:
        self._start = time.monotonic() - before

    def read(self) -> float:
        """Seconds of all sessions up to now."""
        return time.monotonic() - self._start


class Marks:
    """Equal parts of the budget: tells when another of them is over."""

    def __init__(self, count: int, share: float) -> None:
        self._count = max(count, 1)
        self._done = int(share * self._count)

    def passed(self, share: float) -> bool:
        """Whether a mark lies between this share of the budget and that of the last call."""
        done, self._done = self._done, int(share * self._count)
        return self._done > done


def learning_rate(settings: OptimizerSettings, step: int, share: float) -> float:
    """The rate of step 0, 1, ... when `share` of the budget is used.

    It rises over `warm_up` steps, stays, and from `decay_from` on falls in a straight line to 0
    at the end of the budget.
    """
    warm = min(1.0, (step + 1) / settings.warm_up) if settings.warm_up else 1.0
    left = 1.0
    if share > settings.decay_from:
        left = (1 - share) / (1 - settings.decay_from)
    return settings.learning_rate * warm * left


def duration(seconds: float) -> str:
    """For people: 45 s, 4 min 30 s, 2 h 05 min, 12 days 3 h."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min" + (f" {whole % 60:02d} s" if whole % 60 else "")
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} days {whole % 86400 // 3600} h"


def _plain(number: float) -> str:
    """As `parse` reads it: no exponent, and no digit lost but below a millionth."""
    return f"{number:.6f}".rstrip("0").rstrip(".")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
