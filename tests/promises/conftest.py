"""A small data set and a small network, so that a whole run takes a second."""

import contextlib
import json
import shutil

import numpy as np
import pytest
import torch

import loang
from checking import unchecked
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


def make_pictures(path):
    """60 grey images of 8x8 with labels of three classes, in an .npz file."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 60)
    images = np.zeros((60, 8, 8), np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[2 * label : 2 * label + 3] = rng.integers(100, 255)
    np.savez(path, images=images, labels=labels)
    return path


@pytest.fixture
def pictures(tmp_path):
    """Those images, for one test."""
    return make_pictures(tmp_path / "pictures.npz")


@contextlib.contextmanager
def one_thread():
    """Small networks gain nothing from a second thread, and wait for it where cores are busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@contextlib.contextmanager
def undrawn():
    """Within it, a run's last pictures are asked for, which is noted, and not drawn.

    They take a third of so small a run. That they are drawn, the tests of other files see.
    """
    asked = []

    def note(what):
        return lambda *arguments, **more: asked.append(what)

    with pytest.MonkeyPatch.context() as patch:
        for name in ("training_chart", "save_walk"):
            patch.setattr(f"loang.training.reporter.pictures.{name}", note(name))
        yield asked


@pytest.fixture
def asked_for():
    """What of a run's last pictures was asked for; none is drawn."""
    with undrawn() as asked:
        yield asked


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A folder with `pictures.npz` and `run`, which learnt from them; it is only read.

    The run's 512 images are 32 steps of 16, nearly nine epochs, so that a checkpoint falls within
    an epoch.
    """
    folder = tmp_path_factory.mktemp("finished")
    pictures = make_pictures(folder / "pictures.npz")
    with unchecked(), one_thread(), undrawn():
        loang.train(pictures, out=folder / "run", budget="512 images", changes=TINY, device="cpu")
    return folder


@pytest.fixture
def whole(finished):
    """That run."""
    return finished / "run"


@pytest.fixture
def copied(whole, pictures, tmp_path):
    """A copy of it, to be changed, whose images are this test's own."""
    run = shutil.copytree(whole, tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    config["settings"]["data"]["source"] = str(pictures)
    (run / "config.json").write_text(json.dumps(config))
    return run


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
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with one_thread():
        yield
