"""A run that starts from another model's weights needs that model once."""

import json
import os
import shutil

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from test_many_processes import assert_same_curve, fine, training
from test_resume import assert_same, everything, stopped_at
from typer.testing import CliRunner

import loang
from jobs import job
from loang.cli.app import app
from loang.errors import LoangError
from loang.training.run import Run

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


def test_killed_before_its_first_checkpoint_it_does_not_begin_from_other_weights(
    whole, pictures, tmp_path, monkeypatch
):
    out = tmp_path / "heir"
    monkeypatch.setattr(Run, "take", lambda *_: os._exit(9))
    if (child := os.fork()) == 0:
        heir(pictures, whole, out)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    monkeypatch.undo()
    with pytest.raises(LoangError, match=r"they were another model's.*with --overwrite"):
        loang.train(out=out, resume=True)
    heir(pictures, whole, out, overwrite=True)


def test_where_its_first_checkpoint_fails_nothing_is_left_in_the_way(
    whole, pictures, tmp_path, monkeypatch
):
    def full(*_):
        raise LoangError("The disk is full.", "Free some space.")

    with monkeypatch.context() as patch:
        patch.setattr("loang.training.saver.checkpoint.save", full)
        with pytest.raises(LoangError, match="The disk is full"):
            heir(pictures, whole, tmp_path / "heir")
    heir(pictures, whole, tmp_path / "heir", budget="16 images")


def test_values_mean_to_the_network_what_they_meant(pictures, tiny, tmp_path):
    changes = (*tiny, "data.range=unit")
    model = loang.train(
        pictures, out=tmp_path / "unit", budget="256 images", changes=changes, device="cpu"
    )
    again = heir(pictures, tmp_path / "unit", tmp_path / "heir", budget="32 images")
    assert (again.spec.low, again.spec.high) == (model.spec.low, model.spec.high) == (-255, 255)


def test_other_labels_than_those_of_the_model_are_learnt(pictures, tiny, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(12):
        Image.new("L", (8, 8), 20 * number).save(folder / f"{number}.png")
    for name, kinds in (("old", "ab"), ("new", "cd")):
        lines = [f"{number}.png,{kinds[number % 2]}" for number in range(12)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["file_name,label", *lines]))
    labels = {name: str(tmp_path / f"{name}.csv") for name in ("old", "new")}
    asked = {"budget": "16 images", "device": "cpu"}
    out = tmp_path / "old-run"
    loang.train(folder, out=out, labels_file=labels["old"], changes=tiny, **asked)
    model = loang.train(
        out=tmp_path / "new-run", start_from=out, labels_file=labels["new"], **asked
    )
    assert model.spec.class_names == ("c", "d")
    (out / "config.json").write_text(
        json.dumps(json.loads((out / "config.json").read_text()) | {"places": "abc"})
    )
    model = loang.train(out=tmp_path / "third", start_from=out, **asked)
    assert model.spec.class_names == ("a", "b")


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
