"""A stranger's configuration: each key is taken by its name and type, and what is left is named."""

from collections.abc import Mapping
from typing import Any

from loang.errors import LoangError
from loang.untrusted import shown

MOST = 32
"""Entries of a list: of the levels of a network."""


class Keys:
    """The values of one JSON object, of which each is asked for once.

    Args:
        values: by name; those whose names begin with `_` are notes, not values.
        subject: what they describe, for messages: "network".
    """

    def __init__(self, values: Mapping[str, Any], subject: str) -> None:
        self.subject = subject
        self.left = {key: value for key, value in values.items() if not key.startswith("_")}

    def whole(self, key: str, default: int) -> int:
        """An integer."""
        value = self._take(key, default)
        if type(value) is not int:  # JSON's true would pass for 1
            raise self.refusal(key, value)
        return value

    def whole_or_none(self, key: str, default: int | None) -> int | None:
        """An integer, or null."""
        if self.left.get(key, default) is None:
            self.left.pop(key, None)
            return None
        return self.whole(key, 0 if default is None else default)

    def real(self, key: str, default: float) -> float:
        """A number."""
        value = self._take(key, default)
        if type(value) not in (int, float):
            raise self.refusal(key, value)
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self._take(key, default)
        if type(value) is not bool:
            raise self.refusal(key, value)
        return value

    def one_of(self, key: str, default: str, known: Mapping[str, str]) -> str:
        """A text that means something here: what it means."""
        value = self._take(key, default)
        if not isinstance(value, str) or value not in known:
            raise self.refusal(key, value)
        return known[value]

    def wholes(self, key: str, default: tuple[int, ...] | None) -> tuple[int, ...]:
        """A list of integers."""
        return self._list(key, default, int)

    def texts(self, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        """A list of texts."""
        return self._list(key, default, str)

    def raw(self, key: str) -> Any:
        """Any value, or None."""
        return self._take(key, None)

    def must_be(self, key: str, *values: Any) -> None:
        """One of these, the first where the key is missing: anything else can't be said."""
        value = self._take(key, values[0])
        # 1 and 1.0 are the same number; 1 and true are not.
        if not any(
            isinstance(value, bool) == isinstance(each, bool) and value == each for each in values
        ):
            raise self.refusal(key, value)

    def ignore(self, *keys: str) -> None:
        """Keys that say nothing of what is computed."""
        for key in keys:
            self.left.pop(key, None)

    def finish(self) -> None:
        """Raises LoangError if a key is left that nobody asked for."""
        for key, value in self.left.items():
            raise self.refusal(key, value)

    def refusal(self, key: str, value: Any) -> LoangError:
        """That this can't be said with loang's own words."""
        return LoangError(
            f"loang can't say {shown(key)}={shown(value)} of this {self.subject}.",
            "Use it with diffusers itself, or see docs/neighbours.md for what loang can say.",
        )

    def _take(self, key: str, default: Any) -> Any:
        return self.left.pop(key, default)

    def _list(self, key: str, default: Any, kind: type) -> tuple[Any, ...]:
        value = self._take(key, default)
        good = isinstance(value, list | tuple) and 0 < len(value) <= MOST
        if not good or any(type(each) is not kind for each in value):
            raise self.refusal(key, value)
        return tuple(value)
