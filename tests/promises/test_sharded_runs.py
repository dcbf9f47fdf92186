"""Runs whose weights no process holds whole: the same curve, and what was saved stays.

What one process does alone, the test's own does, as in test_many_processes.py.
"""

import json
import signal
import time

import numpy as np
import pytest
import torch

import loang
from jobs import Job, job
from loang import tensors
from loang.training.folder import checkpoint_steps

SHARD = "training.shard=true"
IMAGES = 320  # 20 steps
pytestmark = pytest.mark.usefixtures("unchecked_signatures", "asked_for")


def training(pictures, out, *changes, images=IMAGES):
    asked = ("train", pictures, "--images", images, "--out", out, "--device", "cpu")
    sets = [part for change in changes for part in ("--set", change)]
    return [*map(str, asked), "--precision", "float32", *sets]


def alone(pictures, out, *changes, images=IMAGES):
    """The run that `training` asks for, in one process."""
    changes = (*changes, "training.precision=float32")
    loang.train(pictures, out=out, budget=f"{images} images", changes=changes, device="cpu")
    return out


def losses(run):
    if not (run / "log.jsonl").exists():
        return {}
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines if line.get("loss") is not None}


def fine(ended):
    assert [status for status, _ in ended] == [0] * len(ended), ended
    return ended


def assert_same(one, other):
    """Loss curves and model files of two runs."""
    curves = losses(one), losses(other)
    assert curves[0].keys() == curves[1].keys()
    assert len(curves[0]) >= 15
    np.testing.assert_allclose(list(curves[0].values()), list(curves[1].values()), rtol=1e-5)
    models = [tensors.read(run / "model.safetensors") for run in (one, other)]
    assert models[0].keys() == models[1].keys()
    for name, weight in models[0].items():
        torch.testing.assert_close(weight, models[1][name], rtol=1e-4, atol=1e-5)


def until(started, there):
    while not there():
        assert started.processes[0].poll() is None, started.ended()
        time.sleep(0.02)


def stopped(size, run, asked):
    """A job that is asked to stop once it has learnt something more."""
    before = len(losses(run))
    started = job(size, *asked)
    until(started, lambda: len(losses(run)) > before)
    started.processes[0].send_signal(signal.SIGTERM)
    (status, said), *_ = started.ended(60)
    assert status == 128 + signal.SIGTERM
    assert "checkpoint and model file are written" in said


@pytest.mark.slow
def test_two_that_share_the_weights_are_as_one(pictures, tiny, tmp_path):
    more = "ema.snapshots=4", "ema.choose=true"
    alone(pictures, tmp_path / "one", *tiny, *more)
    two = fine(job(2, *training(pictures, tmp_path / "two", *tiny, *more, SHARD)).ended())
    assert_same(tmp_path / "one", tmp_path / "two")
    (_, said), (_, silent) = two
    assert "Averages by validation loss" in said
    assert "samples.png" in said
    assert silent == ""


@pytest.mark.slow
def test_a_killed_process_is_named_and_the_last_checkpoint_stays(pictures, tiny, tmp_path, said):
    run = tmp_path / "run"
    kept = "training.checkpoint_minutes=0.02", "training.reports=1"
    started = job(2, *training(pictures, run, *tiny, *kept, SHARD, images=1_600))
    try:
        until(started, lambda: checkpoint_steps(run / "checkpoints"))
        started.processes[1].kill()
        killed = time.monotonic()
        (status, told), _ = started.ended(60)
    finally:
        started.kill()
    assert time.monotonic() - killed < 60
    assert status == 2
    assert f"Process 1 of 2 (pid {started.processes[1].pid} on " in told
    step = checkpoint_steps(run / "checkpoints")[-1]
    assert f"was lost. The last whole checkpoint is that of step {step:,}. Go on" in told
    assert "Traceback" not in told

    loang.train(out=run, resume=True, changes=["training.shard=false"], display=said)
    assert said.about(f"Going on from step {step:,}")


@pytest.mark.slow
def test_one_goes_on_with_what_two_kept_and_two_with_what_one_did(pictures, tiny, tmp_path):
    run, asked = tmp_path / "run", (*tiny, "training.reports=1")
    alone(pictures, tmp_path / "never", *asked, images=3_200)
    resumed = ("train", "--resume", "--out", run, "--set")
    stopped(2, run, training(pictures, run, *asked, SHARD, images=3_200))
    stopped(1, run, (*resumed, "training.shard=false"))
    fine(job(2, *resumed, SHARD).ended())
    after, never = losses(run), losses(tmp_path / "never")
    # What is logged is a mean since the line before, which a stop moves.
    common = [step for step in after if step in never][-100:]
    assert len(common) > 50
    np.testing.assert_allclose(
        [after[step] for step in common], [never[step] for step in common], rtol=1e-3
    )


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="nothing can be stopped here")
def test_a_process_that_falls_silent_within_a_step_is_named(pictures, tiny, tmp_path):
    """Its connections stay open: torch by itself would wait for ten minutes."""
    run = tmp_path / "run"
    kept = "training.checkpoint_minutes=0.02", "training.reports=1"
    started = job(2, *training(pictures, run, *tiny, *kept, SHARD, images=1_000_000))
    try:
        until(started, lambda: checkpoint_steps(run / "checkpoints"))
        started.processes[1].send_signal(signal.SIGSTOP)
        said, _ = started.processes[0].communicate(timeout=60)
    finally:
        started.kill()
    assert started.processes[0].returncode == 2
    assert f"Process 1 of 2 (pid {started.processes[1].pid} on " in said
    assert "The last whole checkpoint is that of step" in said


BROKEN = """
import os, sys
from loang.training.trainer import Trainer
plain = Trainer.gradients
def gradients(self, part=None):
    loss = plain(self, part)
    here = 40 <= self.progress.step < {until} and self.progress.returns < {returns}
    return loss * float("nan") if here and os.environ["RANK"] == "1" else loss
Trainer.gradients = gradients
from loang.cli import main
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("minutes", [0.02, 60])
def test_after_a_return_all_go_on(minutes, pictures, tiny, tmp_path):
    """To a checkpoint, or to the start where there is none yet."""
    run, code = tmp_path / "run", BROKEN.format(until=80, returns=1)
    asked = *tiny, "training.reports=1", f"training.checkpoint_minutes={minutes}", SHARD
    ended = fine(Job([("-c", code, *training(pictures, run, *asked, images=2_560))] * 2).ended())
    assert "Going back to step" in ended[0][1]
    assert ("Going back to step 0" in ended[0][1]) == (minutes == 60)
    assert all(np.isfinite(list(losses(run).values())[-20:]))


@pytest.mark.slow
def test_a_run_that_can_t_go_on_says_what_is_wrong(pictures, tiny, tmp_path):
    code = BROKEN.format(until=10_000, returns=99)
    asked = training(pictures, tmp_path / "run", *tiny, SHARD, images=25_600)
    (status, said), (_, silent) = Job([("-c", code, *asked)] * 2).ended()
    assert status == 2
    assert "3 returns to a checkpoint with half the learning rate did not help" in said
    assert silent == ""


@pytest.mark.slow
def test_a_batch_that_can_t_be_divided_is_refused_once(pictures, tiny, tmp_path):
    asked = training(pictures, tmp_path / "run", *tiny, "training.batch=15", SHARD)
    (status, said), (followed, silent) = job(2, *asked).ended()
    assert (status, followed, silent) == (2, 1, "")
    assert "a batch of 15 can't be divided by 2" in said
