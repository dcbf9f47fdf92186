"""Work that is left behind in a thread: the process ends at once, and by the right status."""

import os
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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_fork_of_a_process_that_left_work_behind_ends_as_it_likes():
    code = """
import os, sys
from loang.team.aside import end_at_once
end_at_once(ValueError("somebody is gone"), lambda: None, lambda: True)
child = os.fork()
if child == 0:
    sys.exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stdout.strip()) == (2, "7"), done.stderr
