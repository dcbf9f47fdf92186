"""A disk that is full or broken costs a checkpoint, a picture or a line; never the run."""

import errno
import json
import os
import subprocess
import sys

import pytest
from faults import Disk

import loang
from loang import files
from loang.errors import LoangError
from loang.training import reporter
from loang.training.folder import checkpoint_steps
from loang.training.log import Log


def train(pictures, tiny, out, said, images=512, **more):
    return loang.train(
        pictures, out=out, budget=f"{images} images", changes=tiny, display=said, **more
    )


class FullFor(Disk):
    """Full from the first write within one folder on, for so many calls."""

    def __init__(self, folder, calls):
        super().__init__(None, "full")
        self.folder, self.left = str(folder), calls

    def _call(self, name):
        whole = super()._call(name)

        def call(*arguments, **more):
            if name == "open" and self.folder in str(arguments[0]) and self.left:
                self.left -= 1
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return whole(*arguments, **more)

        return call


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


def test_at_the_end_a_full_disk_is_told_with_the_way_to_go_on(
    pictures, tiny, tmp_path, said, monkeypatch
):
    run = tmp_path / "run"
    train(pictures, tiny, tmp_path / "whole", said)
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


def test_space_for_less_than_all_checkpoints_is_told_at_the_start(
    pictures, tiny, tmp_path, said, monkeypatch
):
    monkeypatch.setattr(files, "free_space", lambda place: 2_000_000)
    train(pictures, tiny, tmp_path / "run", said)
    (warning,) = said.about("Warning")
    assert "the disk has 2.0 MB left, and up to 11 checkpoints take" in warning


def test_too_little_space_for_a_checkpoint_is_told_before_it_is_begun(
    pictures, tiny, tmp_path, said, monkeypatch
):
    run, asked = tmp_path / "run", []

    def free_space(place):
        asked.append(place)
        return 2**40 if len(asked) != 4 else 5000

    monkeypatch.setattr(files, "free_space", free_space)
    train(pictures, tiny, run, said)
    (warning,) = said.about("Training goes on")
    assert "bytes are missing" in warning or "MB are missing" in warning
    assert "The last whole checkpoint is that of step 8." in warning
    assert checkpoint_steps(run / "checkpoints") == [8, 24, 32]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_when_the_system_refuses_every_large_file_training_still_comes_to_its_end(
    pictures, tiny, tmp_path
):
    """The kernel itself refuses what is longer than 3,000 bytes: weights, pictures, the log."""
    run = tmp_path / "run"
    sets = [part for change in tiny for part in ("--set", change)]
    limited = (
        "import resource, sys\nfrom loang.cli import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))\n"
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
        pictures, (*tiny, "evaluation.samples=4", "evaluation.features=own"), tmp_path, said
    )
    assert model.facts["images"] == 512
    assert len(said.about("Samples can't be drawn: ZeroDivisionError: a fault of ours.")) == 1
