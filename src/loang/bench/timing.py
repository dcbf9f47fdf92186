"""How long something takes on a device."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from loang import device


@dataclass(frozen=True)
class Timing:
    """Seconds of one of many runs.

    Args:
        median: the middle of them.
        least: the fastest.
        most: the slowest.
        runs: how many.
    """

    median: float
    least: float
    most: float
    runs: int


def timed(run: Callable[[], object], on: torch.device, seconds: float, least: int = 3) -> Timing:
    """Run it for so many seconds, and `least` times at least, after one run that does not count.

    Each is waited for, so what a GPU could do of the next meanwhile does not count either.
    """
    run()
    device.wait(on)
    taken: list[float] = []
    start = time.perf_counter()
    while len(taken) < least or time.perf_counter() - start < seconds:
        began = time.perf_counter()
        run()
        device.wait(on)
        taken.append(time.perf_counter() - began)
    return Timing(statistics.median(taken), min(taken), max(taken), len(taken))
