"""Work in a thread of its own, so that a process sees and hears while torch waits for others."""

import atexit
import contextlib
import os
import sys
import threading
from collections.abc import Callable
from concurrent import futures
from concurrent.futures import Future
from typing import TypeVar

import torch

T = TypeVar("T")
LOOKING = 0.5
"""Seconds between two looks at whether it is still worth the wait."""


def aside(work: Callable[[], T], check: Callable[[], None], last: Callable[[], None]) -> T:
    """What `work` gives.

    Args:
        work: may wait where no signal is heard, and for minutes.
        check: called now and then; by an error that it raises the work is left behind.
        last: called at the end of a process that has left work behind, and ends all the same.
    """
    done: Future[T] = Future()
    gpu = torch.cuda.current_device() if torch.cuda.is_initialized() else None

    def run() -> None:
        try:
            if gpu is not None:  # each thread has its own
                torch.cuda.set_device(gpu)
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    thread = threading.Thread(target=run, name="loang aside", daemon=True)
    thread.start()
    try:
        while not futures.wait([done], LOOKING).done:
            check()
    except BaseException as error:
        end_at_once(error, last, thread.is_alive)
        raise
    return done.result()


def end_at_once(error: BaseException, last: Callable[[], None], waits: Callable[[], bool]) -> None:
    """When this process ends, after what is registered for that, what is left is not waited for.

    Args:
        error: that its status tells of.
        last: called then.
        waits: whether anything is left, even then, that would be waited for.
    """
    interrupted = 130 if isinstance(error, KeyboardInterrupt) else 2
    status = getattr(error, "exit_status", interrupted)
    _left.append(((os.getpid(), waits), status, last))


def is_left() -> bool:
    """Whether this process has left something behind that still waits."""
    return any(_waits(*each) for each, _, _ in _left)


def _waits(process: int, waits: Callable[[], bool]) -> bool:
    return process == os.getpid() and waits()  # a fork of it has left nothing


_left: list[tuple[tuple[int, Callable[[], bool]], int, Callable[[], None]]] = []
"""Whether something that was left behind still waits, and how the process is to end."""


@atexit.register  # before all that others register: it comes after theirs
def _end() -> None:
    """End a process at once that would end now, while what was left behind still waits.

    A thread that came to its own end when Python is half gone would abort the process, and torch
    would wait for a sum that never comes.
    """
    for each, status, last in _left:
        if not _waits(*each):
            continue
        last()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(status)
