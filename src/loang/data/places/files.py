"""The image files under a folder."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from loang.data.encoded.picture import SUFFIXES
from loang.data.places.names import listed, printable
from loang.errors import LoangError

OF_MANY = frozenset({".npy", ".npz", ".parquet", ".pq", ".arrow", ".feather", ".tar"})
"""Suffixes of single files that hold many images, and are named themselves."""


OURS = (
    frozenset({"config.json", "log.jsonl"}),
    frozenset({"doctor.json", "contact-sheet.png"}),
    frozenset({"report.json", "report.png"}),
)
"""What every folder of a run has, of an examined data set, and of an evaluation: see
training/folder.py, doctor/data_sheets.py and evaluation/output.py."""


@dataclass(frozen=True)
class Found:
    """What lies under a folder.

    Args:
        pictures: image files at any depth, sorted.
        others: how many other files there are, by suffix.
        leaving: links to images or folders that lie outside, which were not followed.
        ours: folders that loang made: runs, whose samples are no images to learn from, and what
            `loang doctor` and `loang evaluate` draw.
    """

    pictures: Sequence[Path]
    others: Counter[str]
    leaving: Sequence[Path]
    ours: Sequence[Path] = ()


def find_pictures(folder: Path, follow_links: bool = False) -> Found:
    """All image files at any depth.

    Links within the folder are followed, each folder being visited once; those that leave it only
    if that is asked for, as a folder that somebody else made could link to anything. What is
    hidden (a leading dot) or left by macOS's zip (`__MACOSX`) is passed over.

    Raises:
        LoangError: the folder is missing or may not be read, or holds no image.
    """
    accepted = ", ".join(sorted(suffix[1:] for suffix in SUFFIXES))
    remedy = f"Name a folder with images ({accepted}), in subfolders or not."
    if not folder.is_dir():
        raise LoangError(f"There is no folder {folder}.", remedy)
    pictures, others, leaving = list[Path](), Counter[str](), list[Path]()
    of_many: Path | None = None
    inside = folder.resolve()

    def stays(path: Path) -> bool:
        """Whether a link may be followed; one that is left aside is noted."""
        if follow_links or not path.is_symlink() or _within(path, inside):
            return True
        leaving.append(path)
        return False

    visited, ours = set[tuple[int, int]](), list[Path]()
    for root, folders, files in os.walk(folder, followlinks=True, onerror=_refuse):
        status = Path(root).stat()
        if (status.st_dev, status.st_ino) in visited:  # a link back to where we have been
            folders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        if _is_ours(files) and Path(root) != folder:
            ours.append(Path(root))
            folders.clear()
            continue
        kept = sorted(name for name in folders if not _passed_over(name))
        folders[:] = [name for name in kept if stays(Path(root, name))]
        for name in files:
            path = Path(root, name)
            if _passed_over(name):
                continue
            if path.suffix.lower() in SUFFIXES:
                if stays(path):
                    pictures.append(path)
            else:
                others[path.suffix.lower() or "no suffix"] += 1
                if of_many is None and path.suffix.lower() in OF_MANY:
                    of_many = path
    if not pictures:
        only = [describe_others(others)] if others else []
        only += [describe_leaving(leaving, folder)] if leaving else []
        found = f": only {' and '.join(only)}" if only else ""
        if of_many is not None:
            remedy = f"If they are in {printable(str(of_many))}, name that file itself."
        raise LoangError(f"The folder {folder} holds no images{found}.", remedy)
    pictures.sort(key=lambda path: path.relative_to(folder).as_posix())
    return Found(pictures, others, leaving, ours)


def holds_pictures(folder: Path) -> bool:
    """Whether there is an image file in a folder, at any depth; it looks until the first.

    Folders that are links are not entered, nor what `find_pictures` passes over.
    """
    for root, folders, files in os.walk(folder):
        if _is_ours(files) and Path(root) != folder:
            folders.clear()
            continue
        folders[:] = [name for name in folders if not _passed_over(name)]
        pictures = (name for name in files if Path(name).suffix.lower() in SUFFIXES)
        if any(not _passed_over(name) for name in pictures):
            return True
    return False


def describe_others(others: Counter[str]) -> str:
    """For instance `3 files of other kinds (.txt, .heic)`."""
    count = others.total()
    kinds = listed([suffix for suffix, _ in others.most_common(5)])
    return f"{count:,} file{'s' * (count > 1)} of other kinds ({kinds})"


def describe_leaving(leaving: Sequence[Path], folder: Path) -> str:
    """For instance `2 links that leave the folder (a, b; data.follow_links=true allows them)`."""
    named = listed([path.relative_to(folder).as_posix() for path in sorted(leaving)])
    return (
        f"{len(leaving):,} link{'s' * (len(leaving) > 1)} that leave the folder ({named};"
        " data.follow_links=true allows them)"
    )


def _within(path: Path, inside: Path) -> bool:
    """Whether a link ends within a folder; one that leads nowhere, or in a circle, harms nobody."""
    try:
        return path.resolve(strict=True).is_relative_to(inside)
    except (OSError, RuntimeError):
        return True


def _is_ours(files: Sequence[str]) -> bool:
    return any(names.issubset(files) for names in OURS)


def _passed_over(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _refuse(error: OSError) -> None:
    raise LoangError(
        f"The folder {error.filename} cannot be read: {error.strerror}.",
        "Give yourself the right to read it, or name another folder.",
    ) from error
