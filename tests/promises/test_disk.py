"""A disk that is full or broken costs a checkpoint, a picture or a line; never the run."""

import json
import subprocess
import sys
import threading
import time

import pytest
import torch
from faults import FullFor

import loang
from loang import files
from loang.errors import LoangError
from loang.tensors import TooLarge
from loang.tensors import read as read_tensors
from loang.training import checkpoint, reporter
from loang.training.checkpoint import Checkpoint
from loang.training.folder import checkpoint_steps
from loang.training.log import Log
from loang.training.saver import Saver

pytestmark = pytest.mark.usefixtures("unchecked_signatures")


def train(pictures, tiny, out, said, images=512, **more):
    return loang.train(
        pictures, out=out, budget=f"{images} images", changes=tiny, display=said, **more
    )


@pytest.mark.usefixtures("asked_for")
def test_a_disk_that_is_full_for_a_while_costs_a_checkpoint_and_training_goes_on(
    pictures, tiny, tmp_path, said, monkeypatch
):
    run = tmp_path / "run"
    monkeypatch.setattr(files, "os", FullFor(run / "checkpoints", 2))
    model = train(pictures, tiny, run, said)
    assert model.facts["images"] == 512
    warned = said.about("Training goes on")
    assert len(warned) == 2
    assert "can't be written: No space left on device. There is no checkpoint." in warned[0]
    assert checkpoint_steps(run / "checkpoints") == [24, 32]
    records = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert sum(record.get("event") == "not saved" for record in records) == 2


@pytest.mark.usefixtures("asked_for")
def test_at_the_end_a_full_disk_is_told_with_the_way_to_go_on(
    pictures, tiny, tmp_path, said, monkeypatch
):
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(files, "os", FullFor(run / "checkpoints" / ".step-00000032", 99))
        with pytest.raises(LoangError) as told:
            train(pictures, tiny, run, said)
    assert "Training is over, but not all is saved" in told.value.problem
    assert "The last whole checkpoint is that of step 24." in told.value.problem
    assert f"loang train --resume --out {run}" in told.value.remedy
    # And that way works.
    loang.train(out=run, resume=True)
    assert checkpoint_steps(run / "checkpoints")[-1] == 32


def test_too_little_space_is_told_before_training_starts(pictures, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "free_space", lambda place: 1000)
    with pytest.raises(LoangError, match=r"is full: .* are to be written, and .* are missing"):
        loang.train(pictures, out=tmp_path / "run", changes=tiny)
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("asked_for")
def test_space_for_less_than_all_checkpoints_is_told_at_the_start(
    pictures, tiny, tmp_path, said, monkeypatch
):
    monkeypatch.setattr(files, "free_space", lambda place: 2_000_000)
    train(pictures, tiny, tmp_path / "run", said)
    (warning,) = said.about("Warning")
    assert "the disk has 2.0 MB left, and up to 11 checkpoints take" in warning


