"""Many processes are one run: the same curve, one writer, nothing lost when one of them dies.

What one process does alone, the test's own does: another takes longer to start than to train.
"""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from typer.testing import CliRunner

import loang
from jobs import Job, job
from loang.cli.app import app
from loang.training.folder import checkpoint_steps

IMAGES = 320  # 20 steps
pytestmark = pytest.mark.usefixtures("unchecked_signatures", "asked_for")
FLOAT32 = ("--device", "cpu", "--precision", "float32")


def sets(*changes):
    return [part for change in changes for part in ("--set", change)]


def training(pictures, tiny, out, *more, images=IMAGES):
    asked = ("train", pictures, "--images", images, "--out", out, *FLOAT32)
    return [*map(str, asked), *sets(*tiny), *more]


def alone(pictures, changes, out, images=IMAGES):
    """The run that `training` asks for, in one process."""
    changes = (*changes, "training.precision=float32")
    loang.train(pictures, out=out, budget=f"{images} images", changes=changes, device="cpu")
    return out


def losses(run, name="loss"):
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return {line["step"]: line[name] for line in lines if line.get(name) is not None}


def assert_same_curve(one, other, tolerance=1e-4):
    one, other = losses(one), losses(other)
    assert one.keys() == other.keys()
    assert len(one) >= 15
    np.testing.assert_allclose(list(one.values()), list(other.values()), rtol=tolerance)


LATE = """
import datetime, sys, time
from loang.team import joining
joining.JOINING = datetime.timedelta(seconds=15)
from loang.cli import main
from loang.training.following import Following
opened = Following._opened
Following._opened = lambda *given: time.sleep(20) or opened(*given)
sys.argv = ["loang", *sys.argv[1:]]
main()
"""


@pytest.mark.slow
def test_one_that_reads_its_images_for_longer_than_a_sum_may_take_is_waited_for(
    pictures, tiny, tmp_path
):
    asked = training(pictures, tiny, tmp_path / "run", images=32)
    fine(Job([("-c", LATE, *asked)] * 2).ended())


def fine(ended):
    assert [status for status, _ in ended] == [0] * len(ended), ended
    return ended


@pytest.mark.parametrize(
    ("size", "extra"),
    [
        pytest.param(
            2, ("training.weighting=learned",), id="two-learned-weights", marks=pytest.mark.slow
        ),
        pytest.param(
            3,
            (
                *("training.levels=importance", "training.stratified=true", "schedule.steps=5"),
                "training.pairing=immiscible",
                *("network.self_conditioning=true", "training.micro_batch=2"),
                *("data.flips=true", "training.checkpoint_minutes=0.001"),
            ),
            id="three-with-all-that-knows-the-batch",
        ),
    ],
)
def test_the_losses_are_those_of_one_process(size, extra, pictures, tiny, tmp_path):
    changes = (*tiny, *extra)
    one = alone(pictures, changes, tmp_path / "one")
    many = fine(job(size, *training(pictures, changes, tmp_path / "many")).ended())
    assert_same_curve(one, tmp_path / "many")
    held_out = [losses(each, "validation_loss_ema") for each in (one, tmp_path / "many")]
    assert held_out[0]
    assert held_out[1] == pytest.approx(held_out[0], rel=1e-4)
    leader, *others = (said for _, said in many)
    assert "samples.png" in leader
    assert others == [""] * (size - 1)  # one speaks


