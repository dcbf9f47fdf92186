"""A small data set and a small network, so that a whole run takes a second."""

import numpy as np
import pytest
import torch

from in_steps import IN_STEPS
from loang.training.display import Display

TINY = (
    "network.width=8",
    "network.multipliers=1,1",
    "network.attention=[1]",
    "network.heads=1",
    *IN_STEPS,
    "network.blocks=1",
    "training.batch=16",
    "training.reports=4",
    "training.keep=9",
    "training.validation_share=1",
    "optimizer.warm_up=3",
    "schedule.steps=50",
    "sampling.steps=5",
)


@pytest.fixture
def tiny():
    """Settings of a network of a few thousand parameters."""
    return TINY


@pytest.fixture
def pictures(tmp_path):
    """60 grey images of 8x8 with labels of three classes, in an .npz file."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 60)
    images = np.zeros((60, 8, 8), np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[2 * label : 2 * label + 3] = rng.integers(100, 255)
    path = tmp_path / "pictures.npz"
    np.savez(path, images=images, labels=labels)
    return path


class Said(Display):
    """Keeps the lines that a person would see."""

    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)

    def about(self, words):
        return [line for line in self.lines if words in line]


@pytest.fixture
def said():
    """A display that remembers; `about(words)` finds lines."""
    return Said()


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch):
    """Small networks gain nothing from a second thread, and wait for it where cores are busy."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
