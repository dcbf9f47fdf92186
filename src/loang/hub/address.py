"""How a person names a model of the hub: `hub:owner/name@revision`."""

import re
from dataclasses import dataclass
from pathlib import Path

from loang.errors import LoangError
from loang.untrusted import shown

PREFIX = "hub:"
_PART = r"\w(?:[\w.-]{0,94}\w)?"
_ADDRESS = re.compile(rf"({_PART}/{_PART})(?:@([\w./+-]{{1,250}}))?", re.ASCII)


@dataclass(frozen=True)
class Address:
    """A model of the hub.

    Args:
        repo: owner/name.
        revision: a branch, tag or commit; None is the branch `main`.
    """

    repo: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"{PREFIX}{self.repo}" + (f"@{self.revision}" if self.revision else "")


def is_hub(named: str | Path) -> bool:
    """Whether a name is of a model of the hub, rather than of a file."""
    return _text(named).startswith(PREFIX)


def parse(named: str | Path) -> Address:
    """The parts of `hub:owner/name@revision`; without `hub:` too.

    Raises:
        LoangError: it is not written so, or the hub allows no such name.
    """
    text = _text(named).removeprefix(PREFIX)
    found = _ADDRESS.fullmatch(text)
    if found is None or found[1].endswith(".git") or "--" in found[1] or ".." in text:
        raise LoangError(
            f"{shown(str(named))!r} names no model of the hub.",
            "Write owner/name, of letters, digits and - _ . within them; after it @revision, if"
            " need be.",
        )
    return Address(found[1], found[2])


def _text(named: str | Path) -> str:
    return named if isinstance(named, str) else named.as_posix()
