"""Names that other people gave to files and classes, as a person may safely read them."""

import re
from collections.abc import Sequence

from loang.data.collection import Labels
from loang.errors import LoangError
from loang.untrusted import shown

NAMED = 5
"""That many are called by name, and of each so many characters:"""
LONGEST = 200
# Control characters, line ends, what turns the direction of writing, and bytes that are no UTF-8.
# Joiners stay, as some scripts and emoji need them. The backslash makes the result unambiguous.
_UNSAFE = re.compile(
    "[\\\\\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(name: str) -> str:
    r"""The same name, on one line and without commands to a terminal; no two names become one.

    Letters of all scripts stay; a line end becomes `\n`, an escape `\x1b`, a backslash `\\`.
    """
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), name)


def listed(names: Sequence[str], most: int = NAMED) -> str:
    """The first of some names, printable, and how many more there are."""
    some = ", ".join(shown(printable(name), LONGEST) for name in names[:most])
    return some + (f" and {len(names) - most:,} more" if len(names) > most else "")


def checked(labels: Labels | None, where: str, remedy: str) -> Labels | None:
    """The same labels, if no class has a sign in its name that no model may keep.

    Args:
        where: what a person calls the place.
        remedy: what to do.

    Raises:
        LoangError: one has.
    """
    odd = next((n for n in labels.names if not _sound(n)), None) if labels is not None else None
    if odd is not None:
        why = "holds a control character" if _TEXT.fullmatch(odd) else "is no UTF-8"
        raise LoangError(
            f"The name of the class {listed([odd])} of {where} {why}.",
            f"{remedy}, or choose --no-labels.",
        )
    return labels


_TEXT = re.compile("[^\ud800-\udfff]*", re.DOTALL)


def _sound(name: str) -> bool:
    """The rule of `ImageSpec.check_size`, and that it is text."""
    return not re.search("[\x00-\x1f\x7f\ud800-\udfff]", name)