@pytest.mark.parametrize("number", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_a_killed_process_is_named_and_another_number_goes_on(
    pictures, tiny, tmp_path, said, number
):
    run = tmp_path / "run"
    whole = ("training.reports=1", "training.validation_share=0", "training.checkpoint_minutes=60")
    asked = training(pictures, (*tiny, *whole), run, images=1_600)
    started = job(2, *asked)
    try:
        while not (run / "log.jsonl").exists() or len(losses(run)) < 2:
            assert started.processes[0].poll() is None, started.ended()
            time.sleep(0.02)
        started.processes[1].kill()
        killed = time.monotonic()
        (status, told), _ = started.ended(60)
    finally:
        started.kill()
    assert time.monotonic() - killed < 60
    assert status == 2
    assert f"Process 1 of 2 (pid {started.processes[1].pid} on " in told
    assert "was lost. Checkpoint and model file are written." in told
    (step,) = checkpoint_steps(run / "checkpoints")
    assert step > 1

    if number == 1:
        loang.train(out=run, resume=True, display=said)
        assert said.about(f"Going on from step {step:,}")
    else:
        ended = fine(job(number, "train", "--resume", "--out", run).ended())
        assert f"Going on from step {step:,}" in ended[0][1]
    never = losses(alone(pictures, (*tiny, *whole), tmp_path / "never", images=1_600))
    after = losses(run)
    # What is logged is a mean since the line before, which the stop has moved once.
    common = [each for each in after if each in never and each > step + 10][:20]
    assert len(common) == 20  # of many more, but rounding grows step by step
    np.testing.assert_allclose(
        [after[each] for each in common], [never[each] for each in common], rtol=1e-3
    )


@pytest.mark.slow
def test_a_stopped_job_is_saved_once_and_says_so_once(pictures, tiny, tmp_path):
    run = tmp_path / "run"
    started = job(2, *training(pictures, tiny, run, images=1_000_000))
    while not (run / "log.jsonl").exists() or not losses(run):
        assert started.processes[0].poll() is None, started.ended()
        time.sleep(0.02)
    for process in started.processes:
        process.send_signal(signal.SIGTERM)
    (status, said), (followed, silent) = started.ended(60)
    assert status == 128 + signal.SIGTERM
    assert "Stopped by SIGTERM; checkpoint and model file are written." in said
    assert (followed, silent) == (1, "")
    assert len(checkpoint_steps(run / "checkpoints")) >= 1


@pytest.mark.slow
def test_when_the_leader_dies_the_others_end(pictures, tiny, tmp_path):
    run = tmp_path / "run"
    started = job(2, *training(pictures, tiny, run, images=1_000_000))
    while not (run / "log.jsonl").exists() or not losses(run):
        assert started.processes[0].poll() is None, started.ended()
        time.sleep(0.02)
    started.processes[0].kill()
    _, (status, said) = started.ended(60)
    assert status == 2
    assert "Process 0 of 2" in said
    assert "Traceback" not in said


def test_a_mistake_is_told_once(pictures, tiny, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "model.safetensors").write_bytes(b"somebody's")
    (status, said), (followed, silent) = job(2, *training(pictures, tiny, tmp_path / "run")).ended()
    assert (status, followed, silent) == (2, 1, "")
    assert "holds no run, but files that a run would replace" in said


@pytest.mark.slow
def test_more_processes_than_images_of_a_batch_are_refused(pictures, tiny, tmp_path):
    asked = training(pictures, (*tiny, "training.batch=2"), tmp_path / "run")
    ended = job(3, *asked).ended()
    assert all("A batch of 2 can't be shared by 3 processes" in said for status, said in ended[:1])
    assert all(status for status, _ in ended)


@pytest.mark.slow
def test_a_student_is_taught_by_two(pictures, tiny, tmp_path):
    teacher = tmp_path / "teacher"
    alone(pictures, tiny, teacher)
    asked = ("distill", teacher, "--steps", 2, "--images", IMAGES, *FLOAT32, "--out")
    fine(job(1, *asked, tmp_path / "one").ended())
    fine(job(2, *asked, tmp_path / "two").ended())
    # Matching, from half of the budget on, makes much of small differences.
    assert_same_curve(tmp_path / "one", tmp_path / "two", tolerance=2e-2)


def test_samples_are_drawn_by_all_and_written_by_one(pictures, tiny, tmp_path):
    run = alone(pictures, tiny, tmp_path / "run")
    asked = ("sample", run, "-n", 23, "--batch", 4, "--out")
    done = CliRunner().invoke(app, [*map(str, asked), str(tmp_path / "one.npy")])
    assert done.exit_code == 0, done.output
    # One job draws both: to start another takes longer than to draw.
    both = """
import sys
from loang.cli import main
asked = sys.argv[1:]
at = asked.index("then")
for sys.argv in (["loang", *asked[:at]], ["loang", *asked[at + 1 :]]):
    try:
        main()
    except SystemExit as ended:
        if ended.code:
            raise
"""
    film = ("sample", run, "-n", 5, "--batch", 2, "--out", tmp_path / "three.png", "--gif")
    code = ("-c", both, *asked, tmp_path / "three.npy", "then", *film)
    ended = fine(Job([code] * 3).ended())
    assert [said for _, said in ended[1:]] == [""] * 2
    one, three = (np.load(tmp_path / f"{name}.npy") for name in ("one", "three"))
    assert one.shape == (23, 8, 8, 1)
    assert np.abs(one.astype(int) - three).max() <= 1
    assert (one != three).mean() < 0.01
    assert (tmp_path / "three.gif").exists()
    assert (tmp_path / "three.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.slow
def test_an_evaluation_s_samples_are_drawn_by_all(pictures, tiny, tmp_path):
    run = alone(pictures, tiny, tmp_path / "run")
    found = []
    for size in (1, 2):
        out = tmp_path / f"by-{size}"
        asked = ("evaluate", run, "-n", 60, "--features", "pixels", "--out", out)
        fine(job(size, *asked).ended())
        found.append(json.loads((out / "report.json").read_text()))
    assert found[0].keys() == found[1].keys()
    one, two = (str(each["spaces"]) for each in found)
    assert one[:200] == two[:200]


def test_a_sampling_that_goes_wrong_says_so_once(tmp_path):
    (status, said), (followed, silent) = job(2, "sample", tmp_path / "nowhere").ended()
    assert (status, followed, silent) == (2, 1, "")
    assert "nowhere" in said


def test_what_can_t_be_shared_is_refused(tmp_path):
    (status, said), (followed, silent) = job(2, "doctor", tmp_path).ended()
    assert (status, followed, silent) == (2, 2, "")
    assert "loang doctor works in one process" in said


def test_torchrun_starts_it(pictures, tiny, tmp_path):
    run = tmp_path / "run"
    asked = training(pictures, tiny, run)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    done = subprocess.run(
        [*command, "-m", "loang", *asked],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert (run / "samples.png").exists()
    assert done.stdout.count("100%") == 1


@pytest.mark.slow
def test_a_mistake_that_only_the_leader_meets_while_drawing_ends_all(pictures, tiny, tmp_path):
    run = alone(pictures, tiny, tmp_path / "run")
    # In the midst of it: the others have begun to draw, and wait for their samples to be taken.
    code = """
import os, sys
if os.environ["RANK"] == "0":
    from loang.model import Model
    whole = Model._stored
    def broken(self, x):
        raise MemoryError("out of memory")
    Model._stored = broken
from loang.cli import main
main()
"""
    asked = ("-c", code, "sample", run, "-n", 8, "--batch", 2, "--out", tmp_path / "some.npy")
    started = Job([asked] * 2)
    began = time.monotonic()
    (status, said), (followed, silent) = started.ended(60)
    assert time.monotonic() - began < 60
    assert status
    assert "out of memory" in said
    assert (followed, silent) == (1, "")


@pytest.mark.slow
def test_after_a_return_to_a_checkpoint_all_go_on_from_the_same_weights(pictures, tiny, tmp_path):
    run = tmp_path / "run"
    # A loss that is no number at the leader's 40th to 80th step is one everywhere.
    code = """
import hashlib, os, sys, torch
from loang.training.trainer import Trainer
plain, after = Trainer.gradients, Trainer.step
def gradients(self, part=None):
    loss = plain(self, part)
    here = 40 <= self.progress.step < 80 and not self.progress.returns
    return loss * float("nan") if here and os.environ["RANK"] == "0" else loss
def step(self, share):
    done = after(self, share)
    if self.progress.step == 150:
        weights = torch.cat([p.detach().flatten() for p in self.denoiser.parameters()])
        digest = hashlib.sha256(weights.numpy().tobytes()).hexdigest()
        print("weights", digest, self.progress.returns, flush=True)
    return done
Trainer.gradients, Trainer.step = gradients, step
from loang.cli import main
main()
"""
    asked = ("-c", code, *training(pictures, tiny, run, images=160 * 16))
    ended = fine(Job([asked] * 2).ended())
    assert "Going back to" in ended[0][1]
    lines = {line for _, said in ended for line in said.splitlines() if line.startswith("weights")}
    assert len(lines) == 1
    assert lines.pop().endswith(" 1")
