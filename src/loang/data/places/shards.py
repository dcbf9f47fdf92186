"""A data set that lies in several files, its shards: which there are, and what their names say."""

import itertools
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from loang.data.places.files import describe_leaving
from loang.data.places.names import listed
from loang.data.places.parts import PARTS, parts_of
from loang.data.places.parts import aside_notice as aside_notice
from loang.data.places.parts import left_aside as left_aside
from loang.errors import LoangError

INNER = ("", "data", *sorted(PARTS))
"""Where in a folder shards are looked for: itself, and subfolders that are called so."""
PASSED_OVER = frozenset({"metadata.parquet"})
"""Tables that describe image files beside them, and hold no images."""
MOST = 100_000
BRACES = re.compile(r"\{(\d{1,9})\.\.(\d{1,9})\}")
_WORD = re.compile(r"[^a-z]+")


def shards_in(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """The files with one of those suffixes in a folder, or in its subfolders for parts; sorted."""
    found = list[Path]()
    for inner in INNER:
        place = folder / inner
        try:
            files = sorted(place.iterdir()) if place.is_dir() else []
        except OSError:  # a folder that may not be entered holds nothing for us
            files = []
        found += [
            path
            for path in files
            if path.suffix.lower() in suffixes
            and not path.name.startswith(".")
            and path.name not in PASSED_OVER
            and path.is_file()
        ]
    return found


def find_shards(
    name: str, suffixes: Sequence[str], follow_links: bool
) -> tuple[list[tuple[Path, str]], list[str]]:
    """The shards that a name means, itself or all in that folder, with their parts; and notices.

    Args:
        name: of a file, of a folder, or a range in braces.
        suffixes: of the files.
        follow_links: also links that leave the folder.

    Raises:
        LoangError: there is none, or one of the range is missing.
    """
    place = path_of(name)
    if not place.is_dir():
        paths = [place] if place.exists() else [path_of(each) for each in expand_braces(name)]
        _require_all(name, paths)
        return [(path, "") for path in paths], []
    found = shards_in(place, suffixes)
    inside = place.resolve()
    leaving = [
        path
        for path in found
        if not follow_links and path.is_symlink() and not path.resolve().is_relative_to(inside)
    ]
    kept = [(p, split_of(str(p.relative_to(place)))) for p in found if p not in set(leaving)]
    if not kept:
        raise LoangError(
            f"The folder {place} holds no {' or '.join(suffixes)} files of its own.",
            "Name one that does, or allow links with --set data.follow_links=true."
            if leaving
            else "Name one that does.",
        )
    notices = []
    if leaving:
        notices = [f"In {place}, {describe_leaving(leaving, place)} were left aside."]
    names = [str(path.relative_to(place)) for path, _ in kept]
    parts = parts_of([split for _, split in kept], names, name, "file")
    return list(itertools.compress(kept, parts.kept)), [*notices, *parts.notices]


def path_of(name: str) -> Path:
    """The path that a person wrote, ~ being their home."""
    try:
        return Path(name).expanduser()
    except RuntimeError:  # ~somebody whom this machine does not know
        return Path(name)


def expand_braces(name: str) -> list[str]:
    """`a-{000..002}.tar` as a-000.tar, a-001.tar and a-002.tar, as WebDataset writes shards.

    Raises:
        LoangError: the range is backwards, or too long.
    """
    match = BRACES.search(name)
    if match is None:
        return [name]
    first, last = match.groups()
    if not 0 <= int(last) - int(first) < MOST:
        raise LoangError(
            f"{match[0]} is no range of 1 to {MOST:,} shards.",
            "Write the first and the last number, such as {000000..000099}.",
        )
    numbers = range(int(first), int(last) + 1)
    start, end = name[: match.start()], name[match.end() :]
    return [f"{start}{number:0{len(first)}d}{end}" for number in numbers]


def split_of(path: str) -> str:
    """The part that a shard's path names: `train-00000-of-00002.parquet`, `test/0000.parquet`.

    An empty text where it names none. The file's own name counts before its folder's.
    """
    for segment in reversed(PurePosixPath(path).parts):
        words = [word for word in _WORD.split(segment.lower()) if word]
        found = next((word for word in words if word in PARTS), None)
        if found is not None:
            return found
    return ""


def _require_all(name: str, paths: Sequence[Path]) -> None:
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise LoangError(
            f"{len(missing):,} of the {len(paths):,} files {name} are missing:"
            f" {listed([str(missing[0])])}{' and others' if len(missing) > 1 else ''}.",
            "Download them, or write the range of those that are there.",
        )
