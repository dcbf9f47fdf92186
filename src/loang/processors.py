"""The processors: how many this process may use, and how many others keep busy just now."""

import os
import time

LOOK = 0.5
"""Seconds that it takes to see what others do."""


def available() -> int:
    """How many this process may use, which a job scheduler or a container may limit."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on Windows and macOS
        return os.cpu_count() or 1


def busy_otherwise() -> float:
    """How many other programs keep busy, seen while this one waits for a moment.

    Not the load average: that counts what waits for a disk, and this process's own last minute.
    """
    import psutil

    began, own = time.perf_counter(), time.process_time()
    share = psutil.cpu_percent(interval=LOOK) / 100
    own = (time.process_time() - own) / (time.perf_counter() - began)  # threads that spin, say
    return max(0.0, share * (psutil.cpu_count() or 1) - own)
