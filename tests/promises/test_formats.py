"""Files of every older version still load: one of each format is kept, and read here."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import loang
from loang import model_file
from loang.errors import LoangError
from loang.files import sha256
from loang.model import Model
from loang.training import checkpoint, folder
from loang.training.folder import checkpoint_steps

FIXTURES = Path(__file__).parents[1] / "fixtures"
MODELS = sorted((FIXTURES / "models").glob("format-*.safetensors"))
RUNS = sorted((FIXTURES / "runs").glob("format-*"))
LATER = {
    "config": {
        "data": [
            *("follow_links", "fit", "background", "range", "labels_file", "label_column"),
            *("image_column", "unreadable", "rotations", "shifts", "told"),
        ],
        "network": [
            *("self_conditioning", "group_channels", "norm_groups", "norm_epsilon", "head_width"),
            *("middle_attention", "downsample_padding", "cosine_first", "reaches_last", "no_label"),
            "resample_blocks",
        ],
        "schedule": ["sigma_min", "sigma_max", "counted_from", "told_in_thousands"],
        "denoiser": ["deviation", "learn_variance"],
        "optimizer": ["kind", "momentum"],
        "ema": ["snapshots", "snapshot_lengths", "snapshot_precision", "choose"],
        "training": [
            *("micro_batch", "objective", "levels", "level_mean", "level_deviation"),
            *("min_snr_gamma", "stratified", "pairing", "recompute", "shard"),
        ],
        "sampling": [
            *("spacing", "levels", "churn", "tolerance"),
            *("guidance", "guidance_interval", "guidance_rescale"),
        ],
        "evaluation": ["guidance_samples"],
        "": ["distillation"],
    },
    "state": {"progress": ["skipped", "returns"], "": ["micro_batch"]},
}
"""What the first files of format 1 lacked; their meaning without it is the default."""


def test_a_file_of_each_format_is_kept():
    """A new format without a file of the old one, or of its own, fails here."""
    formats = range(1, model_file.FORMAT + 1)
    assert [path.stem for path in MODELS] == [f"format-{number}" for number in formats]
    formats = range(1, max(checkpoint.FORMAT, folder.FORMAT) + 1)
    assert [path.name for path in RUNS] == [f"format-{number}" for number in formats]


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_an_older_model_draws_what_it_drew_when_it_was_made(path):
    model = Model.load(path, on="cpu")
    *_, last = model.walk(range(2), seed=0, precision="float32")
    expected = np.load(path.with_suffix(".npy"), allow_pickle=False)
    assert expected.std() > 0.1
    np.testing.assert_allclose(last.x.numpy(), expected, rtol=0, atol=1e-4)
    images = model.sample(3)
    assert images.shape == (3, model.spec.height, model.spec.width, model.spec.channels)


@pytest.fixture(params=RUNS, ids=lambda path: path.name)
def run(request, tmp_path):
    return shutil.copytree(request.param, tmp_path / "run")


def resume(run):
    return loang.train(run / "images.npy", out=run, resume=True)


def change(place, file, edit):
    """Edit plain values of a checkpoint, with hashes that are right."""
    content = json.loads((place / file).read_text())
    edit(content)
    (place / file).write_text(json.dumps(content))
    manifest = json.loads((place / "MANIFEST.json").read_text())
    manifest["files"][file] = {
        "size": (place / file).stat().st_size,
        "sha256": sha256(place / file),
    }
    (place / "MANIFEST.json").write_text(json.dumps(manifest))


def without(content, keys):
    for section, names in keys.items():
        for name in names:
            (content[section] if section else content).pop(name, None)


def test_an_older_run_goes_on_and_ends(run):
    (before,) = checkpoint_steps(run / "checkpoints")
    logged = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    model = resume(run)
    steps = checkpoint_steps(run / "checkpoints")
    assert steps[0] == before
    assert model.facts["steps"] == steps[-1] > before
    again = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    # It went on: what was logged before the checkpoint is still there, what came after is new.
    kept = [record for record in logged if record["step"] <= before]
    assert kept
    assert again[: len(kept)] == kept
    assert {record["step"] for record in again[len(kept) :]} == {*range(before + 1, steps[-1] + 1)}
    assert loang.load(run).sample(1).shape[0] == 1


def test_the_first_files_of_a_format_lacked_what_came_later(run):
    whole = resume(shutil.copytree(run, run.with_name("whole")))
    content = json.loads((run / "config.json").read_text())
    without(content["settings"], LATER["config"])
    (run / "config.json").write_text(json.dumps(content))
    (place,) = (run / "checkpoints").iterdir()
    change(place, "state.json", lambda state: without(state, LATER["state"]))
    again = resume(run)
    one, other = whole.denoiser.state_dict(), again.denoiser.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    "edit",
    [
        lambda state: state.pop("facts"),
        lambda state: state["facts"].pop("fingerprint"),
        lambda state: state["progress"].update(more=1),
    ],
)
def test_a_state_that_no_run_wrote_is_an_error_for_people(run, edit):
    """Found by fuzzing."""
    (place,) = (run / "checkpoints").iterdir()
    change(place, "state.json", edit)
    with pytest.raises(LoangError, match=r"not those that this run|does not fit"):
        resume(run)
