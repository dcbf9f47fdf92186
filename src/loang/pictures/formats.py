"""Which format a file's name asks for, and how large a picture it holds."""

from collections.abc import Mapping
from pathlib import Path

from loang.errors import LoangError

LARGEST = {".webp": 16_383, ".gif": 65_535}
"""Pixels a side; PNG has room for two billion."""


def format_of(path: Path, formats: Mapping[str, str], noun: str) -> str:
    """The format that a file's suffix asks for.

    Args:
        path: where the file will be written.
        formats: suffix in lower case, with its dot, to the format's name.
        noun: what is being written, in the plural, for the error message.

    Raises:
        LoangError: the suffix is none of `formats`.
    """
    suffix = path.suffix.lower()
    if suffix not in formats:
        *others, last = formats
        wanted = f"{', '.join(others)} or {last}" if others else last
        named = f"{suffix} {noun}" if suffix else f"{noun} without a suffix"
        raise LoangError(
            f"loang can't write {named} ({path}).", f"Give the file a name that ends in {wanted}."
        )
    return formats[suffix]


def check_sides(path: Path, width: int, height: int) -> None:
    """Whether the format that a file's suffix asks for holds a picture of so many pixels.

    Raises:
        LoangError: it doesn't.
    """
    most = LARGEST.get(path.suffix.lower())
    if most is not None and max(width, height) > most:
        raise LoangError(
            f"{path} would be a picture of {width:,}x{height:,} pixels, and such a file holds"
            f" {most:,} a side at the most.",
            "Write it to a file whose name ends in .png, or samples to one in .npy.",
        )
