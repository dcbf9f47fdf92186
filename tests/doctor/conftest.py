"""A small run on pictures that no Gaussian describes, healthy; and what spoils one."""

import numpy as np
import pytest
from spots import SMALL, draw_spots

import loang
from checking import unchecked
from loang.config import changed
from loang.presets import quick


@pytest.fixture(autouse=True)
def _sealed(tmp_path, monkeypatch):
    monkeypatch.setenv("LOANG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LOANG_OFFLINE", "1")


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """A folder with `spots.npz`, and `run`, which has learned them: seconds."""
    folder = tmp_path_factory.mktemp("doctor")
    images, labels = draw_spots(2000, 0)
    np.savez(folder / "spots.npz", images=images, labels=labels)
    with unchecked():
        loang.train(folder / "spots.npz", out=folder / "run", budget="11000 images", changes=SMALL)
    return folder


@pytest.fixture
def small():
    """The settings of that run."""
    return changed(quick(), SMALL)
