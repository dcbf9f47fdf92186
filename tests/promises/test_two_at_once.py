"""Two processes and one run's folder; a process that died; terminals that go away."""

import os
import signal
import subprocess
import sys
import time

import pytest

import loang
from loang import api
from loang.errors import LoangError
from loang.training.folder import checkpoint_steps

pytestmark = pytest.mark.usefixtures("unchecked_signatures", "asked_for")


def command(pictures, tiny, out, images=200_000):
    sets = [part for change in (*tiny, *LONG) for part in ("--set", change)]
    return [
        *(sys.executable, "-m", "loang", "train", str(pictures), "--images", str(images)),
        *(*sets, "--out", str(out)),
    ]


LONG = ("training.reports=1000", "training.validation_share=0.01", "training.keep=2")


@pytest.fixture
def start(pictures, tiny, tmp_path):
    """Starts a run that would take a minute, in a process of its own, and waits until it trains."""
    started = []

    def start(**more):
        out = tmp_path / "run"
        process = subprocess.Popen(
            command(pictures, tiny, out),
            **{"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, **more},
        )
        started.append(process)
        while not checkpoint_steps(out / "checkpoints") and process.poll() is None:
            time.sleep(0.01)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_second_writer_is_refused_and_the_first_goes_on(start, pictures, tiny, tmp_path):
    process, run = start(), tmp_path / "run"
    for asked in ({"resume": True}, {"overwrite": True}):
        source = None if "resume" in asked else pictures
        with pytest.raises(LoangError, match=f"is being written by process {process.pid} on"):
            loang.train(source, out=run, **asked)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, said
    loang.load(run)


def test_a_run_whose_process_was_killed_is_gone_on_with_and_says_so(start, tmp_path, said):
    process, run = start(), tmp_path / "run"
    process.kill()
    process.wait()
    with pytest.raises(KeyboardInterrupt):
        _train_until_told(run, said, "Going on from step")
    assert said.about(f"The last session ended without a word: process {process.pid} on")


def _train_until_told(run, said, words):
    say = said.say

    def stop(line):
        say(line)
        if words in line:
            raise KeyboardInterrupt

    said.say = stop
    loang.train(out=run, resume=True, display=said)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no terminal that hangs up")
def test_a_terminal_that_hangs_up_ends_a_run_as_a_signal_does(start, tmp_path):
    process = start()
    process.send_signal(signal.SIGHUP)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGHUP, said
    assert "Stopped by SIGHUP; checkpoint and model file are written." in said


@pytest.mark.slow
def test_with_nohup_neither_a_terminal_nor_a_pipe_that_goes_away_stops_training(start, tmp_path):
    reading, writing = os.pipe()
    more = {"stdout": writing, "stderr": subprocess.PIPE}
    if os.name != "nt":  # Windows has no nohup, but pipes
        more["preexec_fn"] = lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)
    process = start(**more)
    os.close(writing)
    os.close(reading)
    if os.name != "nt":
        process.send_signal(signal.SIGHUP)
    checkpoints = tmp_path / "run" / "checkpoints"
    before = checkpoint_steps(checkpoints)[-1]
    # Each 12 or 13 steps a report writes lines to the pipe.
    while process.poll() is None and checkpoint_steps(checkpoints)[-1] < before + 40:
        time.sleep(0.01)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "Traceback" not in told


def test_a_second_signal_stops_at_once_and_the_last_whole_checkpoint_stays(
    pictures, tiny, tmp_path
):
    """The disk takes a minute for each checkpoint but the first: nobody need wait for it."""
    run = tmp_path / "run"
    slow = (
        "import sys, time\nfrom loang.cli import main\nfrom loang.training import checkpoint\n"
        "save = checkpoint.save\n"
        "def slow(folder, step, state):\n"
        "    time.sleep(60 * folder.exists())\n    return save(folder, step, state)\n"
        "checkpoint.save = slow\nsys.argv = ['loang', *sys.argv[4:]]\nmain()\n"
    )
    asked = command(pictures, tiny, run)
    process = subprocess.Popen(
        [sys.executable, "-c", slow, *asked],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while not checkpoint_steps(run / "checkpoints") and process.poll() is None:
        time.sleep(0.01)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    time.sleep(1)
    assert process.poll() is None  # it waits for the disk
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=20)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert checkpoint_steps(run / "checkpoints")
    api.start(out=run, resume=True)


@pytest.mark.slow
def test_signs_that_a_terminal_can_not_show_stop_no_training(pictures, tiny, tmp_path):
    named = pictures.rename(tmp_path / "Bäume ±.npz")
    ended = subprocess.run(
        command(named, tiny, tmp_path / "run", images=64),
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        timeout=100,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    loang.load(tmp_path / "run")
