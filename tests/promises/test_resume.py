"""A run that is stopped at a checkpoint and gone on with ends as one that never stopped."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import loang
from loang.errors import LoangError
from loang.files import sha256
from loang.training.folder import checkpoint_steps

IMAGES = 512  # as `finished` in conftest.py
pytestmark = pytest.mark.usefixtures("unchecked_signatures", "asked_for")


def train(pictures, out, tiny, **more):
    return loang.train(
        pictures, out=out, budget=f"{IMAGES} images", changes=tiny, device="cpu", **more
    )


def everything(run):
    """All tensors of a run's last checkpoint, by file and name."""
    last = run / "checkpoints" / f"step-{checkpoint_steps(run / 'checkpoints')[-1]:08d}"
    return {
        f"{file.stem}/{name}": tensor
        for file in sorted(last.glob("*.safetensors"))
        for name, tensor in load_file(file).items()
    }


def assert_same(one, other):
    assert one.keys() == other.keys()
    different = [name for name in one if not torch.equal(one[name], other[name])]
    assert different == []


def stopped_at(run, copy, step):
    """The run as it lay on the disk after the checkpoint of that step."""
    shutil.copytree(run, copy)
    for later in checkpoint_steps(copy / "checkpoints"):
        if later > step:
            shutil.rmtree(copy / "checkpoints" / f"step-{later:08d}")
    (copy / "model.safetensors").unlink()
    return copy / "checkpoints" / f"step-{step:08d}"


def change(place, file, edit):
    """Edit one file of a checkpoint and put the manifest right, as only a bug of ours could."""
    path = place / file
    if path.suffix == ".json":
        content = json.loads(path.read_text())
        edit(content)
        path.write_text(json.dumps(content))
    else:
        tensors = load_file(path)
        edit(tensors)
        save_file(tensors, path)
    manifest = json.loads((place / "MANIFEST.json").read_text())
    manifest["files"][file] = {"size": path.stat().st_size, "sha256": sha256(path)}
    (place / "MANIFEST.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("stops", "extra"),
    [
        pytest.param((8, 24), (), id="labels", marks=pytest.mark.slow),
        pytest.param(
            (8, 24),
            ("data.labels=false", "data.flips=true"),
            id="flips",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            (24,),
            ("data.flips=true", "data.rotations=true", "data.shifts=2", "data.told=true"),
            id="augmentation",
            marks=pytest.mark.slow,
        ),
        pytest.param((8, 24), ("ema.kind=constant",), id="constant-ema", marks=pytest.mark.slow),
        pytest.param(
            (24,), ("network.dropout=0.3", "training.micro_batch=9"), id="dropout-accumulation"
        ),
        pytest.param((24,), ("training.precision=bfloat16",), id="bfloat16"),
        pytest.param((24,), ("optimizer.kind=muon", "network.width=16"), id="muon"),
        # What these remember grows: it is little at the first stop, and more at the second.
        pytest.param(
            (8, 24),
            (
                *("training.levels=importance", "training.stratified=true", "schedule.steps=5"),
                *("training.micro_batch=9", "denoiser.learn_variance=true"),
            ),
            id="importance-variances",
        ),
        pytest.param(
            (8, 24),
            (
                *("schedule.kind=flow", "denoiser.predicts=flow", "training.weighting=learned"),
                *("training.pairing=immiscible", "network.self_conditioning=true"),
                *("training.levels=logit-normal", "training.stratified=true"),
            ),
            id="flow-learnt-weights-pairs-estimates",
        ),
    ],
)
def test_a_resumed_run_ends_bit_for_bit_as_an_uninterrupted_one(
    pictures, tiny, tmp_path, asked_for, stops, extra
):
    whole = tmp_path / "whole"
    model = train(pictures, whole, (*tiny, *extra))
    assert checkpoint_steps(whole / "checkpoints") == [8, 16, 24, 32]
    for step in stops:
        stopped_at(whole, tmp_path / f"from-{step}", step)
        asked_for.clear()
        again = loang.train(out=tmp_path / f"from-{step}", resume=True)
        assert set(asked_for) == {"training_chart", "save_walk"}
        assert_same(everything(whole), everything(tmp_path / f"from-{step}"))
        one, other = model.denoiser.state_dict(), again.denoiser.state_dict()
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_what_may_differ_changes_nothing(whole, tmp_path):
    """Another folder, and reports, checkpoints and validations at other times."""
    stopped_at(whole, tmp_path / "moved", 16)
    other = ["training.reports=7", "training.checkpoint_minutes=0.0001", "training.keep=1"]
    loang.train(out=tmp_path / "moved", resume=True, changes=other)
    assert_same(everything(whole), everything(tmp_path / "moved"))


