"""What stays on the machine: folders, and with them names of people, are taken out of texts."""

import contextlib
import os
import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from loang.hub.address import is_hub

# Names may hold spaces, as "My Photos" does, and O'Brien's quote. Of "of /al/x and b/c" more may
# go than is private: "c" is left. That is better than less.
_LETTER = r"(?:[^/\n\"'`|<>]|(?<=\w)'(?=\w))"
_FOLDER = rf"(?!\s){_LETTER}+(?<![\s:])/"
_LAST = r"((?:[^\s/\"'`|<>]|(?<=\w)'(?=\w))*)"
# The same of Windows, whose separators are doubled where a text is quoted.
_WINDOWS_FOLDER = _FOLDER.replace(r"[^/", r"[^\\/").removesuffix("/") + r"[\\/]{1,2}"
_WINDOWS_LAST = _LAST.replace(r"[^\s/", r"[^\s\\/")

# At least one folder, from the root, a home, a server or dots; `https://a/b` and `1/2` are none.
_POSIX = re.compile(
    r"(?<![\w./~\\])(?:file://[^\s/]*|~(?:[A-Za-z_][\w.-]*)?|\.{1,2}|(?<!:)/)?/"
    rf"(?:{_FOLDER})+{_LAST}"
)
_WINDOWS = re.compile(
    rf"(?:\b[A-Za-z]:[\\/]{{1,2}}(?:{_WINDOWS_FOLDER})*"
    rf"|(?<![\w\\])(?:\\{{2,4}}|(?:~|\.{{1,2}})\\{{1,2}})(?:{_WINDOWS_FOLDER})+)"
    rf"{_WINDOWS_LAST}"
)
_BEFORE, _AFTER = r"(?<![\w.~/\\-])", r"(?![\w-])"
_URL = re.compile(r"(?!file:)[A-Za-z][\w+.-]+://", re.IGNORECASE)
_OPTION = re.compile(r"([\w.-]+=)(.*)", re.DOTALL)


class Private:
    """Takes folders out of texts: of a place only its last name stays.

    Args:
        places: known ones, as they were typed or as they are; None is passed over.
        command: a line of a shell that may stand in a text, whose words may be any places.
    """

    def __init__(self, places: Iterable[str | None] = (), command: str | None = None) -> None:
        known = {form: last(place) or "" for place in places if place for form in _forms(place)}
        homes = {str(Path.cwd()): ".", str(Path.home()): "~"}
        homes.pop(os.sep, None)
        # All that follows a home goes too: what is named from there tells of folders as well.
        tail = rf"(?:[\\/]{{1,2}}(?:{_WINDOWS_FOLDER})*{_WINDOWS_LAST}|{_AFTER})"
        # Longer ones first: a folder lies in another. Whole names: /home/al is not /home/alice.
        self._known = [
            (
                re.compile(
                    _BEFORE + re.escape(place) + (tail if place in homes else f"(){_AFTER}")
                ),
                homes.get(place) or known[place],
            )
            for place in sorted({*known, *homes}, key=len, reverse=True)
        ]
        if command:
            self._known.insert(0, (re.compile(f"{re.escape(command)}()"), _cleaned(command)))

    def text(self, said: str) -> str:
        """With the last names of places in the stead of their paths."""
        for place, name in self._known:
            said = place.sub(lambda found, name=name: found[1] or name, said)  # type: ignore[misc]
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
    if place is None or is_hub(place) or _URL.match(place):
        return place
    parts = [part for part in re.split(r"[\\/]+", place) if part not in ("", ".", "..", "~")]
    if not parts:
        return "images"  # of `.`, say
    return parts[-1]


def _forms(place: str) -> set[str]:
    """A place as a text may name it: as typed, from the root and from here; none of mere names."""
    if last(place) == place:
        return set()
    forms = {place, os.path.normpath(place)}
    with contextlib.suppress(OSError, ValueError):  # no name of a file, or on another drive
        full = os.path.abspath(place)  # noqa: PTH100 (a link stays the link that was named)
        forms |= {full, os.path.realpath(full), os.path.relpath(full)}
    return {form for form in forms if re.search(r"[^\\/.][\\/]|[\\/][^\\/.]", form)}


def _cleaned(command: str) -> str:
    """A command with the last names of all its words that may be places."""
    try:
        words = shlex.split(command)
    except ValueError:  # quotes that don't end
        return "loang"
    return shlex.join(map(_word, words))


def _word(word: str) -> str:
    option = _OPTION.fullmatch(word)
    if option and re.search(r"[\\/]", option[2]):
        return option[1] + str(last(option[2]))
    return str(last(word)) if re.search(r"[\\/]", word) else word
