"""Main memory that a computation gives back, kept for what it asks for next."""

import contextlib
import ctypes
import os
import sys
import threading
from collections.abc import Mapping
from typing import ClassVar

OWN_WAYS = (
    *("GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_MMAP_MAX_"),
    *("MALLOC_TOP_PAD_", "LD_PRELOAD"),
)
"""Environment variables by which someone has arranged memory already, or another allocator."""


class kept(contextlib.ContextDecorator):
    """Within it this process keeps memory that is freed; at its end all of that goes back.

    A step of a network asks for the same memory as the step before. Tensors of some size are given
    back to the system at once and must be fetched anew, page by page, which costs a large network
    some hundredths of its time, and up to a tenth (docs/benchmarks.md). It is the C library's
    memory, so it holds for all threads, but for tensors beyond 64 MiB in others than the first, and
    until the last that is within has come out. Of Linux with glibc alone; elsewhere, and where the
    environment arranges memory in its own way, nothing is done.

    Not for generators, which may be left alone in the midst of it.
    """

    # All that the end needs hangs on the class: it may come when modules are emptied already.
    TRIM, MMAP, MOST_MMAPS = -1, -3, -4
    """glibc's names for how much may lie free at the heap's end, for the size from which on memory
    is the system's own, to whom it goes back at once, and for how often that may be."""
    WITHIN: ClassVar[dict[int, int]] = {TRIM: -1, MOST_MMAPS: 0}
    """Never."""
    AFTER: ClassVar[dict[int, int]] = {TRIM: 2**26, MMAP: 2**25, MOST_MMAPS: 2**16}
    """Bytes, as far as glibc raises these by itself; and as often as it does by itself."""
    _lock = threading.Lock()
    _within: ClassVar[int] = 0
    _library: ClassVar[ctypes.CDLL | None] = None

    def __enter__(self) -> None:
        of, found = type(self), library(os.environ)
        with of._lock:
            if of._within == 0:
                of._library = found
                of._tell(of.WITHIN)
            of._within += 1

    def __exit__(self, *error: object) -> None:
        of = type(self)
        with of._lock:
            of._within = max(of._within - 1, 0)  # it may have begun before a fork
            if of._within == 0:
                of._tell(of.AFTER)
                if of._library is not None:
                    of._library.malloc_trim(0)

    @classmethod
    def _tell(cls, what: Mapping[int, int]) -> None:
        if cls._library is not None:
            for name, value in what.items():
                cls._library.mallopt(name, value)

    @classmethod
    def _begin_anew(cls) -> None:
        """In a process that was split off, whose other threads are no more."""
        cls._lock, cls._within = threading.Lock(), 0
        cls._tell(cls.AFTER)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=kept._begin_anew)


def give_back() -> None:
    """What is free now goes back to the system: before it is asked how much is left, or after
    memory was used up."""
    found = library(os.environ)
    if found is not None:
        found.malloc_trim(0)


def library(environment: Mapping[str, str]) -> ctypes.CDLL | None:
    """The C library, if it is told by us how to keep memory."""
    if sys.platform != "linux" or any(environment.get(name) for name in OWN_WAYS):
        return None
    found = ctypes.CDLL(None)
    needed = ("gnu_get_libc_version", "mallopt", "malloc_trim")
    return found if all(hasattr(found, name) for name in needed) else None
