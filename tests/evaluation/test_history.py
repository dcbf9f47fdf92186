"""A run's checkpoints, scored by the same ruler as the run itself."""

import shutil

import numpy as np
import pytest

import loang
from loang.errors import LoangError
from loang.evaluation import words
from loang.evaluation.asked import Asked
from loang.evaluation.markdown import markdown
from loang.evaluation.output import write_report
from loang.training import strengths

CHANGES = (
    "network.width=8",
    "network.multipliers=[1]",
    "network.attention=[]",
    "network.heads=1",
    "training.batch=16",
    "training.reports=3",
    "training.keep=5",
    "schedule.steps=20",
    "sampling.steps=3",
)
ASKED = Asked(60, ("pixels",))
pytestmark = pytest.mark.usefixtures("unchecked_signatures", "no_last_pictures")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of a few steps on random images, with three checkpoints."""
    folder = tmp_path_factory.mktemp("history")
    images = np.random.default_rng(0).integers(0, 255, (150, 8, 8), np.uint8)
    np.save(folder / "data.npy", images)
    loang.train(folder / "data.npy", out=folder / "run", budget="96 images", changes=CHANGES)
    return folder / "run"


def test_checkpoints_are_scored_in_order_and_the_last_is_the_model(trained, tmp_path):
    report = loang.evaluate(trained, asked=ASKED, history=True)
    steps = [point["step"] for point in report.history]
    assert steps == sorted(set(steps))
    assert len(steps) >= 2
    assert [point["training_images"] for point in report.history] == [16 * step for step in steps]
    whole = report.space.columns["samples"].to_dict()
    assert whole == {key: report.history[-1][key] for key in whole}
    assert report.history[0]["frechet"] != report.history[-1]["frechet"]
    # The model that was measured had its own weights back.
    assert whole == loang.evaluate(trained, asked=ASKED).space.columns["samples"].to_dict()

    first, last = (words.recorded(report.history[at]["frechet"]) for at in (0, -1))
    said = words.sentences(report)[-1]
    assert f"step {steps[0]} to step {steps[-1]}" in said
    assert f"from {first} to {last}." in said
    table = markdown(report).partition("## By training step")[2]
    assert f"| {steps[0]} | {16 * steps[0]} | {first} |" in table
    assert f"| other real images | – | {words.rows(report.space)[0][2]} |" in table
    write_report(report, tmp_path)
    assert (tmp_path / "report.png").stat().st_size > 0


def test_a_model_whose_labels_count_otherwise_is_the_last_of_its_history(tmp_path):
    """As a student's do, where that was measured to be better."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (150, 8, 8), np.uint8)
    np.savez(tmp_path / "data.npz", images=images, labels=np.arange(150) % 3)
    run = tmp_path / "run"
    loang.train(tmp_path / "data.npz", out=run, budget="96 images", changes=CHANGES)
    model = loang.load(run)
    network = model.denoiser.network
    network.load_state_dict(dict(strengths.weighed(network.state_dict(), 3.0)))
    model.facts = {**model.facts, "label_strength": 3.0}
    model.save(run / "model.safetensors")
    report = loang.evaluate(run, asked=ASKED, history=True)
    whole = report.space.columns["samples"].to_dict()
    assert whole == {key: report.history[-1][key] for key in whole}


def test_a_run_without_checkpoints_has_no_history(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints"))
    with pytest.raises(LoangError, match="no checkpoints to score"):
        loang.evaluate(tmp_path / "run", asked=ASKED, history=True)
    assert loang.evaluate(tmp_path / "run", asked=ASKED).history == ()


def test_images_have_no_history(trained):
    data = trained.parent / "data.npy"
    with pytest.raises(LoangError, match="holds images"):
        loang.evaluate(data, data, asked=ASKED, history=True)
