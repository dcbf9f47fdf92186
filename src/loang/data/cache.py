"""What lies in the cache: packs of images, downloads, features; listed, and cleared.

A person may have named a folder as the cache that holds files of theirs, so that only what is
called as loang calls its own is listed, and deleted.
"""

import contextlib
import json
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loang import files
from loang.data import pack
from loang.data.environment import cache_folder

_HASH = "[0-9a-f]{16}"
_PACK = re.compile(rf"\.?{_HASH}-{_HASH}-{_HASH}(\.{_HASH}\.\d+)?")
"""The folder of a pack, or of one that is not finished: see packing.py."""
_OTHERS = {
    "fashion-mnist": (
        "Fashion-MNIST, downloaded",
        re.compile(r"(train|t10k)-(images-idx3|labels-idx1)-ubyte\.gz(\.part)?"),
    ),
    "features": (
        "feature networks",
        re.compile(
            rf"own-{_HASH}-v1\.safetensors|[\w-]+-[0-9a-f]{{24}}\.safetensors"
            r"|weights-inception-[\d-]+-[0-9a-f]{8}\.pth(\.part)?"
        ),
    ),
    "hub": ("what data sets of the hub hold", re.compile(rf"{_HASH}\.json")),
}
"""Folders in the cache, what they hold, and what the files are called that loang puts there."""


@dataclass(frozen=True)
class Kept:
    """One thing in the cache.

    Args:
        path: its folder.
        parts: what to delete: that folder, or files in it.
        what: what it is, in words.
        bytes: on the disk.
        used: when it was made or changed, in seconds since 1970.
        stale: whether nothing will use it again: its images are gone, or it was never finished.
    """

    path: Path
    parts: tuple[Path, ...]
    what: str
    bytes: int
    used: float
    stale: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        about = {name: value for name, value in self.__dict__.items() if name != "parts"}
        return {**about, "path": str(self.path)}

    def __str__(self) -> str:
        day = time.strftime("%Y-%m-%d", time.localtime(self.used))
        state = ", of no more use" if self.stale else ""
        return f"{files.amount(self.bytes):>12}  {day}  {self.what}{state}"


def kept() -> list[Kept]:
    """Everything in the cache, the largest first; none where there is no cache."""
    found = [*_packs(), *_others()]
    return sorted(found, key=lambda each: -each.bytes)


def clear() -> int:
    """Delete all of the cache; returns how many bytes are gone.

    Runs that learn from a pack at this moment go on where the system keeps open files alive
    (Linux, macOS); on Windows these files stay, as does what the system lets nobody delete.
    """
    freed = 0
    for each in kept():
        for part in each.parts:
            if part.is_dir():
                pack.remove(part)
            else:
                with contextlib.suppress(OSError):
                    part.unlink()
        freed += each.bytes - _size(each.parts)
        with contextlib.suppress(OSError):  # it has other files, or is gone with its pack
            each.path.rmdir()
    return freed


def _packs() -> Iterator[Kept]:
    folder = cache_folder() / "packed"
    for place in folder.iterdir() if folder.is_dir() else ():
        if not _PACK.fullmatch(place.name) or not place.is_dir() or place.is_symlink():
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
        yield Kept(place, (place,), name, _size([place]), _time(place), stale)


def _is_there(name: str) -> bool:
    """Whether images may still be where they were; what is no path may be on the network."""
    path = Path(name)
    return path.exists() or not path.is_absolute()


def _others() -> Iterator[Kept]:
    for name, (what, ours) in _OTHERS.items():
        folder = cache_folder() / name
        found = [
            path
            for path in (folder.iterdir() if folder.is_dir() else ())
            if ours.fullmatch(path.name) and path.is_file() and not path.is_symlink()
        ]
        if found:
            yield Kept(folder, tuple(found), what, _size(found), _time(folder))


def _size(parts: Iterable[Path]) -> int:
    """Bytes of files, and of all in folders; what is not there has none."""
    inside = (path for part in parts for path in (part, *part.rglob("*")))
    return sum(path.lstat().st_size for path in inside if path.is_file())


def _time(place: Path) -> float:
    try:
        return place.stat().st_mtime
    except OSError:
        return 0.0
