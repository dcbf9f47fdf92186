"""README.md of a repository: what a push writes in it, and what is somebody else's and stays."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from loang.errors import LoangError
from loang.extras import require
from loang.interop.hub.card import BEGIN, END

LARGEST = 2**20
"""Bytes that an existing one may have."""
LARGEST_HEAD = 2**16
"""Characters that its metadata may have."""
MOST_SIGNS = 64
"""Brackets, or dashes of lists, in a row: more take the reader of YAML minutes."""
OURS = ("model-index", "datasets")
"""Keys of metadata that a push takes away again, where they no longer hold."""
_FRONT = re.compile(r"\A\s*---[ \t]*\r?\n(.*?)\r?\n?---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_NESTED = re.compile(rf"(?:[\[{{]\s*){{{MOST_SIGNS}}}|(?:[-?:][ \t]+){{{MOST_SIGNS}}}")
_LISTED = re.compile(r"^- `([^`\s]+)`:", re.MULTILINE)


@dataclass(frozen=True)
class Readme:
    """A card as it is on the hub.

    Args:
        metadata: of its head.
        before, block, after: its text: what a push wrote, and what stands around that; a block of
            None was written by no push.
    """

    metadata: Mapping[str, Any] = field(default_factory=dict)
    before: str = ""
    block: str | None = None
    after: str = ""

    @property
    def written(self) -> set[str]:
        """Names of the files that the last push says it has written."""
        return set(_LISTED.findall(self.block or ""))


def read(content: bytes, of: str) -> Readme:
    """A README.md that is there already; anybody may have written it.

    Args:
        content: its bytes.
        of: whose it is, for messages.

    Raises:
        LoangError: it is too large, no text, or its metadata can't be read.
    """
    yaml = require("yaml", extra="hub", purpose="for a model's card")
    try:
        if len(content) > LARGEST:
            raise ValueError(f"it has {len(content):,} bytes, more than {LARGEST:,}")
        text = content.decode("utf-8-sig")
        front = _FRONT.match(text)
        head = front[1] if front else ""
        if len(head) > LARGEST_HEAD or _NESTED.search(head):
            raise ValueError("its metadata are too long, or lists within lists")
        # A few words with aliases can stand for any number of values.
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(head)):
            raise ValueError("its metadata have aliases")
        metadata = yaml.safe_load(head) or {}
        if not isinstance(metadata, dict) or not all(isinstance(key, str) for key in metadata):
            raise ValueError("its metadata are no keys with values")
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise LoangError(
            f"The README.md of {of} can't be read: {reason}.", "Mend it on its page, or remove it."
        ) from error
    body = text[front.end() :] if front else text
    before, begin, rest = body.partition(BEGIN)
    block, end, after = rest.partition(END)
    if not begin or not end:
        return Readme(metadata, after=body)
    return Readme(metadata, before, block, after)


def merged(there: Readme, values: Mapping[str, Any], text: str) -> str:
    """The new README.md: its own metadata and text, and all that is not a push's.

    Args:
        there: the one that is replaced.
        values: the card's metadata.
        text: the card, between `BEGIN` and `END`.
    """
    yaml = require("yaml", extra="hub", purpose="for a model's card")
    gone = OURS if there.block is not None else ()
    # In the order that they have there, so that a card that is the same is the same file.
    kept = [key for key in there.metadata if key in values or key not in gone]
    head = {key: values.get(key, there.metadata.get(key)) for key in (*kept, *values)}
    theirs = there.metadata.get("tags")
    if isinstance(theirs, list):
        head["tags"] = [*theirs, *(tag for tag in values.get("tags", ()) if tag not in theirs)]
    written = yaml.safe_dump(head, sort_keys=False, allow_unicode=True, width=2**16)
    before = there.before.strip("\n")
    body = "\n\n".join(part for part in (before, text.strip("\n")) if part)
    after = there.after.strip("\n")
    return f"---\n{written}---\n\n{body}\n" + (f"\n{after}\n" if after else "")
