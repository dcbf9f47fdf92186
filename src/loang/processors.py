"""The processors that this process may use."""

import os


def available() -> int:
    """How many this process may use, which a job scheduler or a container may limit."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on Windows and macOS
        return os.cpu_count() or 1
