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
        interrupted = 130 if isinstance(error, KeyboardInterrupt) else 2
        _left.append((thread, getattr(error, "exit_status", interrupted), last))
        raise
    return done.result()


_left: list[tuple[threading.Thread, int, Callable[[], None]]] = []
"""Threads that were left behind, and how the process is to end."""


@atexit.register  # before all that others register: it comes after theirs
def _end() -> None:
    """End a process at once that would end now, while a thread that was left behind still waits.

    If it came to its own end when Python is half gone, the process would abort.
    """
    for thread, status, last in _left:
        if not thread.is_alive():
            continue
        last()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(status)
