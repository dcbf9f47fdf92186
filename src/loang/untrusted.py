"""Limits on what a file may hold before loang reads it, and JSON within them.

A file may come from anybody: a shared model, a folder of images, a checkpoint that a disk spoiled.
What it announces is compared with these limits before memory is asked for, so the worst that a
file can do is to be refused.
"""

import json
import math
import re
import stat
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

LARGEST_JSON = 2**24
"""Bytes, 16 MiB: the header of 10,000 tensors has 2, and 65,536 names of classes fit as well."""
MOST_TOKENS = 2**20
"""Strings, brackets and commas: 16,384 tensors with four sides each have a third of that."""
DEEPEST = 32
"""Brackets within brackets: loang's own files have six, and Python's parser fails near 1,000."""
INTEGERS = (-(2**63), 2**64 - 1)
"""What 64 bits hold; a longer number would slow or break whatever computes with it."""
SHOWN = 80
"""Characters of somebody else's text that a message repeats."""

# A string to its closing quote (or to the end, where that is missing), or a sign. The possessive
# quantifiers never go back, so the time is proportional to the length of any text.
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{},]', re.DOTALL)


def read_bytes(path: Path, *, largest: int) -> bytes:
    """A file's content, if it is a plain file of at most `largest` bytes.

    Raises:
        OSError: there is none, or it can't be read.
        ValueError: it is larger, or a device, a pipe or a folder.
    """
    size = plain_size(path, largest=largest)
    with path.open("rb") as file:
        content = file.read(size + 1)
    if len(content) != size:
        raise ValueError("it changed while it was read")
    return content


def plain_size(path: Path, *, largest: int) -> int:
    """The size in bytes of a plain file, if it is at most `largest`.

    Raises:
        OSError: there is none.
        ValueError: it is larger, or a device, a pipe or a folder, of which reading has no end.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is no plain file")
    if status.st_size > largest:
        raise ValueError(f"it has {status.st_size:,} bytes, more than {largest:,}")
    return status.st_size


def read_json(path: Path, *, largest: int = LARGEST_JSON) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        OSError: there is no such file, or it can't be read.
        ValueError: it is larger than `largest` bytes, no UTF-8, or as for `parse_json`.
    """
    return parse_json(read_bytes(path, largest=largest).decode("utf-8"))


def parse_json(text: str) -> dict[str, Any]:
    """The JSON object that a text holds: objects, lists, texts, numbers, true, false and null.

    Python's own reader takes more than JSON; none of that is taken here.

    Raises:
        ValueError: it is larger, deeper or of more parts than the limits above, is no JSON or no
            object, has a key twice, an integer of more than 64 bits, a number that float64
            can't hold, NaN, or half of a surrogate pair.
    """
    if len(text) > LARGEST_JSON:
        raise ValueError(f"its JSON is longer than {LARGEST_JSON:,} characters")
    _check_nesting(text)
    content = json.loads(
        text,
        object_pairs_hook=_object,
        parse_int=_integer,
        parse_float=_real,
        parse_constant=_no_number,
    )
    if not isinstance(content, dict):
        raise ValueError("its JSON is no object with keys")
    if r"\ud" in text or r"\uD" in text:
        # Escapes can spell half of a pair, which nothing could print or write again.
        try:
            json.dumps(content, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise ValueError("its JSON has half of a surrogate pair") from error
    return content


def shown(value: object, most: int = SHOWN) -> str:
    """A foreign value for a message: one line, cut where it has more than `most` characters."""
    text = ascii(value) if not isinstance(value, str) else value
    text = "".join(sign if sign.isprintable() else "?" for sign in text[: most + 1])
    return text if len(text) <= most else text[: most - 3] + "..."


def _check_nesting(text: str) -> None:
    depth = 0
    for count, match in enumerate(_TOKEN.finditer(text)):
        if count >= MOST_TOKENS:
            raise ValueError(f"its JSON has more than {MOST_TOKENS:,} parts")
        sign = text[match.start()]
        if sign in "[{":
            depth += 1
            if depth > DEEPEST:
                raise ValueError(f"its JSON is nested deeper than {DEEPEST}")
        elif sign in "]}":
            depth -= 1


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"its JSON has the key {shown(twice)!r} twice")
    return made


def _integer(text: str) -> int:
    low, high = INTEGERS
    if len(text) > len(str(low)) or not low <= int(text) <= high:
        raise ValueError(f"{shown(text)} is more than 64 bits hold")
    return int(text)


def _real(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{shown(text)} is more than float64 holds")
    return number


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
