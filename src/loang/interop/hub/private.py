"""What stays on the machine: folders, and with them names of people, are taken out of texts."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from loang.hub.address import is_hub

# At least one folder, from the root, the home or a drive; `https://a/b` and `1/2` are none.
_POSIX = re.compile(r"(?<![\w.:/~\\])(?:~|(?:file:)?//)?/(?:[^\s/\"'`|<>]+/)+([^\s/\"'`|<>]*)")
_WINDOWS = re.compile(r"\b[A-Za-z]:[\\/]{1,2}(?:[^\s\\/\"'`|<>]+[\\/]{1,2})*([^\s\\/\"'`|<>]*)")


class Private:
    """Takes folders out of texts: of a place only its last name stays.

    Args:
        places: known ones, as they were typed or as they are; None is passed over.
    """

    def __init__(self, places: Iterable[str | None] = ()) -> None:
        home = str(Path.home())
        known = {str(place): last(place) for place in places if place and last(place) != place}
        known[str(Path.cwd())] = "."
        if home != "/":
            known[home] = "~"
        # Longer ones first: a folder lies in another. Whole names: /home/al is not /home/alice.
        ordered = sorted(known, key=len, reverse=True)
        self._known = [
            (re.compile(rf"(?<![\w.~/\\-]){re.escape(place)}(?![\w-])"), known[place])
            for place in ordered
            if len(place) > 1
        ]

    def text(self, said: str) -> str:
        """With the last names of places in the stead of their paths."""
        for place, name in self._known:
            said = place.sub(lambda found, name=name: name, said)  # type: ignore[misc]
        said = _WINDOWS.sub(lambda found: found[1] or ".", said)
        return _POSIX.sub(lambda found: found[1] or ".", said)

    def value(self, value: Any) -> Any:
        """The same of every text within plain values of JSON; keys stay."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {key: self.value(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(each) for each in value]
        return value


def last(place: str | None) -> str | None:
    """The last name of a place on the disk; a name that is none stays as it is."""
    if place is None or is_hub(place) or "://" in place:
        return place
    parts = [part for part in re.split(r"[\\/]+", place) if part not in ("", ".", "..", "~")]
    if not parts:
        return "images"  # of `.`, say
    return parts[-1]
