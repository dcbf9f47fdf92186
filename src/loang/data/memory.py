"""Whether something fits in memory, asked before it is tried; and how the rest is read."""

import contextlib
import math
import mmap
from collections.abc import Sequence
from typing import Any

import numpy as np
import psutil
from jaxtyping import Shaped

from loang.errors import LoangError

SHARE = 0.8
SMALL = 0.25
"""Of the free memory: what is mapped and takes less stays in the system's cache of files."""


def require_memory(shape: Sequence[int], depth: str, what: str) -> None:
    """Passes where an array of this shape and depth fits in four fifths of the free memory.

    Raises:
        LoangError: it does not fit.
    """
    sides = "x".join(str(side) for side in shape[1:])
    needed = math.prod(shape) * np.dtype(depth).itemsize
    require_bytes(needed, what, f" as {shape[0]:,} images of {sides}")


def require_bytes(needed: int, what: str, how: str = "") -> None:
    """The same, for so many bytes.

    Raises:
        LoangError: they do not fit.
    """
    available = psutil.virtual_memory().available
    if needed > SHARE * available:
        raise LoangError(
            f"{what} would take {needed / 1e9:,.1f} GB of memory{how}, and {available / 1e9:,.1f}"
            " GB are free.",
            "Choose a smaller --size or fewer images.",
        )


def is_small(values: Shaped[np.ndarray, "..."]) -> bool:
    """Whether an array takes a small part of the free memory."""
    return values.nbytes < SMALL * psutil.virtual_memory().available


def read_here_and_there(values: Shaped[np.ndarray, "..."]) -> None:
    """Tell the system that a mapped array, if it is large, is read in no order.

    Else it reads megabytes around each row that is asked for, and a batch takes half a second.
    """
    if not is_small(values):
        _advise(values, "MADV_RANDOM")


def let_go(values: Shaped[np.ndarray, "..."]) -> None:
    """Give back what this process holds of a mapped array that is only read.

    The system keeps the pages as long as it has room for them; but they no longer count as this
    process's own, which containers and job schedulers look at.
    """
    _advise(values, "MADV_DONTNEED")


def _advise(values: Shaped[np.ndarray, "..."], advice: str) -> None:
    base: Any = values
    while base is not None and not isinstance(base, np.memmap):
        base = getattr(base, "base", None)
    file = getattr(base, "_mmap", None)
    if file is not None and hasattr(mmap, advice):
        with contextlib.suppress(OSError, ValueError):
            file.madvise(getattr(mmap, advice))
