"""Dropout's random numbers, which torch draws from a generator that is everybody's."""

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

from loang import random


class Dropping:
    """Lends torch's global generator to the dropout of a network.

    Args:
        network: which may have none; then nothing is lent.
        seed: of the run.
        on: device.
    """

    def __init__(self, network: nn.Module, seed: int, on: torch.device) -> None:
        self.drops = any(isinstance(part, nn.Dropout) and part.p > 0 for part in network.modules())
        self.seed = seed
        self.gpus = [on] if on.type == "cuda" else []

    @contextlib.contextmanager
    def seeded(self, step: int, start: int) -> Iterator[None]:
        """Seeded by the step and the first image of a part; put back afterwards."""
        if not self.drops:
            yield
            return
        with torch.random.fork_rng(devices=self.gpus):
            torch.manual_seed(random.key(self.seed, f"dropout {step} {start}")[0])
            yield
