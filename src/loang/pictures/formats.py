"""Which format a file's name asks for."""

from collections.abc import Mapping
from pathlib import Path

from loang.errors import LoangError


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
