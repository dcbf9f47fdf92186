"""Checkpoints are whole or do not exist, whatever happens while they are written."""

import contextlib
import json
import os
import shutil

import faults
import pytest
import torch
from faults import faulty

import loang
from loang.errors import LoangError
from loang.files import write_text
from loang.training import checkpoint
from loang.training.checkpoint import Checkpoint
from loang.training.folder import checkpoint_steps

pytestmark = pytest.mark.usefixtures("unchecked_signatures")


def some(value=1.0):
    return Checkpoint({"model": {"w": torch.full((3,), value)}}, {"progress": {"step": 1}})


def test_what_is_saved_is_loaded(tmp_path):
    checkpoint.save(tmp_path, 5, some(2.0))
    found, step, wrong = checkpoint.load_newest(tmp_path)
    assert step == 5
    assert wrong == []
    assert torch.equal(found.tensors["model"]["w"], torch.full((3,), 2.0))
    assert found.state == {"progress": {"step": 1}}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def calls_of_a_save(folder, monkeypatch):
    with faulty(monkeypatch) as disk:
        checkpoint.save(folder, 2, some(2.0))
    return disk.calls


def problem_of_a_save(folder, monkeypatch, call, kind):
    with faulty(monkeypatch, call, kind):
        try:
            checkpoint.save(folder, 2, some(2.0))
        except LoangError as error:
            return error.problem
    return None


def test_a_save_opens_writes_and_flushes_each_file_and_renames_once(tmp_path, monkeypatch):
    calls = calls_of_a_save(tmp_path, monkeypatch)
    files = 3  # model, state and manifest
    assert calls.count("replace") == 1
    # And flushes the folder of the files, and the one that it is renamed in.
    assert calls.count("fsync") == files + 2
    assert calls.index("replace") > max(i for i, call in enumerate(calls) if call == "write")


@pytest.mark.parametrize("kind", faults.KINDS)
@pytest.mark.parametrize("again", [False, True], ids=["a new step", "the same step again"])
def test_whatever_call_of_a_save_fails_the_checkpoint_before_it_loads(
    tmp_path, monkeypatch, kind, again
):
    calls = len(calls_of_a_save(tmp_path / "count", monkeypatch)) + again
    failures = 0
    for call in range(calls):
        folder = tmp_path / str(call)
        checkpoint.save(folder, 2 if again else 1, some(1.0))
        before = names(folder)
        problem = problem_of_a_save(folder, monkeypatch, call, kind)
        if problem is not None:
            failures += 1
            assert f"can't be written: {os.strerror(faults.KINDS[kind])}" in problem
        checkpoint.tidy(folder)  # what the next save begins with
        found, step, wrong = checkpoint.load_newest(folder)
        assert not wrong
        assert names(folder) in (before, sorted({*before, "step-00000002"}))
        value = float(found.tensors["model"]["w"][0])
        assert (step, value) in ((1, 1.0), (2, 1.0), (2, 2.0))
        checkpoint.save(folder, 3, some(3.0))
        assert checkpoint.load_newest(folder)[1] == 3
    if kind == "short write":
        assert failures == 0  # the rest is written by a second call
    else:
        assert failures >= calls - 2


@pytest.mark.parametrize("kind", ["full", "broken", "cut write"])
def test_whatever_call_fails_a_file_that_is_replaced_stays_as_it_was(tmp_path, monkeypatch, kind):
    path = tmp_path / "model.safetensors"
    write_text(path, "before")
    with faulty(monkeypatch) as disk:
        write_text(path, "counted")
    for call in range(len(disk.calls)):
        write_text(path, "before")
        told = contextlib.suppress(LoangError)
        with told, faulty(monkeypatch, call, kind):
            write_text(path, "after " * 99)
        assert path.read_text() in ("before", "after " * 99)
        assert names(tmp_path) == [path.name]


def test_weights_that_are_no_numbers_are_never_saved(tmp_path):
    checkpoint.save(tmp_path, 1, some())
    with pytest.raises(LoangError, match="step 2 is not written: w has values that are no numbers"):
        checkpoint.save(tmp_path, 2, some(float("nan")))
    assert names(tmp_path) == ["step-00000001"]


def test_a_deletion_that_is_cut_short_leaves_nothing_that_looks_whole(tmp_path, monkeypatch):
    for step in (1, 2, 3):
        checkpoint.save(tmp_path, step, some())

    def cut(place, **_):
        (place / "model.safetensors").unlink()
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", cut)
        checkpoint.rotate(tmp_path, keep=1)
    assert checkpoint_steps(tmp_path) == [3]
    checkpoint.save(tmp_path, 4, some())
    assert names(tmp_path) == ["step-00000003", "step-00000004"]


