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


def channels(text: str | None) -> int | None:
    """`grey`, `rgb`, `rgba` or a number.

    Raises:
        LoangError: it is none of these.
    """
    words = {"grey": 1, "gray": 1, "rgb": 3, "rgba": 4}
    if text is None or text.strip().lower() in words:
        return None if text is None else words[text.strip().lower()]
    if not text.strip().isdecimal() or int(text) < 1:
        raise LoangError(
            f"{text!r} is no number of channels.", "Write grey, rgb, rgba or a number."
        )
    return int(text)


def length(duration: str | None, epochs: float | None, images: int | None) -> str | None:
    """A budget of training from the options --for, --epochs and --images; None if none is given.

    Raises:
        LoangError: two are given.
    """
    lengths = {
        "--for": duration,
        "--epochs": None if epochs is None else f"{epochs:.10g} epochs",
        "--images": None if images is None else f"{images} images",
    }
    given = [name for name, value in lengths.items() if value is not None]
    if len(given) > 1:
        raise LoangError(f"{' and '.join(given)} both give a length.", "Choose one of them.")
    return lengths[given[0]] if given else None
