"""Signs of life: who is missing is named, and whoever only slept is not."""

import os
import subprocess
import sys
import time

import pytest

from loang.team import pulse
from loang.team.place import Place
from loang.team.pulse import Pulse


class Kept:
    """A store of one process."""

    def __init__(self):
        self.values = {}

    def set(self, key, value):
        self.values[key] = value.encode()

    def check(self, keys):
        return all(key in self.values for key in keys)

    def multi_get(self, keys):
        return [self.values[key] for key in keys]


@pytest.fixture
def store():
    return Kept()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(pulse, "BEAT", 0.02)
    monkeypatch.setattr(pulse, "SILENT", 0.2)
    monkeypatch.setattr(pulse, "GIVEN_UP", 0.5)


def leader(store, size=3):
    for rank in range(1, size):
        store.set(f"beat/{rank}", f"0 {os.getpid()} elsewhere")
    return Pulse(Place(0, size, 0, size), store, "beat/")


def two(store):
    """A leader and another, both begun."""
    heard, other = leader(store, 2), Pulse(Place(1, 2, 1, 2), store, "beat/")
    heard.start()
    other.start()
    return heard, other


def soon(true, seconds=5):
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.01)
    return true()


def test_a_process_that_says_nothing_is_named_and_one_that_speaks_is_not(store):
    heard = leader(store)
    heard.start()

    def gone():
        store.set("beat/1", f"{time.monotonic()} {os.getpid()} elsewhere")
        return heard.gone

    assert soon(gone) == [f"process 2 of 3 (pid {os.getpid()} on elsewhere)"]
    heard.stop()


def test_what_died_on_this_machine_is_known_soon_and_unasked(store, monkeypatch):
    monkeypatch.setattr(pulse, "SILENT", 60.0)
    monkeypatch.setattr(pulse, "GIVEN_UP", 60.0)
    here = pulse.socket.gethostname()
    dead = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    heard = leader(store, 2)
    store.set("beat/1", f"0 {dead.pid} {here}")
    heard.start()
    time.sleep(0.1)
    assert heard.gone == []
    dead.communicate(b"\n")
    assert soon(lambda: heard.gone) == [f"process 1 of 2 (pid {dead.pid} on {here})"]
    assert heard.lost() == heard.gone
    heard.stop()


def test_a_pid_that_was_never_seen_says_nothing(store):
    """Two containers of one name, each with pids of its own."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    heard = leader(store, 2)
    store.set("beat/1", f"0 {gone.pid} {pulse.socket.gethostname()}")
    heard.start()
    end = time.monotonic() + 0.4
    while time.monotonic() < end:
        store.set("beat/1", f"{time.monotonic()} {gone.pid} {pulse.socket.gethostname()}")
        time.sleep(0.01)
        assert heard.gone == []
    heard.stop()


def test_who_ends_by_itself_is_not_missed_but_named_where_something_failed(store):
    heard, other = two(store)
    other.stop()
    time.sleep(0.8)
    assert heard.gone == []
    assert heard.lost()[0].startswith("process 1 of 2")
    heard.stop()


def test_the_others_hear_that_no_more_is_wanted(store):
    heard, other = two(store)
    start = time.monotonic()
    heard.dismiss(0.0)
    assert soon(lambda: other.dismissed)
    assert other.lost() == []
    other.stop()
    heard.dismiss(5.0)  # over at once: the other has ended
    assert time.monotonic() - start < 4
    heard.stop()


def test_whoever_slept_itself_accuses_nobody(store, monkeypatch):
    monkeypatch.setattr(pulse, "PATIENCE", pulse.datetime.timedelta(0))
    now, asleep = time.monotonic, {"seconds": 0.0}
    monkeypatch.setattr(pulse.time, "monotonic", lambda: now() + asleep["seconds"])
    heard = leader(store, 2)
    heard.start()
    time.sleep(0.1)
    asleep["seconds"] = 3600.0  # the lid was closed
    time.sleep(0.2)
    assert heard.gone == []
    heard.stop()


def test_nobody_is_missing_while_all_speak(store):
    heard, other = two(store)
    time.sleep(0.7)
    assert heard.gone == []
    assert heard.lost(patience=0.05) == []
    heard.stop()
    other.stop()