def test_a_replacement_that_is_cut_short_gives_back_what_it_would_have_replaced(tmp_path):
    checkpoint.save(tmp_path, 1, some(1.0))
    (tmp_path / "step-00000001").rename(tmp_path / ".step-00000001.replaced")
    checkpoint.tidy(tmp_path)
    assert checkpoint.load_newest(tmp_path)[1] == 1


def test_a_save_that_is_killed_leaves_nothing_that_loads(tmp_path, monkeypatch):
    """As if the power went after any file: the stage without its rename."""
    checkpoint.save(tmp_path, 1, some())
    stage = tmp_path / ".step-00000002"
    shutil.copytree(tmp_path / "step-00000001", stage)
    assert checkpoint_steps(tmp_path) == [1]
    without_manifest = tmp_path / "step-00000003"
    stage.rename(without_manifest)
    (without_manifest / "MANIFEST.json").unlink()
    assert checkpoint_steps(tmp_path) == [1]


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def flip(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


def remove(path):
    path.unlink()


@pytest.mark.parametrize("damage", [cut, flip, remove])
@pytest.mark.parametrize("file", ["model.safetensors", "state.json", "MANIFEST.json"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(tmp_path, damage, file):
    if (damage, file) == (flip, "MANIFEST.json"):
        damage = cut  # its last byte is a bracket: a flip is no JSON, as a cut
    checkpoint.save(tmp_path, 1, some(1.0))
    checkpoint.save(tmp_path, 2, some(2.0))
    damage(tmp_path / "step-00000002" / file)
    found, step, wrong = checkpoint.load_newest(tmp_path)
    assert step == 1
    assert found.tensors["model"]["w"][0] == 1
    if (damage, file) != (remove, "MANIFEST.json"):
        assert "step-00000002" in wrong[0]


def test_with_no_whole_checkpoint_left_the_error_says_what_to_do(tmp_path):
    checkpoint.save(tmp_path, 1, some())
    cut(tmp_path / "step-00000001" / "model.safetensors")
    with pytest.raises(LoangError, match=r"no whole checkpoint.*model.safetensors.*--overwrite"):
        checkpoint.load_newest(tmp_path)


def test_rotation_keeps_the_newest_and_the_best(tmp_path):
    for step in range(1, 7):
        checkpoint.save(tmp_path, step, some())
    checkpoint.rotate(tmp_path, keep=2, spared=[3])
    assert checkpoint_steps(tmp_path) == [3, 5, 6]
    checkpoint.rotate(tmp_path, keep=0)
    assert checkpoint_steps(tmp_path) == [6]


def test_a_run_keeps_two_and_the_best_and_writes_no_pickle(pictures, tiny, tmp_path):
    sets = [change for change in tiny if not change.startswith("training.keep")]
    loang.train(pictures, out=tmp_path / "run", budget="512 images", changes=sets)
    steps = checkpoint_steps(tmp_path / "run" / "checkpoints")
    assert steps[-2:] == [24, 32]
    assert len(steps) <= 3
    kinds = {path.suffix for path in (tmp_path / "run").rglob("*") if path.is_file()}
    # The last is the lock, whose whole name is `.lock`.
    assert kinds <= {".safetensors", ".json", ".jsonl", ".png", ".gif", ".md", ""}


def test_the_best_checkpoint_is_the_one_of_the_lowest_validation_loss(whole):
    records = [json.loads(line) for line in (whole / "log.jsonl").read_text().splitlines()]
    losses = {r["step"]: r["validation_loss_ema"] for r in records if "validation_loss_ema" in r}
    state = json.loads((whole / "checkpoints" / "step-00000032" / "state.json").read_text())
    assert state["facts"]["best"]["step"] == min(losses, key=losses.get)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such link")
def test_a_full_disk_is_told_in_a_sentence(tmp_path):
    """/dev/full refuses every byte, as a full disk does."""
    from loang.files import write_text

    if not os.path.exists("/dev/full"):  # noqa: PTH110 (a device, no file)
        pytest.skip("this system has no /dev/full")
    target = tmp_path / "log.jsonl"
    (tmp_path / f".log.jsonl.{os.getpid()}.jsonl").symlink_to("/dev/full")
    with pytest.raises(LoangError, match=r"can't be written: No space left on device"):
        write_text(target, "x" * 100_000)
    assert not target.exists()
