"""Weights that torch saved: `.pt`, `.pth`, `.bin`, `.ckpt`, read without a pickle being loaded.

Such a file is a zip of plain rows of numbers and of one pickle that says what they are, which
`program.py` reads as data. torch's own careful reader, `weights_only`, is not used: it makes what
the pickle describes before anybody could ask how large it is, and unpacks what is compressed.
"""

import contextlib
import struct
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from loang import untrusted
from loang.errors import LoangError
from loang.interop.program import Described, Memory, follow
from loang.tensors import LARGEST_FILE, TooLarge, require_room
from loang.zipped import Careful

LARGEST_PROGRAM = 2**24
"""Bytes of the pickle: a thousand tensors with an optimizer's have 0.2 MB."""
LARGEST_LIST = 2**25
"""Bytes of the zip's list of members."""
MOST_MEMBERS = 2**17
AT_ONCE = 2**24
_ZIP, _PICKLE = b"PK", b"\x80"


@dataclass(frozen=True)
class Pickled:
    """What a file announces; no tensor is read yet.

    Args:
        path: of the file.
        content: what was saved, as plain values and `Described` tensors.
        members: the rows of numbers: their keys, and where they are in the zip.
    """

    path: Path
    content: Any
    members: Mapping[str, zipfile.ZipInfo]

    def read(self, wanted: Mapping[str, Described]) -> dict[str, Tensor]:
        """Some of its tensors, each in memory of its own kind: those that shared it still do.

        Raises:
            LoangError: they do not fit in memory, are more than the file holds, or can't be read.
        """
        with refused(self.path):
            size = untrusted.plain_size(self.path, largest=LARGEST_FILE)
            memories = {each.memory.key: each.memory for each in wanted.values()}
            asked = sum(each.bytes for each in wanted.values())
            held = sum(each.count * each.dtype.itemsize for each in memories.values())
            if max(asked, held) > size:
                raise ValueError("it announces more numbers than it holds")
            require_room(held)
            with Careful(self.path, LARGEST_LIST) as file, zipfile.ZipFile(file) as archive:
                rows = {key: self._row(archive, memory) for key, memory in memories.items()}
        return {
            name: rows[each.memory.key].as_strided(each.shape, each.stride, each.offset)
            for name, each in wanted.items()
        }

    def _row(self, archive: zipfile.ZipFile, memory: Memory) -> Tensor:
        member = self.members.get(memory.key)
        length = memory.count * memory.dtype.itemsize
        if member is None or member.file_size != length:
            raise ValueError("a tensor's numbers are missing, or fewer or more than announced")
        if not length:
            return torch.empty(0, dtype=memory.dtype)
        row = bytearray(length)
        with archive.open(member) as file:
            for at in range(0, length, AT_ONCE):
                part = file.read(min(AT_ONCE, length - at))
                if len(part) != min(AT_ONCE, length - at):
                    raise ValueError("it was cut")
                row[at : at + len(part)] = part
        return torch.frombuffer(row, dtype=memory.dtype)


def look(path: Path) -> Pickled:
    """What a file announces, checked against what it holds.

    Raises:
        LoangError: it is no such file, a pickle of anything else, damaged, or goes beyond the
            limits above.
    """
    with refused(path):
        untrusted.plain_size(path, largest=LARGEST_FILE)
        with path.open("rb") as opened:
            start = opened.read(2)
        if path.suffix.lower() in (".pkl", ".pickle") or start[:1] == _PICKLE:
            raise _bare(path)
        if start != _ZIP:
            raise ValueError("it is none of torch's files")
        with Careful(path, LARGEST_LIST) as file, zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if len(members) > MOST_MEMBERS:
                raise ValueError(f"it has {len(members):,} members")
            if any(member.compress_type != zipfile.ZIP_STORED for member in members):
                raise ValueError("its numbers are compressed, as torch never does it")
            programs = [each for each in members if each.filename.count("/") == 1]
            programs = [each for each in programs if each.filename.endswith("/data.pkl")]
            if len(programs) != 1 or programs[0].file_size > LARGEST_PROGRAM:
                raise ValueError("it has no list of its tensors, or one that is too long")
            root = programs[0].filename.removesuffix("data.pkl")
            named = {member.filename: member for member in members}
            order = named.get(f"{root}byteorder")
            if order is not None and order.file_size < 10 and archive.read(order) != b"little":
                raise ValueError("its numbers are in the order of another kind of processor")
            content = follow(archive.read(programs[0]))
    prefix = f"{root}data/"
    rows = {
        name.removeprefix(prefix): each for name, each in named.items() if name.startswith(prefix)
    }
    return Pickled(path, content, rows)


@contextlib.contextmanager
def refused(path: Path) -> Iterator[None]:
    """What is wrong with a file that somebody gave, in words.

    Raises:
        LoangError: what happens inside fails in a way that a damaged or hostile file may cause.
    """
    try:
        yield
    except LoangError:
        raise
    except OSError as error:
        raise LoangError(
            f"{path} can't be read: {error.strerror or untrusted.shown(str(error))}.",
            "Name the file of the weights.",
        ) from error
    except TooLarge as error:
        raise LoangError(f"{path} is too large: {error}.", "Free some memory.") from error
    except (
        *(ValueError, RuntimeError, NotImplementedError, EOFError, OverflowError),
        *(zipfile.BadZipFile, struct.error),
    ) as error:
        reason = untrusted.shown(str(error).partition("\n")[0].rstrip("."), most=300)
        raise LoangError(
            f"{path} can't be read as weights: {reason}.",
            "Save the weights alone, by torch.save(model.state_dict(), ...) or as safetensors.",
        ) from error


def _bare(path: Path) -> LoangError:
    """A pickle without a zip around it: of whole objects, or torch's before 1.6."""
    if path.suffix.lower() in (".pkl", ".pickle"):
        return LoangError(
            f"{path} is a pickle of whole Python objects, as NVIDIA's EDM saves its networks"
            " (under a licence for non-commercial use): who loads it runs what is in it.",
            "Bring a model whose weights are there as safetensors, or as a state dict in a .pt"
            " file.",
        )
    return LoangError(
        f"{path} is a bare pickle, as torch saved weights before its version 1.6.",
        "If you trust it, save it again with a newer torch:"
        " torch.save(torch.load(FILE, weights_only=True), NEW).",
    )
