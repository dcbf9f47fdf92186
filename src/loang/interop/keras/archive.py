"""`.keras`, a zip of Keras 3: what it holds as data; nothing that its config names is built."""

import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

from loang import untrusted, zipped

WEIGHTS, CONFIG, METADATA = "model.weights.h5", "config.json", "metadata.json"
MOST_MEMBERS = 256
LARGEST_LIST = 2**20
"""Bytes of the zip's list of members: Keras's own have a few hundred."""
LARGEST_WEIGHTS = 2**33
MOST_PACKED = 20
"""How many times larger than in the archive weights may be: what was learnt hardly packs."""


def contents(path: Path) -> tuple[bytes, dict[str, Any]]:
    """The file of its weights, HDF5, and its config.

    Raises:
        OSError: it can't be read.
        ValueError: it is no such archive, is damaged, or goes beyond the limits.
    """
    untrusted.plain_size(path, largest=LARGEST_WEIGHTS)
    try:
        with zipped.opened(path, most=LARGEST_LIST) as archive:
            members = archive.infolist()
            if len(members) > MOST_MEMBERS:
                raise ValueError(f"it has more than {MOST_MEMBERS} members")
            names = [member.filename for member in members]
            if sorted(set(names)) != sorted(names):
                raise ValueError("it has a member twice")
            if WEIGHTS not in names:
                raise ValueError(f"there is no {WEIGHTS} in it")
            config = {}
            if CONFIG in names:
                text = _member(archive, CONFIG, untrusted.LARGEST_JSON)
                config = untrusted.parse_json(text.decode("utf-8"))
            return _member(archive, WEIGHTS, LARGEST_WEIGHTS), config
    except (
        *(zipfile.BadZipFile, zlib.error, EOFError, struct.error),
        *(NotImplementedError, RuntimeError, OverflowError),
    ) as error:
        raise ValueError(f"it is no sound archive: {untrusted.shown(str(error))}") from error


def _member(archive: zipfile.ZipFile, name: str, largest: int) -> bytes:
    member = archive.getinfo(name)
    if member.flag_bits & 1:
        raise ValueError(f"its {name} is locked by a password")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"its {name} is packed in a way that Keras does not use")
    if member.file_size > min(largest, MOST_PACKED * member.compress_size + 2**16):
        raise ValueError(f"its {name} would have {member.file_size:,} bytes, which can't be")
    with archive.open(member) as file:
        content = file.read(member.file_size)
    if len(content) != member.file_size:
        raise ValueError(f"its {name} is cut")
    return content
