import json
import os
import signal
import subprocess
import sys

import pytest

from loang import lock as locks
from loang.errors import LoangError
from loang.lock import Lock, locked, refuse_if_held

HOLD = (
    "import sys\nfrom pathlib import Path\nfrom loang.lock import Lock\n"
    "lock = Lock(Path(sys.argv[1]), 'it')\nprint('held', flush=True)\nsys.stdin.read()\n"
)


@pytest.fixture
def other(tmp_path):
    """Another process that holds the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / ".lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_holder_is_refused_and_told_who_the_first_is(tmp_path, other):
    for attempt in (Lock, refuse_if_held):
        with pytest.raises(LoangError, match=f"The run is being written by process {other.pid} on"):
            attempt(tmp_path / ".lock", "The run")


def test_the_lock_of_a_process_that_was_killed_is_free_and_known_as_broken(tmp_path, other):
    other.send_signal(signal.SIGKILL)
    other.wait()
    refuse_if_held(tmp_path / ".lock", "The run")
    lock = Lock(tmp_path / ".lock", "The run")
    assert lock.broken["process"] == other.pid
    lock.release()
    assert Lock(tmp_path / ".lock", "The run").broken is None


def test_a_lock_that_was_given_back_is_free(tmp_path):
    lock = Lock(tmp_path / ".lock", "The run")
    with pytest.raises(LoangError):
        Lock(tmp_path / ".lock", "The run")
    lock.release()
    lock.release()
    Lock(tmp_path / ".lock", "The run")  # and one that nobody keeps
    Lock(tmp_path / ".lock", "The run").release()


def test_a_lock_whose_file_goes_with_it_has_one_holder_all_the_same(tmp_path, monkeypatch):
    path, take = tmp_path / ".lock", locks._take
    first = Lock(path, "The run", stays=False)

    def late(file):
        first.release()  # between the opening of the file and its lock
        return take(file)

    monkeypatch.setattr(locks, "_take", late)
    second = Lock(path, "The run", stays=False)
    with pytest.raises(LoangError):
        Lock(path, "The run", stays=False)
    second.release()
    assert not path.exists()


@pytest.fixture
def no_locks(monkeypatch):
    """A file system that knows no locks, as some network ones."""
    monkeypatch.setattr(locks, "_take", lambda file: None)


@pytest.mark.usefixtures("no_locks")
def test_where_the_file_system_has_no_locks_the_process_itself_is_looked_for(tmp_path, other):
    path = tmp_path / ".lock"
    with pytest.raises(LoangError, match=f"process {other.pid}"):
        Lock(path, "The run")
    other.kill()
    other.wait()
    lock = Lock(path, "The run")
    facts = json.loads(path.read_text())
    assert facts["process"] == os.getpid()
    # The number of a process that is gone may be given to another one.
    path.write_text(json.dumps({**facts, "started": 1.0}))
    refuse_if_held(path, "The run")
    # Whether a process of another machine still runs can't be known from here.
    path.write_text(json.dumps({**facts, "host": "elsewhere"}))
    with pytest.raises(LoangError, match=r"on elsewhere.*delete .*\.lock"):
        refuse_if_held(path, "The run")
    lock.release()


@pytest.mark.parametrize("content", ["", "{", "[]", "\x00" * 5000, '{"process": "x"}', "[" * 9999])
def test_whatever_stands_in_the_file_a_free_lock_can_be_had(tmp_path, content):
    (tmp_path / ".lock").write_text(content)
    Lock(tmp_path / ".lock", "The run").release()


def test_patience_runs_out(tmp_path, other):
    with locked(tmp_path / ".lock", patience=0.1) as held:
        assert not held
