"""Trackers of real runs: none of them can change, slow or end one; none is told what did not last.

The hostile ones are packages named trackio that these tests write.
"""

import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
from tracked_runs import begin, cut, expected, finish, found, identity, record, session, write
from typer.testing import CliRunner

import loang
from in_steps import IN_STEPS
from loang.cli.app import app
from loang.errors import LoangError
from loang.files import sha256
from loang.lock import locked
from loang.tracking import tracking
from loang.tracking.follower import Follower
from loang.tracking.tracker import Tracker
from loang.training.display import Display
from loang.training.interruption import Interrupted
from loang.training.log import Log

TINY = (
    "network.width=8",
    "network.multipliers=[1]",
    "network.attention=[]",
    "network.heads=1",
    "training.batch=8",
    "training.reports=2",
    "training.precision=float32",
    "sampling.steps=2",
    *IN_STEPS,
)
pytestmark = [
    pytest.mark.filterwarnings("error"),
    pytest.mark.usefixtures("unchecked_signatures"),
]


class Heard(Display):
    """What a person reads; after so many measurements they press Ctrl-C."""

    def __init__(self, stop=0):
        self.lines = []
        self.left = stop

    def say(self, line):
        self.lines.append(line)

    def measure(self, measurement):
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(signal.SIGINT)

    @property
    def warnings(self):
        return [line for line in self.lines if line.startswith("Warning")]


@pytest.fixture
def images(tmp_path):
    path = tmp_path / "images.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1), np.uint8))
    return path


def train(images, out, *, stop=0, **asked):
    """Ten steps; what a person read, and whether they stopped it."""
    display = Heard(stop)
    try:
        loang.train(images, out=out, budget="80 images", changes=TINY, display=display, **asked)
    except Interrupted:
        assert stop
    else:
        assert not stop
    return display


@pytest.fixture
def stub(tmp_path, monkeypatch):
    """A package named trackio, of these lines."""

    def make(text):
        place = tmp_path / "packages"
        place.mkdir(exist_ok=True)
        (place / "trackio.py").write_text(text)
        monkeypatch.syspath_prepend(place)
        monkeypatch.setenv("PYTHONPATH", str(place))

    return make


def weights(run):
    """The average that was learnt, as the last checkpoint has it."""
    (path,) = (run / "checkpoints" / "step-00000010").glob("ema*.safetensors")
    return sha256(path)


def test_a_run_that_is_stopped_and_gone_on_with_is_one_in_tensorboard(images, tmp_path):
    pytest.importorskip("tensorboard")
    out = tmp_path / "run"
    assert train(images, out, stop=4, track=["tensorboard"]).warnings == []
    assert found("tensorboard", out)["values"] == expected("tensorboard", out)
    # It goes on with the trackers that it had.
    assert train(images, out, resume=True).warnings == []
    seen = found("tensorboard", out)
    assert seen["values"] == expected("tensorboard", out)
    assert [step for step, _ in seen["values"]["share"]] == list(range(1, 11))
    assert {title: len(shown) for title, shown in seen["pictures"].items()} == {
        "previews": 2,
        "samples": 1,
        "walk": 1,
    }
    assert seen["models"] == 1
    learnt = weights(out)
    # Anew and without trackers, the same is learnt, and nothing of them is left.
    train(images, out, overwrite=True)
    assert weights(out) == learnt
    assert not list(out.glob("tensorboard/events*"))
    assert not list(out.glob("tracking/*.json"))