def test_a_run_whose_checkpoints_are_gone_keeps_its_model(copied):
    shutil.rmtree(copied / "checkpoints")
    with pytest.raises(LoangError, match=r"are gone; only its model is left.*--overwrite"):
        loang.train(out=copied, resume=True)
    loang.load(copied)


def test_a_budget_of_time_goes_on_with_the_seconds_that_are_used(pictures, tiny, tmp_path):
    run = tmp_path / "run"
    loang.train(pictures, out=run, budget="3s", changes=tiny)
    first = checkpoint_steps(run / "checkpoints")[1]
    place = stopped_at(run, tmp_path / "again", first)
    used = json.loads((place / "state.json").read_text())["progress"]["seconds"]
    assert used > 1
    loang.train(out=tmp_path / "again", resume=True)
    lines = (tmp_path / "again" / "log.jsonl").read_text().splitlines()
    seconds = [r["seconds"] for r in map(json.loads, lines) if r["step"] > first]
    assert min(seconds) >= used
    assert max(seconds) < 3 + 2  # what the last report takes


@pytest.mark.slow
def test_a_run_that_memory_made_compute_fewer_images_at_once_goes_on_with_so_many(
    pictures, tiny, tmp_path, said, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr("loang.training.run.images_that_fit", lambda trainer, free: 9)
        train(pictures, tmp_path / "whole", tiny, display=said)
    assert said.about("Memory is too small for 16 images at once: going on with 9")
    stopped_at(tmp_path / "whole", tmp_path / "again", 16)
    loang.train(out=tmp_path / "again", resume=True)
    assert_same(everything(tmp_path / "whole"), everything(tmp_path / "again"))


def test_other_hardware_is_told(whole, tmp_path, said):
    place = stopped_at(whole, tmp_path / "again", 24)

    def elsewhere(state):
        state["facts"]["hardware"] = "NVIDIA H100, bfloat16, torch 2.13.0"

    change(place, "state.json", elsewhere)
    loang.train(out=tmp_path / "again", resume=True, display=said)
    assert said.about("so far this run computed on NVIDIA H100, bfloat16, torch 2.13.0, and now")


def test_images_that_have_moved_are_found_again_the_next_time(copied, pictures, tmp_path):
    moved = pictures.rename(tmp_path / "moved.npz")
    with pytest.raises(LoangError, match=r"pictures\.npz"):
        loang.train(out=copied, resume=True)
    loang.train(moved, out=copied, resume=True)
    loang.train(out=copied, resume=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_last_pictures_are_drawn_says_that_training_is_over(
    pictures, tiny, tmp_path, monkeypatch, number
):
    monkeypatch.setattr(
        "loang.training.reporter.pictures.save_walk",
        lambda *_, **__: os.kill(os.getpid(), number),
    )
    with pytest.raises(LoangError, match=r"training is over, .* model file are written") as told:
        train(pictures, tmp_path / "run", tiny)
    assert told.value.exit_status == 128 + number
    loang.load(tmp_path / "run")


def test_a_run_that_was_killed_before_its_first_checkpoint_starts_anew(whole, tmp_path, said):
    killed = shutil.copytree(whole, tmp_path / "killed")
    shutil.rmtree(killed / "checkpoints")
    (killed / "model.safetensors").unlink()
    (killed / ".config.json.999999999.json").write_text("{")  # what the killed process left
    loang.train(out=killed, resume=True, display=said)
    assert said.about("No checkpoint was written yet: training starts anew.")
    assert_same(everything(whole), everything(killed))
    assert not list(killed.glob(".config*"))


def test_the_log_of_a_resumed_run_has_no_line_twice(whole, tmp_path):
    stopped_at(whole, tmp_path / "again", 16)
    loang.train(out=tmp_path / "again", resume=True)
    logs = [
        [
            (record["step"], record.get("loss"), record.get("validation_loss_ema"))
            for record in map(json.loads, (run / "log.jsonl").read_text().splitlines())
        ]
        for run in (whole, tmp_path / "again")
    ]
    assert len(logs[0]) == len(set(logs[0]))
    assert [line for line in logs[0] if line[2]] == [line for line in logs[1] if line[2]]


def zero_moments(tensors):
    for name, tensor in tensors.items():
        if name.endswith("exp_avg"):
            tensor.zero_()


def earlier_position(state):
    state["progress"]["images"] -= 16


def earlier_step(state):
    state["progress"]["step"] -= 1


def zero_one(tensors):
    next(iter(tensors.values())).zero_()


@pytest.mark.parametrize(
    ("file", "edit"),
    [
        ("optimizer.safetensors", zero_moments),
        ("ema.safetensors", zero_one),
        pytest.param("model.safetensors", zero_one, marks=pytest.mark.slow),
        pytest.param("state.json", earlier_position, marks=pytest.mark.slow),
        ("state.json", earlier_step),
    ],
)
def test_each_ingredient_of_a_checkpoint_is_needed(whole, tmp_path, file, edit):
    place = stopped_at(whole, tmp_path / "again", 24)
    change(place, file, edit)
    loang.train(out=tmp_path / "again", resume=True)
    one, other = everything(whole), everything(tmp_path / "again")
    assert any(not torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("before", ["adamw", "muon"])
def test_a_checkpoint_of_another_optimizer_is_an_error_for_people(pictures, tiny, tmp_path, before):
    out = tmp_path / "run"
    kind = f"optimizer.kind={before}"
    train(pictures, out, (*tiny, "network.width=16", kind))
    after = {"adamw": "muon", "muon": "adamw"}[before]
    config = out / "config.json"
    config.write_text(config.read_text().replace(f'"kind": "{before}"', f'"kind": "{after}"'))
    stopped_at(out, tmp_path / "again", 24)
    with pytest.raises(LoangError, match="does not fit the settings"):
        loang.train(out=tmp_path / "again", resume=True)


def test_a_checkpoint_without_what_its_objective_remembers_is_an_error_for_people(copied):
    config = copied / "config.json"
    config.write_text(config.read_text().replace('"levels": "uniform"', '"levels": "importance"'))
    with pytest.raises(LoangError, match="does not fit the settings"):
        loang.train(out=copied, resume=True)


@pytest.mark.parametrize("reports", [1, 16])
def test_pictures_and_validation_change_no_training_step(whole, pictures, tiny, tmp_path, reports):
    """Four times in the run that is there."""
    others = [change for change in tiny if not change.startswith("training.reports")]
    train(pictures, tmp_path / "run", (*others, f"training.reports={reports}"))
    assert_same(everything(whole), everything(tmp_path / "run"))


def test_what_would_change_the_result_is_named_and_refused(copied):
    with pytest.raises(LoangError, match=r"training\.seed is 0, not 3.*--out"):
        loang.train(out=copied, resume=True, seed=3)
    with pytest.raises(LoangError, match=r"training\.batch is 16, not 32"):
        loang.train(out=copied, resume=True, changes=["training.batch=32"])
    with pytest.raises(LoangError, match=r"training\.micro_batch is None, not 4"):
        loang.train(out=copied, resume=True, changes=["training.micro_batch=4"])
    with pytest.raises(LoangError, match="preset is 'quick', not 'tutorial'"):
        loang.train(out=copied, resume=True, preset="tutorial")


def test_a_data_set_may_have_moved(copied, pictures, tmp_path):
    moved = pictures.rename(tmp_path / "moved.npz")
    loang.train(moved, out=copied, resume=True)


def test_settings_that_were_edited_by_hand_are_an_error_for_people(copied):
    config = copied / "config.json"
    config.write_text(config.read_text().replace('"width": 8', '"width": 16'))
    with pytest.raises(LoangError, match="does not fit the settings"):
        loang.train(out=copied, resume=True)
    config.write_text("{")
    with pytest.raises(LoangError, match=r"config\.json can't be read"):
        loang.train(out=copied, resume=True)


def test_a_file_is_no_run(copied):
    with pytest.raises(LoangError, match=r"There is no run in .*model\.safetensors to go on with"):
        loang.train(out=copied / "model.safetensors", resume=True)


def test_after_damaged_checkpoints_the_new_ones_are_kept(copied):
    place = copied / "checkpoints"
    for step in (8, 16):
        shutil.rmtree(place / f"step-{step:08d}")
    (place / "step-00000032" / "model.safetensors").write_bytes(b"cut")
    loang.train(out=copied, resume=True, changes=["training.keep=2"])
    assert checkpoint_steps(place)[-1] == 32
    assert (place / "step-00000032.damaged").exists()
    assert loang.load(copied).facts["images"] == IMAGES


def test_a_budget_of_time_ends_with_a_report_and_a_checkpoint_of_its_last_step(
    pictures, tiny, tmp_path
):
    """However long the measuring takes: 2 s of budget, and reports that take longer."""
    run = tmp_path / "run"
    changes = [*tiny, "training.reports=50", "training.keep=1"]
    model = loang.train(pictures, out=run, budget="2s", changes=changes)
    records = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    last = max(record["step"] for record in records)
    assert model.facts["steps"] == last
    assert checkpoint_steps(run / "checkpoints")[-1] == last
    assert any(r["step"] == last and "validation_loss_ema" in r for r in records)
    assert f"{last:,} steps" in (run / "README.md").read_text()


def test_epochs_are_reported_each_with_the_loss_of_all_its_steps(pictures, tiny, tmp_path):
    run = tmp_path / "run"
    loang.train(pictures, out=run, budget="40 epochs", changes=[*tiny, "training.batch=256"])
    records = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    reports = [record for record in records if "validation_loss_ema" in record]
    # 256 of some 54 images: each step is nearly five epochs, and each ends in one report.
    assert len(reports) == len({record["step"] for record in records})
    assert len(reports) == 9
    for report in reports:
        losses = [r["loss"] for r in records if "loss" in r and r["step"] == report["step"]]
        assert report["training_loss"] == pytest.approx(losses[0])


def test_other_images_are_refused(copied, pictures):
    with np.load(pictures) as arrays:
        images, labels = arrays["images"].copy(), arrays["labels"]
    images[0, 0, 0] ^= 1
    np.savez(pictures, images=images, labels=labels)
    with pytest.raises(LoangError, match="not those that this run learned from"):
        loang.train(out=copied, resume=True)


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_a_signal_loses_nothing(pictures, tiny, tmp_path, number):
    """Stopped for real, in the middle, by a real signal; then gone on with."""
    command = [sys.executable, "-m", "loang", "train"]
    sets = [part for change in tiny for part in ("--set", change)]
    budget = ["--images", "1280"]
    out = tmp_path / "stopped"
    process = subprocess.Popen(
        [*command, str(pictures), *budget, *sets, "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    while not (out / "log.jsonl").exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number, said
    assert f"--resume --out {out}" in said
    assert "Traceback" not in said
    assert checkpoint_steps(out / "checkpoints")[-1] < 80
    loang.load(out).sample(1)  # the model file was written too

    torch.set_num_threads(1)
    loang.train(out=out, resume=True)
    loang.train(pictures, out=tmp_path / "whole", budget="1280 images", changes=tiny)
    assert_same(everything(tmp_path / "whole"), everything(out))
