"""What several verbs read alike."""

import re

from loang.errors import LoangError


def size(text: str | None) -> tuple[int, int] | None:
    """`64` or `48x64` (height x width) as two numbers.

    Raises:
        LoangError: it is neither.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)(?:[x×](\d+))?", text.strip().lower())
    if match is None or int(match[1]) < 1 or int(match[2] or 1) < 1:
        raise LoangError(
            f"{text!r} is no size.", "Write --size 32, or --size 48x64 (height first)."
        )
    height = int(match[1])
    return height, int(match[2] or height)