HOSTILE = {
    "raises": (
        "print('x' * 10**6)\ndef init(**values): raise OSError('no space left')",
        "OSError: no space left.",
    ),
    "dies": ("import os\ndef init(**values): os._exit(3)", "its process has ended."),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_tracker_that_fails_is_told_once_and_let_go(images, tmp_path, stub, kind):
    text, why = HOSTILE[kind]
    stub(text)
    display = train(images, tmp_path / "run", track=["trackio"])
    (warning,) = display.warnings
    assert warning.startswith(f"Warning: trackio can't be told any more: {why}")
    assert (tmp_path / "run" / "model.safetensors").exists()


def test_one_that_hangs_is_waited_for_no_longer_than_that(images, tmp_path, stub, monkeypatch):
    stub("import time\ndef init(**values): time.sleep(20)")
    monkeypatch.setattr(tracking, "CLOSING", dict.fromkeys(tracking.CLOSING, 0.2))
    monkeypatch.setattr(tracking, "SILENT", 0.1)
    started = time.monotonic()
    display = train(images, tmp_path / "run", track=["trackio"])
    assert time.monotonic() - started < 15
    assert "Waiting for trackio ..." in display.lines
    assert "trackio is not done yet, and is left to itself for ten minutes." in display.lines
    (left,) = [worker for worker in tracking._LEFT if worker.name == "trackio"]
    tracking._LEFT.remove(left)
    left._process.kill()
    assert left.ended(10)
    left._process.stdout.close()


def test_ctrl_c_while_a_tracker_is_waited_for_leaves_the_run_as_it_ended(
    images, tmp_path, stub, monkeypatch
):
    stub("import time\ndef init(**values): time.sleep(20)")
    monkeypatch.setattr(tracking, "SILENT", 0.1)

    class Impatient(Heard):
        def say(self, line):
            super().say(line)
            if line == "Waiting for trackio ...":
                signal.raise_signal(signal.SIGINT)

    display, started = Impatient(), time.monotonic()
    out, track = tmp_path / "run", ["trackio"]
    try:
        model = loang.train(
            images, out=out, budget="80 images", changes=TINY, display=display, track=track
        )
    except KeyboardInterrupt:
        pytest.fail("The run is over, and ended well.")
    assert model.facts["steps"] == 10
    assert time.monotonic() - started < 15
    assert "trackio is not waited for, and is left to itself for ten minutes." in display.lines
    (left,) = [worker for worker in tracking._LEFT if worker.name == "trackio"]
    tracking._LEFT.remove(left)
    left._process.kill()
    assert left.ended(10)
    left._process.stdout.close()


HANGING = {
    "as it is imported": ("time.sleep(60)", b"", b""),
    "as it begins": ("def init(**values): time.sleep(60)", b"", b""),
    "as it begins, when told of the end": (
        "def init(**values): time.sleep(60)",
        b'{"end": "finished"}\n',
        b"",
    ),
    "after it was given up": (
        "import threading\ndef init(**values):\n"
        "    threading.Thread(target=time.sleep, args=(60,)).start()\n    raise OSError",
        b"",
        b'"failed"',
    ),
}


@pytest.mark.parametrize("where", HANGING)
def test_a_tracker_that_hangs_outlives_its_run_by_a_while_only(tmp_path, stub, where):
    text, last, answer = HANGING[where]
    stub(f"import time\n{text}")
    run = begin(tmp_path / "run")
    code = "from loang.tracking import worker\nworker.LAST = 0.2\nworker.main('trackio')"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe) as child:
        order = {"folder": str(run), "anew": True}
        child.stdin.write(json.dumps(order).encode() + b"\n")
        child.stdin.flush()
        try:
            if where != "as it is imported":
                assert b"ready" in child.stdout.readline()
            if answer:
                assert answer in child.stdout.readline()
            elif last:
                child.stdin.write(last)
                child.stdin.flush()
            else:
                child.stdin.close()  # as where the run is killed
            assert child.wait(20) == 1
        finally:
            child.kill()


def test_a_tracker_of_the_last_session_that_refuses_does_not_stop_a_run(images, tmp_path, stub):
    out = tmp_path / "run"
    train(images, out, stop=4)
    (out / "tracking").mkdir()
    (out / "tracking" / "trackio.json").write_text("{}")
    stub("raise RuntimeError('built for another Python')")
    # Whoever asks for it is told, as ever.
    with pytest.raises(LoangError, match="trackio can't be used"):
        train(images, out, resume=True, track=["trackio"])
    (warning,) = train(images, out, resume=True).warnings
    assert warning == (
        "Warning: trackio has tracked this run, and is told nothing now: trackio can't be used:"
        " RuntimeError: built for another Python. --track none leaves it away."
    )


def test_what_is_missing_is_told_before_a_run_begins(images, tmp_path, stub):
    for asked, problem in (
        (["tensorbord"], "loang knows no tracker 'tensorbord'."),
        (["none", "tensorboard"], "--track none and --track tensorboard can't both be."),
    ):
        with pytest.raises(LoangError) as caught:
            loang.train(images, out=tmp_path / "run", track=asked)
        assert caught.value.problem == problem
    stub("raise RuntimeError('built for another Python')")
    with pytest.raises(LoangError, match="trackio can't be used: RuntimeError: built for another"):
        train(images, tmp_path / "run", track=["trackio"])
    assert not (tmp_path / "run").exists()
    # Nor is a run lost that was to be replaced.
    train(images, tmp_path / "run")
    with pytest.raises(LoangError, match="trackio can't be used"):
        train(images, tmp_path / "run", track=["trackio"], overwrite=True)
    assert (tmp_path / "run" / "model.safetensors").exists()


