"""Main memory that a computation gives back, kept for what it asks for next."""

import contextlib
import ctypes
import os
import sys
import threading
from collections.abc import Iterator, Mapping

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""glibc's names: how much may lie free at the heap's end, and from which size on memory is the
system's own, to whom it goes back at once."""
ALL = 2**31 - 1
"""Bytes: the most that can be said."""
USUAL_TRIM, USUAL_MMAP = 2**26, 2**25
"""Bytes: as far as glibc raises both by itself; and the most of the second that older ones take."""
OWN_WAYS = ("GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "LD_PRELOAD")
"""Environment variables by which someone has arranged memory already, or another allocator."""

_lock = threading.Lock()
_within = 0


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Within it this process keeps memory that is freed; at its end all of that goes back.

    A step of a network asks for the same memory as the step before. Tensors of some size are given
    back to the system at once and must be fetched anew, page by page, which took a tenth of a
    step's time where it was measured (docs/benchmarks.md). It is the C library's memory, so it
    holds for all threads, until the last that is within has come out. Of Linux with glibc alone;
    elsewhere, and where the environment arranges memory in its own way, nothing is done.
    """
    global _within
    library = _library(os.environ)
    if library is None:
        yield
        return
    with _lock:
        _within += 1
        if _within == 1:
            _tell(library, ALL, ALL)
    try:
        yield
    finally:
        with _lock:
            _within -= 1
            if _within == 0:
                _tell(library, USUAL_TRIM, USUAL_MMAP)
                library.malloc_trim(0)


def give_back() -> None:
    """What is free now goes back to the system, after memory was used up."""
    library = _library(os.environ)
    if library is not None:
        library.malloc_trim(0)


def _library(environment: Mapping[str, str]) -> ctypes.CDLL | None:
    """The C library, if it is told by us how to keep memory."""
    if sys.platform != "linux" or any(environment.get(name) for name in OWN_WAYS):
        return None
    library = ctypes.CDLL(None)
    known = hasattr(library, "gnu_get_libc_version") and hasattr(library, "mallopt")
    return library if known and hasattr(library, "malloc_trim") else None


def _tell(library: ctypes.CDLL, trim: int, mmap: int) -> None:
    library.mallopt(M_TRIM_THRESHOLD, trim)
    if not library.mallopt(M_MMAP_THRESHOLD, mmap):
        library.mallopt(M_MMAP_THRESHOLD, USUAL_MMAP)
