"""Notices a run whose steps have become many times slower than they were."""

import os

import torch

from loang import files
from loang.training.folder import RunFolder

SHARE = 0.2
"""Of the best rate, below which something is wrong: a student's last phase has a third of it."""
SECONDS = 30.0
"""For how long, before anything is said: another program may only begin or end just now."""
LONGEST = 10.0
"""Seconds that one measurement counts for at the most."""


class Slowdown:
    """Told each measured rate; says once that the cores are busy with other things.

    The threads of one operation wait for each other. Where another program holds one of their
    cores, each operation waits for it, and a run may be ten times slower than with one thread less.
    """

    def __init__(self) -> None:
        self._best = 0.0
        self._slow = 0.0
        self._told = False

    def note(self, rate: float, seconds: float) -> bool:
        """Whether it is time to say so.

        Args:
            rate: images a second since the last call.
            seconds: since then.
        """
        self._best = max(self._best, rate)
        # A program that was stopped for a while, as by Ctrl-Z, is one slow measurement.
        self._slow = self._slow + min(seconds, LONGEST) if rate < SHARE * self._best else 0.0
        if self._told or self._slow < SECONDS:
            return False
        self._told = True
        return True

    def sentence(self, rate: float, on: torch.device, folder: RunFolder) -> str:
        """For people."""
        said = (
            f"Warning: {rate:.0f} images/s, where this run had {self._best:.0f}: other programs"
            " seem to keep this machine busy."
        )
        threads = torch.get_num_threads()
        if on.type != "cpu" or threads == 1:
            return said
        variable = "set OMP_NUM_THREADS={} &&" if os.name == "nt" else "OMP_NUM_THREADS={}"
        return (
            f"{said} {threads} threads wait for each other; fewer may be much faster. Stop the run"
            f" with Ctrl-C, which loses nothing, and go on with: {variable.format(threads // 2)}"
            f" loang train --resume --out {files.shown(folder.path)}"
        )