def test_one_that_is_not_installed_is_told_at_once(images, tmp_path, monkeypatch):
    monkeypatch.setattr("loang.tracking.names.find_spec", lambda name: None)
    out = CliRunner().invoke(app, ["train", str(images), "--track", "wandb", "--out", "run"])
    assert isinstance(out.exception, LoangError)
    assert 'pip install "loang[track]"' in out.exception.remedy
    # Where the last session had it, and this one asks for nothing, training goes on.
    run = begin(tmp_path / "run")
    (run / "tracking").mkdir()
    (run / "tracking" / "wandb.json").write_text("{}")
    names, notes = loang.tracking.names.chosen(None, run, resume=True)
    assert names == []
    assert "wandb has tracked this run, and is not installed here" in notes[0]


def test_wandb_without_an_account_asks_nobody(tmp_path, monkeypatch):
    place = tmp_path / "packages"
    place.mkdir()
    (place / "wandb.py").write_text("class api: api_key = None")
    monkeypatch.syspath_prepend(place)
    monkeypatch.setenv("PYTHONPATH", str(place))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    with pytest.raises(LoangError, match="knows no account here"):
        tracking.Tracking(["wandb"]).start()


DELETED = """
from types import SimpleNamespace
class MlflowClient:
    def __init__(self, tracking_uri): pass
    def get_experiment_by_name(self, name):
        return SimpleNamespace(name=name, experiment_id="7", lifecycle_stage="deleted")
    def create_run(self, experiment, run_name): raise RuntimeError("must be in 'active' state")
"""


def test_a_deleted_experiment_of_mlflow_is_told_with_what_helps(tmp_path, monkeypatch):
    place = tmp_path / "packages" / "mlflow"
    place.mkdir(parents=True)
    (place / "__init__.py").write_text(DELETED)
    (place / "entities.py").write_text("")
    monkeypatch.syspath_prepend(place.parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(place.parent), *sys.path]))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:1")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "photos")
    (why,) = session("mlflow", begin(tmp_path / "run"), "finished", anew=True)
    assert why == (
        "Warning: mlflow can't be told any more: Its experiment 'photos' was deleted, and keeps the"
        " name. Restore it with `mlflow experiments restore -x 7`, or name another in"
        " MLFLOW_EXPERIMENT_NAME."
    )


class Memory(Tracker):
    """One that remembers, and fails where it is told to."""

    def __init__(self):
        self.runs = {}
        self.now = None
        self.fail = False

    def check(self):
        pass

    def open(self, run, identity, row):
        self.now = identity or f"run {len(self.runs)}"
        kept = self.runs.setdefault(self.now, SimpleNamespace(records=[], shown=[], models=0))
        assert row <= len(kept.records) + len(kept.shown)
        return self.now

    def tell(self, records):
        for each in records:
            self.runs[self.now].records.append(each)
            if self.fail:
                raise OSError

    def show(self, title, path, step):
        self.runs[self.now].shown.append((title, step))

    def keep(self, model):
        self.runs[self.now].models += 1

    def close(self, end):
        self.runs[self.now].end = end

    def discard(self):
        self.runs[self.now].end = "discarded"


def follow(memory, folder, anew=False):
    follower = Follower(memory, "memory", folder, anew=anew)
    follower.open()
    follower.look()
    return follower


def test_a_run_that_goes_back_while_it_trains_is_told_anew(tmp_path):
    folder, memory = begin(tmp_path), Memory()
    follower = follow(memory, folder, anew=True)
    write(folder, *range(1, 7))
    follower.look()
    follower.look()
    cut(folder, 3)
    write(folder, 4)
    follower.look()
    follower.end("finished")
    assert memory.runs["run 0"].end == "discarded"
    assert memory.now == "run 1"
    assert memory.runs["run 1"].records == Log(folder / "log.jsonl").read()
    # The picture of step 5 is no picture of this run any more.
    assert memory.runs["run 1"].shown == []
    write(folder, 5)
    assert len(memory.runs["run 1"].records) == 4


