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


def end_at_once(
    error: BaseException, last: Callable[[], None], waits: Callable[[], bool] = lambda: True
) -> None:
    """When the process ends, after what else is registered for that, nothing is waited for.

    Args:
        error: that its status tells of.
        last: called then.
        waits: whether anything is left that would be waited for.
    """
    interrupted = 130 if isinstance(error, KeyboardInterrupt) else 2
    _left.append((waits, getattr(error, "exit_status", interrupted), last))


_left: list[tuple[Callable[[], bool], int, Callable[[], None]]] = []
"""Whether something that was left behind still waits, and how the process is to end."""


@atexit.register  # before all that others register: it comes after theirs
def _end() -> None:
    """End a process at once that would end now, while what was left behind still waits.

    A thread that came to its own end when Python is half gone would abort the process, and torch
    would wait for a sum that never comes.
    """
    for waits, status, last in _left:
        if not waits():
            continue
        last()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(status)
