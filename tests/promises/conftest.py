"""What tests of whole runs start with: settings, pictures, and a run that is done already."""

import pytest
from whole_runs import TINY, copy_of, make_pictures, one_thread

import loang
from checking import unchecked
from loang.training.display import Display
from undrawing import note_pictures, undrawn


@pytest.fixture
def tiny():
    """Settings of a network of a few thousand parameters."""
    return TINY


@pytest.fixture
def pictures(tmp_path):
    """60 grey images of 8x8 with labels of three classes, in an .npz file."""
    return make_pictures(tmp_path / "pictures.npz")


@pytest.fixture
def asked_for(monkeypatch):
    """What of a run's last pictures was asked for; none is drawn."""
    # By the test's own monkeypatch, so that both are undone in turn: another would leave its own.
    return note_pictures(monkeypatch)


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
    """A copy of it, whose images are those of the test."""
    return copy_of(whole, tmp_path / "run", pictures)


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
