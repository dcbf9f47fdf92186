"""What a person sees while training runs: a bar in a terminal, plain lines elsewhere."""

import contextlib
import os
import sys
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from loang.training.budget import duration

PLAIN_SECONDS = 15.0


@dataclass(frozen=True)
class Measurement:
    """What there is to see at one moment.

    Args:
        share: of the budget, 0..1.
        loss: mean over the steps since the last measurement; None where all were skipped.
        rate: images a second.
        left: seconds until the budget is used, as far as is known.
        memory: bytes.
    """

    share: float
    loss: float | None
    rate: float
    left: float
    memory: int

    def __str__(self) -> str:
        left = f"{duration(self.left)} left"
        loss = "no number" if self.loss is None else f"{self.loss:.4f}"
        return f"loss {loss}  {self.rate:.0f} img/s  {left}  {self.memory / 1e9:.2f} GB"


class Display:
    """Told of every measurement, and shows nothing; a context, so a terminal is left as it was."""

    def __enter__(self) -> "Display":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def say(self, line: str) -> None:
        """A line that stays."""

    def measure(self, measurement: Measurement) -> None:
        """Where training stands."""


class LastingConsole(Console):
    """A console that falls silent where nothing can be written any more; rich's own fails."""

    def print(self, *objects: Any, **more: Any) -> None:
        """As rich's; where the disk behind it is full, say, that is told once, elsewhere."""
        try:
            super().print(*objects, **more)
        except OSError as error:
            reason = error.strerror or error
            self.on_broken_pipe()
            with contextlib.suppress(OSError):
                print(f"loang: What is said can't be written: {reason}.", file=sys.stderr)

    def on_broken_pipe(self) -> None:
        """Nothing is printed from here on, neither now nor when the program ends."""
        self.quiet = True
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class ConsoleDisplay(Display):
    """A live bar in a terminal; where there is none, a plain line every quarter of a minute.

    A terminal that is closed, or a pipe that nobody reads any more, stops no training.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or LastingConsole(highlight=False, soft_wrap=True)
        self._bar = Progress(
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TextColumn("{task.description}", markup=False),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=1.0)
        self._said = time.monotonic()

    def __enter__(self) -> "ConsoleDisplay":
        with contextlib.suppress(OSError):
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):
            self._bar.stop()

    def say(self, line: str) -> None:
        """A line that stays, above the bar."""
        with contextlib.suppress(OSError, ValueError):
            self.console.print(line, markup=False)
        self._said = time.monotonic()

    def measure(self, measurement: Measurement) -> None:
        """Move the bar, or say a line where there is none and the last is a while ago."""
        if self.console.is_terminal:
            with contextlib.suppress(OSError):
                self._bar.update(
                    self._task, completed=measurement.share, description=str(measurement)
                )
        elif time.monotonic() - self._said > PLAIN_SECONDS:
            self.say(f"{measurement.share:4.0%}  {measurement}")
