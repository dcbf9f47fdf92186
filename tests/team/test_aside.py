"""Work that is left behind in a thread: the process ends at once, and by the right status."""

import subprocess
import sys

import pytest

CODE = """
import atexit, os, signal, sys, threading, time
from loang.team.aside import aside

atexit.register(print, "the caller's own end", flush=True)

def work():
    if {interrupt}:
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    time.sleep(60)

def check():
    if not {interrupt}:
        raise ValueError("somebody is gone")

aside(work, check, lambda: print("the last word", flush=True))
"""


@pytest.mark.parametrize(("interrupt", "status"), [(True, 130), (False, 2)])
def test_a_process_ends_at_once_whatever_it_leaves_behind(interrupt, status):
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(interrupt=interrupt)],
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == status, done.stderr
    assert done.stdout.splitlines() == ["the caller's own end", "the last word"]
