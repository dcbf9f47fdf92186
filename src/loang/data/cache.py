"""What lies in the cache: packs of images, downloads, features; listed, and cleared."""

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loang import files
from loang.data import pack
from loang.data.environment import cache_folder
from loang.data.packing import LOCK

DOWNLOADED = {
    "fashion-mnist": "Fashion-MNIST, downloaded",
    "features": "feature networks",
}


@dataclass(frozen=True)
class Kept:
    """One thing in the cache.

    Args:
        path: its folder.
        what: what it is, in words.
        bytes: on the disk.
        used: when it was made or changed, in seconds since 1970.
        stale: whether nothing will use it again: its images are gone, or it was never finished.
    """

    path: Path
    what: str
    bytes: int
    used: float
    stale: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**self.__dict__, "path": str(self.path)}

    def __str__(self) -> str:
        day = time.strftime("%Y-%m-%d", time.localtime(self.used))
        state = ", of no more use" if self.stale else ""
        return f"{files.amount(self.bytes):>12}  {day}  {self.what}{state}"


def kept() -> list[Kept]:
    """Everything in the cache, the largest first; none where there is no cache."""
    found = [*_packs(), *_others()]
    return sorted(found, key=lambda each: -each.bytes)


def clear() -> int:
    """Delete all of the cache; returns how many bytes that was.

    Runs that learn from a pack at this moment go on where the system keeps open files alive
    (Linux, macOS); on Windows these files stay.

    Raises:
        LoangError: the cache can't be changed.
    """
    there = kept()
    for each in there:
        with files.writing(each.path):
            shutil.rmtree(
                each.path, ignore_errors=True
            ) if each.path.is_dir() else each.path.unlink()
    return sum(each.bytes for each in there)


def _packs() -> Iterator[Kept]:
    folder = cache_folder() / "packed"
    for place in folder.iterdir() if folder.is_dir() else ():
        if place.name.endswith(LOCK):
            continue
        name = "something that was never finished"
        stale = True
        try:
            about = json.loads((place / pack.ABOUT).read_text(encoding="utf-8"))
            name, count = str(about["name"]), int(about["of"]) - int(about["left_out"])
            stale = not _is_there(name)
            name = f"{count:,} images of {name}"
        except (OSError, ValueError, KeyError, TypeError):
            pass
        yield Kept(place, name, _size(place), _time(place), stale)


def _is_there(name: str) -> bool:
    """Whether images may still be where they were; what is no path may be on the network."""
    path = Path(name)
    return path.exists() or not path.is_absolute()


def _others() -> Iterator[Kept]:
    folder = cache_folder()
    for place in folder.iterdir() if folder.is_dir() else ():
        if place.name != "packed":
            name = DOWNLOADED.get(place.name, place.name)
            yield Kept(place, name, _size(place), _time(place))


def _size(place: Path) -> int:
    if place.is_file():
        return place.stat().st_size
    return sum(path.lstat().st_size for path in place.rglob("*") if path.is_file())


def _time(place: Path) -> float:
    try:
        return place.stat().st_mtime
    except OSError:
        return 0.0