def test_a_finished_run_that_finishes_again_shows_only_what_is_new(tmp_path):
    folder, memory = begin(tmp_path), Memory()
    write(folder, 1, 2)
    finish(folder)
    follow(memory, folder, anew=True).end("finished")
    follow(memory, folder).end("finished")
    (told,) = memory.runs.values()
    assert told.shown == [("samples", 2), ("walk", 2)]
    assert told.models == 1
    (folder / "model.safetensors").write_bytes(bytes(101))
    follow(memory, folder).end("finished")
    assert told.models == 2
    assert len(told.shown) == 2


def test_a_note_of_before_that_was_noted_is_still_one(tmp_path):
    folder, memory = begin(tmp_path), Memory()
    write(folder, 1, 2)
    follow(memory, folder, anew=True)
    path = folder / "tracking" / "memory.json"
    note = json.loads(path.read_text())
    del note["shown"]
    path.write_text(json.dumps(note))
    write(folder, 3)
    follow(memory, folder)
    assert list(memory.runs) == ["run 0"]
    assert memory.runs["run 0"].records == Log(folder / "log.jsonl").read()


def test_what_was_cut_but_never_told_leaves_the_run_as_it_is(tmp_path):
    folder, memory = begin(tmp_path), Memory()
    write(folder, 1, 2, 3)
    follow(memory, folder, anew=True)
    write(folder, 4, 6)
    cut(folder, 3)
    write(folder, 4)
    follow(memory, folder)
    assert list(memory.runs) == ["run 0"]
    assert memory.runs["run 0"].records == Log(folder / "log.jsonl").read()


def test_where_a_tracker_died_while_it_was_told_all_is_told_anew(tmp_path):
    folder, memory = begin(tmp_path), Memory()
    write(folder, 1, 2)
    follower = follow(memory, folder, anew=True)
    write(folder, 3, 4)
    memory.fail = True
    with pytest.raises(OSError):  # noqa: PT011
        follower.look()
    assert len(memory.runs["run 0"].records) == 3
    memory.fail = False
    follow(memory, folder)
    assert memory.runs["run 1"].records == Log(folder / "log.jsonl").read()


def test_half_a_line_waits_for_its_other_half(tmp_path):
    folder, memory = begin(tmp_path), Memory()
    log, line = folder / "log.jsonl", json.dumps(record(1)) + "\n"
    log.write_text(line + line[:9])
    follower = follow(memory, folder, anew=True)
    assert len(memory.runs["run 0"].records) == 1
    with log.open("a") as file:
        file.write(line[9:])
    follower.look()
    assert memory.runs["run 0"].records == [record(1), record(1)]


@pytest.mark.parametrize("content", ["", "[]", '{"format": 1, "size": "x"}', "{" * 99, '{"a": 1}'])
def test_a_note_that_is_none_begins_anew(tmp_path, content):
    folder, memory = begin(tmp_path), Memory()
    write(folder, 1)
    (folder / "tracking").mkdir()
    (folder / "tracking" / "memory.json").write_text(content)
    follow(memory, folder)
    assert memory.runs["run 0"].records == Log(folder / "log.jsonl").read()


@pytest.mark.slow
def test_a_run_that_is_killed_leaves_a_tracker_that_can_be_read_and_gone_on_with(images, tmp_path):
    pytest.importorskip("tensorboard")
    out = tmp_path / "run"
    changes = TINY
    code = f"import loang\nloang.train({str(images)!r}, out={str(out)!r}, changes={changes!r}"
    child = subprocess.Popen(
        [sys.executable, "-c", f"{code}, budget='20000 images', track=['tensorboard'])"]
    )
    note = out / "tracking" / "tensorboard.json"
    while not (note.exists() and json.loads(note.read_text())["size"] > 700):
        assert child.poll() is None
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    # Its tracker notices, tells what is left and ends.
    with locked(out / "tracking" / ".tensorboard.lock", 20) as ended:
        assert ended
    seen = found("tensorboard", out)
    assert seen["values"] == expected("tensorboard", out)
    first = identity("tensorboard", out)
    cut(out, 26)
    assert session("tensorboard", out, "interrupted") == []
    assert found("tensorboard", out)["values"] == expected("tensorboard", out)
    assert len(expected("tensorboard", out)["share"]) == 2
    assert identity("tensorboard", out) == first
