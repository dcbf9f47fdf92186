"""Tensors on the disk: safetensors, and nothing that could run."""

import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_bytes
from torch import Tensor

from loang import files, untrusted
from loang.files import Written

LARGEST_FILE = 2**40
"""Bytes, 1 TiB; what fits in memory is asked besides."""
LARGEST_HEADER = untrusted.LARGEST_JSON
MOST_TENSORS = 2**14
"""Optimizer and all, the largest network that loang's settings can describe has fewer."""
MOST_SIDES = 8
LONGEST_NAME = 512
SHARE = 0.8
"""Of the free memory that a file's tensors may take."""
TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
"""The types that are written and read, as safetensors calls them."""
_LENGTH = 8  # bytes of the number that a file begins with: how long its header is


class TooLarge(ValueError):
    """A file may be as it should, but memory can't hold it."""


class Changed(ValueError):
    """A file became another one between two looks at it; a third may find it whole."""


@dataclass(frozen=True)
class Stored:
    """What a file announces; all of it is checked, and no tensor is read yet.

    Args:
        path: of the file.
        shapes: of the tensors, by name.
        types: of the tensors, by name, as safetensors writes them: "F32".
        metadata: texts by name.
        header: the bytes before the tensors.
    """

    path: Path
    shapes: Mapping[str, tuple[int, ...]]
    types: Mapping[str, str]
    metadata: Mapping[str, str]
    header: bytes

    def read(self) -> dict[str, Tensor]:
        """The tensors, in memory of their own.

        Raises:
            OSError: the file can't be read any more.
            Changed: it is not what was looked at.
            ValueError: it does not fit in memory, or is damaged.
        """
        size = untrusted.plain_size(self.path, largest=LARGEST_FILE)
        require_room(size)
        # Read, not mapped: tensors in a mapped file end the whole process when it is cut.
        content = untrusted.read_bytes(self.path, largest=size)
        if not content.startswith(self.header):
            raise Changed("it changed while it was read")
        try:
            return load_bytes(content)
        except SafetensorError as error:
            raise ValueError(str(error)) from error


def require_room(size: int) -> None:
    """Whether so many bytes of a file, and the tensors that are made of them, fit in memory.

    Raises:
        TooLarge: they do not.
    """
    free = psutil.virtual_memory().available
    if 2 * size > SHARE * free:
        raise TooLarge(
            f"its {size / 1e9:,.1f} GB do not fit in memory: {free / 1e9:,.1f} GB are free"
        )


def look(path: Path) -> Stored:
    """What a file announces: names, shapes and types of its tensors, and its texts.

    Nothing of the size that the file claims is asked of memory before the claim is checked against
    the size that it has.

    Raises:
        OSError: there is no such file, or it can't be read.
        ValueError: it is no safetensors file, is damaged, or goes beyond the limits above.
    """
    size = untrusted.plain_size(path, largest=LARGEST_FILE)
    with path.open("rb") as file:
        start = file.read(_LENGTH)
        length = int.from_bytes(start, "little")
        if len(start) < _LENGTH or length > size - _LENGTH:
            raise ValueError("it is no safetensors file, or was cut")
        if length > LARGEST_HEADER:
            raise ValueError(f"its header has {length:,} bytes, more than {LARGEST_HEADER:,}")
        text = file.read(length)
    if len(text) < length:
        raise ValueError("it changed while it was read")
    entries = untrusted.parse_json(text.decode("utf-8"))
    metadata = entries.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError("its metadata are no texts")
    if len(entries) > MOST_TENSORS:
        raise ValueError(f"it has {len(entries):,} tensors, more than {MOST_TENSORS:,}")
    shapes, types, spans = {}, {}, []
    for name, entry in entries.items():
        shapes[name], types[name], span = _entry(name, entry)
        spans.append(span)
    _check_spans(spans, size - _LENGTH - length)
    return Stored(path, shapes, types, metadata, start + text)


def all_finite(tensor: Tensor) -> bool:
    """Whether each value is a number; of a tensor on the CPU.

    By numpy, where it can: a second thread of torch's would bring a pool of threads of its own,
    which then compete with those that train.
    """
    if tensor.dtype in (torch.float32, torch.float64):
        values = tensor.detach().numpy()
        with np.errstate(over="ignore", invalid="ignore"):
            # A value that is no number makes the sum none; only a sum may be too large by itself.
            return math.isfinite(np.sum(values)) or bool(np.isfinite(values).all())
    return bool(torch.isfinite(tensor).all())


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, by name.

    Raises:
        OSError: there is no such file, or it can't be read.
        ValueError: as `look`, or it does not fit in memory.
    """
    return look(path).read()


def save(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> Written:
    """Write named tensors to a file, which is on the disk when this returns.

    The format is safetensors'; it is written here because its library holds Python's lock while it
    writes, and training would wait for that, and because each byte is hashed on its way.

    Raises:
        OSError: the system refuses, for instance because the disk is full.
        ValueError: a tensor's type is none of `TYPES`.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    plain, end = [], 0
    # Wide types first, as safetensors wants it: then each tensor begins at a multiple of its width.
    for name in sorted(tensors, key=lambda name: (-tensors[name].element_size(), name)):
        tensor = tensors[name].detach().cpu().contiguous()
        kind = next((kind for kind, dtype in TYPES.items() if dtype is tensor.dtype), None)
        if kind is None:
            raise ValueError(f"the tensor {name} is of the type {tensor.dtype}")
        begin, end = end, end + tensor.nbytes
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [begin, end]}
        plain.append(tensor)
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    parts = (tensor.reshape(-1).view(torch.uint8).numpy().data for tensor in plain)
    return files.write(path, itertools.chain((len(text).to_bytes(_LENGTH, "little"), text), parts))


def _entry(name: str, entry: Any) -> tuple[tuple[int, ...], str, tuple[int, int]]:
    """Shape, type and place of one tensor, which must agree."""
    called = untrusted.shown(name)
    if len(name) > LONGEST_NAME:
        raise ValueError(f"the name of its tensor {called} is too long")
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"its tensor {called} is not described")
    kind, shape, span = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(kind, str) or kind not in TYPES:
        raise ValueError(f"its tensor {called} is of the type {untrusted.shown(kind)}")
    if not _counts(shape) or len(shape) > MOST_SIDES or not _counts(span) or len(span) != 2:
        raise ValueError(f"its tensor {called} has no shape or no place")
    if math.prod(shape) * TYPES[kind].itemsize != span[1] - span[0]:
        raise ValueError(f"its tensor {called} is announced larger or smaller than it is")
    return tuple(shape), kind, (span[0], span[1])


def _counts(values: Any) -> bool:
    """Whether it is a list of whole numbers from 0; JSON's true is none."""
    return isinstance(values, list) and all(type(v) is int and v >= 0 for v in values)


def _check_spans(spans: list[tuple[int, int]], size: int) -> None:
    """The tensors fill the rest of the file, with no gap and no byte of two."""
    place = 0
    for first, end in sorted(spans):
        if first != place:
            raise ValueError("its tensors overlap, or leave gaps")
        place = end
    if place != size:
        raise ValueError("it is longer or shorter than its tensors")
