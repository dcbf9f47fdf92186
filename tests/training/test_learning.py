"""A whole training, small enough for a test, learns what there is to learn."""

import json

import numpy as np
import pytest

import loang

pytestmark = pytest.mark.usefixtures("unchecked_signatures")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two classes of 8x8 images: dark with a bright left half, and bright all over."""
    folder = tmp_path_factory.mktemp("learning")
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2
    images = np.where(labels[:, None, None] == 1, 200, 40) + rng.integers(-20, 20, (200, 8, 8))
    images[labels == 0, :, :4] += 120
    np.savez(folder / "data.npz", images=images.astype(np.uint8), labels=labels)
    loang.train(
        folder / "data.npz",
        out=folder / "run",
        budget="4800 images",
        changes=[
            "network.width=16",
            "network.multipliers=1,1",
            "network.heads=1",
            "training.batch=32",
            "optimizer.learning_rate=0.004",
            "optimizer.warm_up=20",
            "ema.length=0.1",
        ],
    )
    return folder / "run"


def test_the_loss_falls_far_below_that_of_a_network_that_knows_nothing(run):
    records = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    losses = [record["loss"] for record in records if "loss" in record]
    validation = [r["validation_loss_ema"] for r in records if "validation_loss_ema" in r]
    assert losses[0] > 0.5
    assert np.mean(losses[-10:]) < 0.2 * losses[0]
    assert validation[-1] < 0.2 * losses[0]


@pytest.mark.parametrize(("sampler", "steps"), [("ddim", 25), ("ddpm", 100)])
def test_each_class_is_drawn_as_it_is(run, sampler, steps):
    from loang import drawing

    model = loang.load(run)
    sampling = drawing.sampling(model, sampler=sampler, steps=steps)
    dark, bright = (model.sample(24, label=label, sampling=sampling) for label in (0, 1))
    assert abs(dark[:, :, :4].mean() - 160) < 20
    assert abs(dark[:, :, 4:].mean() - 40) < 20
    assert abs(bright.mean() - 200) < 20
    assert dark.std(axis=0).mean() > 3  # they are not all one image


def test_a_grid_is_drawn_at_each_report_and_the_model_file_is_the_averages(run):
    assert len(list((run / "samples").glob("*.png"))) == 10
    card = (run / "README.md").read_text()
    assert "averaged weights" in card
    assert "4,800 images" in card
    config = json.loads((run / "config.json").read_text())
    assert config["settings"]["network"]["width"] == 16
