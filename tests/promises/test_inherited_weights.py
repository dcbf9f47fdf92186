"""A run that starts from another model's weights needs that model once."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file
from test_many_processes import assert_same_curve, fine, training
from test_resume import assert_same, everything, stopped_at
from typer.testing import CliRunner

import loang
from jobs import job
from loang.cli.app import app
from loang.errors import LoangError

pytestmark = pytest.mark.usefixtures("unchecked_signatures", "asked_for")


def heir(pictures, model, out, budget="128 images", **more):
    return loang.train(pictures, out=out, start_from=model, budget=budget, device="cpu", **more)


def first_loss(run):
    lines = map(json.loads, (run / "log.jsonl").read_text().splitlines())
    return next(line["loss"] for line in lines if line.get("loss") is not None)


def test_its_first_checkpoint_holds_the_model_s_weights(whole, pictures, tmp_path):
    run = loang.api.start(pictures, out=tmp_path / "heir", start_from=whole, device="cpu")
    run.lock.release()
    place = tmp_path / "heir" / "checkpoints" / "step-00000000"
    known = load_file(whole / "model.safetensors")
    for name in ("model", "ema"):
        found = load_file(place / f"{name}.safetensors")
        assert known.keys() == found.keys()
        assert all(torch.equal(known[key], found[key]) for key in known)


def test_it_begins_where_the_model_was(whole, pictures, tiny, tmp_path):
    heir(pictures, whole, tmp_path / "heir")
    fresh = tmp_path / "fresh"
    loang.train(pictures, out=fresh, budget="128 images", changes=tiny, device="cpu")
    assert first_loss(tmp_path / "heir") < 0.8 * first_loss(fresh)


def test_it_is_gone_on_with_exactly_when_the_model_is_gone(copied, pictures, tmp_path):
    run = tmp_path / "heir"
    heir(pictures, copied, run, changes=["training.reports=2"])
    shutil.rmtree(copied)
    for step in (0, 4):
        again = tmp_path / f"from-{step}"
        stopped_at(run, again, step)
        model = loang.train(out=again, resume=True)
        assert_same(everything(run), everything(again))
        assert model.facts["started_from"] == "a model of pictures.npz (512 images seen)"
    assert (
        "| started from | a model of pictures.npz (512 images seen) |"
        in (again / "README.md").read_text()
    )


def test_a_model_that_the_run_would_replace_is_refused(copied, pictures):
    before = (copied / "model.safetensors").read_bytes()
    for named in (copied, copied / "model.safetensors"):
        with pytest.raises(LoangError, match="The model itself lies in"):
            heir(pictures, named, copied, overwrite=True)
    assert (copied / "model.safetensors").read_bytes() == before


def test_a_run_that_is_gone_on_with_takes_no_others(copied):
    with pytest.raises(LoangError, match="has weights of its own"):
        loang.train(out=copied, resume=True, start_from=copied)


def test_as_a_command(copied, pictures, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def loangs(*words):
        found = CliRunner().invoke(app, ["train", *map(str, words)])
        return found.exit_code, " ".join((found.output + str(found.exception or "")).split())

    status, said = loangs(pictures, "--from", copied, "--images", 64, "--device", "cpu")
    assert status == 0, said
    assert "It starts from the weights of a model of pictures.npz (512 images seen), to" in said
    assert (tmp_path / "runs" / "pictures-from-run" / "model.safetensors").exists()
    status, said = loangs("--from", copied, "--images", 64, "--dry-run", "--device", "cpu")
    assert status == 0
    assert "network.width = 8" in said
    status, said = loangs(pictures, "--from", "nothing")
    assert status != 0
    assert "There is no model at nothing" in said


@pytest.mark.slow
@pytest.mark.parametrize("extra", [(), ("training.shard=true",)], ids=["whole", "sharded"])
def test_of_many_processes_it_has_the_same_losses(whole, pictures, tiny, tmp_path, extra):
    heir(pictures, whole, tmp_path / "one", budget="320 images", precision="float32")
    asked = training(pictures, extra, tmp_path / "two", "--from", str(whole))
    fine(job(2, *asked).ended())
    assert_same_curve(tmp_path / "one", tmp_path / "two")
