"""Files that hold numbers by name, of any of the formats that TensorFlow and Keras write."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import psutil
from jaxtyping import Shaped

from loang import untrusted
from loang.files import amount
from loang.interop.keras import archive, dialects
from loang.interop.keras.bundle import Bundle, located
from loang.interop.keras.dialects import Layout
from loang.interop.keras.hdf5 import SIGNATURE, Hdf5
from loang.interop.keras.names import Shape

LARGEST_FILE = 2**33
COPIES, SHARE = 3, 0.8
"""The bytes, the weights and a copy of those in torch's layout take at most this of free memory."""


@runtime_checkable
class Stored(Protocol):
    """Numbers in a file, by name."""

    def shapes(self) -> Mapping[str, Shape]:
        """Of all of them."""

    def read(self, name: str) -> Shaped[np.ndarray, "..."]:
        """One of them."""


def opened(path: Path) -> tuple[Stored, Layout, Mapping[str, Any]]:
    """What is in a file or folder: numbers, where the article's weights lie, and its config.

    Raises:
        OSError: it is not there, or can't be read.
        ValueError: it is damaged, of another form, too large, or not of the article's network.
    """
    prefix = located(path)
    if prefix is not None:
        bundle = Bundle(prefix)
        _check_memory(sum(entry.size for entry in bundle.entries.values()))
        return bundle, dialects.of_checkpoint(bundle.shapes()), {}
    if path.is_dir():
        raise ValueError("there is no checkpoint in this folder")
    size = untrusted.plain_size(path, largest=LARGEST_FILE)
    _check_memory(size)
    with path.open("rb") as file:
        start = file.read(len(SIGNATURE))
    config: Mapping[str, Any] = {}
    if start.startswith(b"PK"):
        content, config = archive.contents(path)
    elif start == SIGNATURE:
        content = untrusted.read_bytes(path, largest=size)
    else:
        raise ValueError("it is neither a checkpoint, nor HDF5, nor a .keras archive")
    found = Hdf5.of(content)
    if any(name.rpartition("/")[0].endswith("vars") for name in found.arrays):
        return found, dialects.of_groups(found.shapes()), config
    return found, dialects.in_order(found.shapes(), found.texts), config


def _check_memory(size: int) -> None:
    free = psutil.virtual_memory().available
    if COPIES * size > SHARE * free:
        raise ValueError(f"its {amount(size)} do not fit in memory: {amount(free)} are free")