@pytest.mark.usefixtures("asked_for")
def test_too_little_space_for_a_checkpoint_is_told_before_it_is_begun(
    pictures, tiny, tmp_path, said, monkeypatch
):
    run, asked = tmp_path / "run", []

    def free_space(place):
        if run not in (place, *place.parents):  # the pack of the images
            return 2**40
        asked.append(place)
        return 2**40 if len(asked) != 4 else 5000

    monkeypatch.setattr(files, "free_space", free_space)
    train(pictures, tiny, run, said)
    (warning,) = said.about("Training goes on")
    assert "bytes are missing" in warning or "MB are missing" in warning
    assert "The last whole checkpoint is that of step 8." in warning
    assert checkpoint_steps(run / "checkpoints") == [8, 24, 32]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_when_the_system_refuses_every_large_file_training_still_comes_to_its_end(
    pictures, tiny, tmp_path
):
    """The kernel itself refuses what is longer than 4,000 bytes: weights, pictures, the log."""
    run = tmp_path / "run"
    sets = [part for change in tiny for part in ("--set", change)]
    limited = (
        "import resource, sys\nfrom loang.cli import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))\n"
        "sys.argv = ['loang', *sys.argv[1:]]\nmain()\n"
    )
    command = ["train", str(pictures), "--images", "512", *sets, "--out", str(run)]
    ended = subprocess.run(
        [sys.executable, "-c", limited, *command],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 2, ended
    assert "Traceback" not in ended.stderr + ended.stdout
    assert "100%" in ended.stdout
    assert "log.jsonl can't be written: File too large." in ended.stdout
    assert "Training is over, but not all is saved" in ended.stderr
    assert "The log can't be written, and waits" in ended.stdout
    assert "The chart of the losses can't be drawn" in ended.stdout
    left = {path.name for path in run.iterdir()}
    assert left == {".lock", "checkpoints", "config.json", "log.jsonl", "samples"}
    assert list((run / "checkpoints").iterdir()) == []
    for line in (run / "log.jsonl").read_text().splitlines():
        json.loads(line)


def test_a_line_that_the_disk_refused_is_written_with_the_next_one(tmp_path, monkeypatch):
    log = Log(tmp_path / "log.jsonl")
    log.append({"step": 1})
    log.path.chmod(0o400)
    place = log.path
    log.path = tmp_path / "nowhere" / "log.jsonl"
    for step in (2, 3):
        with pytest.raises(LoangError, match="can't be written"):
            log.append({"step": step})
    log.path = place
    place.chmod(0o600)
    log.append({"step": 4})
    assert [record["step"] for record in log.read()] == [1, 2, 3, 4]


def test_a_picture_or_a_measurement_that_fails_in_any_way_ends_no_run(
    pictures, tiny, tmp_path, said, monkeypatch
):
    def fail(*_, **__):
        raise ZeroDivisionError("a fault of ours")

    monkeypatch.setattr(reporter.pictures, "save_samples", fail)
    monkeypatch.setattr(reporter.pictures, "training_chart", fail)
    monkeypatch.setattr(reporter.pictures, "save_walk", fail)
    model = train(
        pictures, (*tiny, "evaluation.samples=4", "evaluation.features=pixels"), tmp_path, said
    )
    assert model.facts["images"] == 512
    told = said.about("Samples can't be drawn: ZeroDivisionError: a fault of ours.")
    # Of all previews once, and of the last sheet, when no training goes on any more.
    assert [line.endswith("Training goes on.") for line in told] == [True, False]


@pytest.mark.usefixtures("asked_for")
def test_the_only_checkpoint_is_deleted_when_the_next_one_is_whole_and_not_before(
    pictures, tiny, tmp_path, said, monkeypatch
):
    run = tmp_path / "run"
    monkeypatch.setattr(files, "os", FullFor(run / "checkpoints" / ".step-00000032", 99))
    one = [change for change in tiny if "keep" not in change]
    with pytest.raises(LoangError, match="last whole checkpoint is that of step 24"):
        train(pictures, (*one, "training.keep=1"), run, said)
    assert 24 in checkpoint_steps(run / "checkpoints")


@pytest.mark.usefixtures("asked_for")
def test_the_best_checkpoint_stays(pictures, tiny, tmp_path, said, monkeypatch):
    losses = iter([3.0, 1.0, 2.0, 2.5])
    monkeypatch.setattr(reporter.Trainer, "validate", lambda self, images: next(losses))
    one = [change for change in tiny if "keep" not in change]
    train(pictures, (*one, "training.keep=1"), tmp_path / "run", said)
    assert checkpoint_steps(tmp_path / "run" / "checkpoints") == [16, 32]


def test_training_goes_on_while_a_save_takes_its_time_and_the_next_save_waits(
    tmp_path, monkeypatch
):
    written, may_go_on, save = [], threading.Event(), checkpoint.save

    def slow(folder, step, state):
        assert may_go_on.wait(20)
        written.append(step)
        return save(folder, step, state)

    monkeypatch.setattr(checkpoint, "save", slow)
    weights = torch.ones(3)
    saver = Saver(tmp_path, keep=9)
    saver.save(1, Checkpoint({"ema": {"w": weights}}, {}), lambda weights: None)
    weights += 1  # training goes on, and what is being written stays as it was
    assert saver.busy
    assert written == []
    released = []
    saver.after(lambda: released.append(written[:]))
    assert released == []
    threading.Timer(0.2, may_go_on.set).start()
    saver.save(2, Checkpoint({"ema": {"w": weights}}, {}), lambda weights: None)
    assert written[:1] == [1]
    saver.wait()
    assert saver.failures() == []
    assert float(read_tensors(tmp_path / "step-00000001" / "ema.safetensors")["w"][0]) == 1.0
    while not released:
        time.sleep(0.01)
    assert released[0][:1] == [1]


def test_a_checkpoint_that_only_lacks_memory_is_not_taken_for_damaged(tmp_path, monkeypatch):
    for step in (1, 2):
        state = {"progress": {"step": step}}
        checkpoint.save(tmp_path, step, Checkpoint({"model": {"w": torch.ones(3)}}, state))

    def too_large(path):
        raise TooLarge("its 9.0 GB do not fit in memory: 1.0 GB are free")

    monkeypatch.setattr(checkpoint, "read_tensors", too_large)
    with pytest.raises(LoangError, match=r"9\.0 GB do not fit in memory.*Close other programs"):
        checkpoint.load_newest(tmp_path)
