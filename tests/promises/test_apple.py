"""Training, drawing, editing and distilling ask for no float64 of a device that has none."""

import numpy as np
import pytest
import torch

import loang
from apple import apple
from in_steps import IN_STEPS
from loang.editing import interpolate
from loang.training.watch import LOOK

pytestmark = pytest.mark.usefixtures("unchecked_signatures", "no_last_pictures")
TINY = (
    *("network.width=8", "network.multipliers=1,1", "network.heads=1", "training.batch=4"),
    *("training.precision=float32", "sampling.steps=3", "training.reports=1"),
)
BUDGET = f"{4 * (LOOK + 2)} images"  # so that the losses are looked at


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(0)
    place = tmp_path / "pictures.npz"
    np.savez(place, images=rng.integers(0, 256, (60, 8, 8), np.uint8), labels=np.arange(60) % 2)
    return place


def test_the_stand_in_refuses_float64():
    assert apple
    with pytest.raises(TypeError, match="no float64"), apple(pytest.MonkeyPatch()):
        torch.zeros(2).to(torch.device("cpu")).double()
    with apple(pytest.MonkeyPatch()):
        torch.zeros(2).to(torch.device("cpu")).cpu().double()


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param((), id="quick"),
        pytest.param(("training.pairing=immiscible", "data.flips=true"), id="paired"),
        pytest.param((*IN_STEPS, "training.levels=importance"), id="in-steps-by-importance"),
        pytest.param(
            ("schedule.kind=edm", "denoiser.predicts=edm", "training.levels=log-normal"), id="edm"
        ),
        pytest.param((*IN_STEPS, "denoiser.learn_variance=true"), id="learnt-variance"),
    ],
)
def test_a_run(changes, pictures, tmp_path, monkeypatch):
    with apple(monkeypatch):
        model = loang.train(
            pictures, out=tmp_path / "run", budget=BUDGET, device="cpu", changes=(*TINY, *changes)
        )
        assert model.sample(2).shape == (2, 8, 8, 1)


def test_edits_and_a_student(pictures, tmp_path, monkeypatch):
    run = tmp_path / "run"
    loang.train(pictures, out=run, budget=BUDGET, device="cpu", changes=TINY)
    with apple(monkeypatch):
        model = loang.load(run)
        interpolate.between_seeds(model, 0, 1, 3)
        one, other = model.sample(2)
        interpolate.between_pictures(model, one, other, 3, evaluations=6)
        loang.distill(run, out=tmp_path / "student", budget=BUDGET, device="cpu")
