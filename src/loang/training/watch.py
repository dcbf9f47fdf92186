"""Watches the numbers of training: updates that were skipped, losses that jump, runs gone wrong."""

import math
from collections import deque
from dataclasses import dataclass

import torch

from loang.training.trainer import Step

LOOK = 16  # steps from one look to the next: each waits until a GPU has caught up
PATIENCE = 5  # skipped updates in a row, after which a run has gone wrong
WINDOW = 256  # losses before a look that say what is usual
FEWEST = 64  # of these, below which nothing is usual yet
SPIKE = 3.0  # times the usual loss
CALM = 1.5  # times the usual loss, below which a spike is over


@dataclass(frozen=True)
class Spike:
    """A loss that has jumped.

    Args:
        before: mean loss of the steps before.
        after: mean loss of the last steps.
    """

    before: float
    after: float


class Watch:
    """What the last steps were like.

    Numbers stay on the device until `catch_up`, so that no step waits for them.
    """

    def __init__(self) -> None:
        self.in_a_row = 0
        """Steps skipped up to the last one seen."""
        self.since = 0
        """The first step of these."""
        self.largest: tuple[float, int] = (0.0, 0)
        """The largest gradient of steps that were not skipped, and its step."""
        self._waiting: list[tuple[int, Step]] = []
        self._unmeasured: list[float] = []
        self._skipped = 0
        self._last: deque[float] = deque(maxlen=LOOK)
        self._before: deque[float] = deque(maxlen=WINDOW)
        self._spiking = False

    def add(self, number: int, step: Step) -> None:
        """Remember a step, 1 for the first."""
        self._waiting.append((number, step))

    def catch_up(self) -> None:
        """Read the numbers of all steps that were added."""
        if not self._waiting:
            return
        numbers = [number for number, _ in self._waiting]
        values = torch.stack([torch.stack(step) for _, step in self._waiting]).tolist()
        self._waiting = []
        for number, (loss, gradient) in zip(numbers, values, strict=True):
            if math.isfinite(loss) and math.isfinite(gradient):
                self.in_a_row = 0
                self.largest = max(self.largest, (gradient, number))
                self._unmeasured.append(loss)
                if len(self._last) == LOOK:
                    self._before.append(self._last[0])
                self._last.append(loss)
            else:
                self.since = self.since if self.in_a_row else number
                self.in_a_row += 1
                self._skipped += 1

    def take_losses(self) -> list[float]:
        """The losses of the steps since the last call that were not skipped."""
        self.catch_up()
        taken, self._unmeasured = self._unmeasured, []
        return taken

    def take_skipped(self) -> int:
        """How many steps were skipped since the last call."""
        self.catch_up()
        taken, self._skipped = self._skipped, 0
        return taken

    def spike(self) -> Spike | None:
        """Whether the loss has jumped; told once for each jump."""
        if len(self._before) < FEWEST:
            return None
        before = sum(self._before) / len(self._before)
        after = sum(self._last) / len(self._last)
        if self._spiking:
            self._spiking = after > CALM * before
            return None
        self._spiking = after > SPIKE * before
        return Spike(before, after) if self._spiking else None
