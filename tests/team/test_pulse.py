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
    heard = Pulse(Place(0, size, 0, size), store, "beat/")
    gone = []
    heard.on_silence = lambda names: (gone.extend(names), heard.stop())
    return heard, gone


def test_a_process_that_says_nothing_is_named_and_one_that_speaks_is_not(store):
    heard, gone = leader(store)
    store.set("beat/1", f"0 {os.getpid()} elsewhere")
    store.set("beat/2", f"0 {os.getpid()} faraway")
    heard.start()
    end = time.monotonic() + 5
    while not gone and time.monotonic() < end:
        store.set("beat/1", f"{time.monotonic()} {os.getpid()} elsewhere")
        time.sleep(0.01)
    assert gone == [f"process 2 of 3 (pid {os.getpid()} on faraway)"]
    store.set("beat/1", f"last {os.getpid()} elsewhere")


def test_what_died_on_this_machine_is_known_at_once(store, monkeypatch):
    monkeypatch.setattr(pulse, "SILENT", 60.0)
    monkeypatch.setattr(pulse, "GIVEN_UP", 60.0)
    heard, _ = leader(store, 2)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    store.set("beat/1", f"0 {dead.pid} {pulse.socket.gethostname()}")
    heard.start()
    dead.wait()
    start = time.monotonic()
    assert heard.lost() == [f"process 1 of 2 (pid {dead.pid} on {pulse.socket.gethostname()})"]
    assert time.monotonic() - start < 5
    heard.stop()


def test_whoever_slept_itself_accuses_nobody(store, monkeypatch):
    heard, gone = leader(store, 2)
    store.set("beat/1", f"0 {os.getpid()} elsewhere")
    now = time.monotonic
    asleep = {"seconds": 0.0}
    monkeypatch.setattr(pulse.time, "monotonic", lambda: now() + asleep["seconds"])
    heard.start()
    time.sleep(0.1)
    asleep["seconds"] = 3600.0  # the lid was closed
    time.sleep(0.2)
    assert gone == []
    heard.stop()


def test_nobody_is_missing_while_all_speak(store):
    heard, gone = leader(store, 2)
    store.set("beat/1", f"0 {os.getpid()} elsewhere")
    other = Pulse(Place(1, 2, 1, 2), store, "beat/")
    heard.start()
    other.start()
    time.sleep(0.7)
    assert gone == []
    assert heard.lost(patience=0.05) == []
    heard.stop()
    other.stop()
