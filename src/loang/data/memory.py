"""Whether something fits in memory, asked before it is tried."""

import math
from collections.abc import Sequence

import numpy as np
import psutil

from loang.errors import LoangError

SHARE = 0.8


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
