"""The image files under a folder."""

import os
from collections import Counter
from pathlib import Path

from loang.data.picture import SUFFIXES
from loang.errors import LoangError


def find_pictures(folder: Path) -> tuple[list[Path], Counter[str]]:
    """All image files at any depth, sorted, and how many other files there are by suffix.

    Links to folders are followed, each folder being visited once; what is hidden (a leading dot)
    or left by macOS's zip (`__MACOSX`) is passed over.

    Raises:
        LoangError: the folder is missing or may not be read, or holds no image.
    """
    accepted = ", ".join(sorted(suffix[1:] for suffix in SUFFIXES))
    remedy = f"Name a folder with images ({accepted}), in subfolders or not."
    if not folder.is_dir():
        raise LoangError(f"There is no folder {folder}.", remedy)
    pictures, others = list[Path](), Counter[str]()
    visited = set[tuple[int, int]]()
    for root, folders, files in os.walk(folder, followlinks=True, onerror=_refuse):
        status = Path(root).stat()
        if (status.st_dev, status.st_ino) in visited:  # a link back to where we have been
            folders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not _passed_over(name))
        for name in files:
            path = Path(root, name)
            if _passed_over(name):
                continue
            if path.suffix.lower() in SUFFIXES:
                pictures.append(path)
            else:
                others[path.suffix.lower() or "no suffix"] += 1
    if not pictures:
        found = f": only {describe_others(others)}" if others else ""
        raise LoangError(f"The folder {folder} holds no images{found}.", remedy)
    return sorted(pictures, key=lambda path: path.relative_to(folder).as_posix()), others


def describe_others(others: Counter[str]) -> str:
    """For instance `3 files of other kinds (.txt, .heic)`."""
    count = others.total()
    kinds = ", ".join(suffix for suffix, _ in others.most_common(5))
    return f"{count:,} file{'s' * (count > 1)} of other kinds ({kinds})"


def _passed_over(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _refuse(error: OSError) -> None:
    raise LoangError(
        f"The folder {error.filename} cannot be read: {error.strerror}.",
        "Give yourself the right to read it, or name another folder.",
    ) from error
