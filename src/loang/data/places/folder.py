"""A folder of image files, of any depth, as one collection."""

import hashlib
import os
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Shaped

from loang.data.collection import Collection, Labels
from loang.data.encoded.picture import Header, Unreadable, count_pages, read_header, read_picture
from loang.data.places.files import describe_leaving, describe_others, find_pictures
from loang.data.places.labels import LabelFile, find_labels, read_labels
from loang.data.wishes import Wishes
from loang.data.workers import in_threads

PAGED = frozenset({".tif", ".tiff"})
# Subfolders so called are parts of a data set, not classes of images.
TO_LEARN = frozenset({"train", "training"})
TO_VALIDATE = frozenset({"val", "valid", "validation", "dev"})
TO_TEST = frozenset({"test", "testing"})
PARTS = TO_LEARN | TO_VALIDATE | TO_TEST


class FolderCollection(Collection):
    """All image files under a folder; each page of a TIFF is an image.

    The classes are those of a file of labels, or the names of the subfolders, where there are at
    least two and every image lies in one. Subfolders called `train`, and `val` or `test`, are the
    given parts; the classes are then the subfolders of these.

    Args:
        folder: searched at any depth.
        wishes: `follow_links`, `labels_file`, `image_column` and `label_column`.

    Raises:
        LoangError: no folder, no image in it, or a file of labels that can't be used.
    """

    def __init__(self, folder: Path, wishes: Wishes) -> None:
        super().__init__(str(folder))
        self.folder = folder
        self.wishes = wishes
        found = find_pictures(folder, wishes.follow_links)
        places = [path.relative_to(folder).parts for path in found.pictures]
        tops = {place[0].casefold() for place in places if len(place) > 1}
        self.parted = bool(tops) and tops <= PARTS and all(len(place) > 1 for place in places)
        left = TO_TEST if self.parted and tops & TO_LEARN and tops & TO_VALIDATE else frozenset()
        self.paths = [
            path
            for path, place in zip(found.pictures, places, strict=True)
            if place[0].casefold() not in left
        ]
        self.label_file = find_labels(folder) if wishes.labels_file is None else None
        if wishes.labels_file is not None:
            self.label_file = Path(wishes.labels_file).expanduser()
        others = found.others.copy()
        if self.label_file is not None and self.label_file.parent == folder:
            others[self.label_file.suffix.lower()] -= 1
        others = +others
        notices = list[str]()
        if others:
            notices.append(f"{describe_others(others)} in {folder} were left aside.")
        if found.leaving:
            leaving = describe_leaving(found.leaving, folder)
            notices.append(f"In {folder}, {leaving} were left aside.")
        if left & tops:
            notices.append(
                f"The subfolder {', '.join(sorted(left & tops))} of {folder} is left aside, as"
                " another is for validation: name it to evaluate against it."
            )
        self.notices = notices

    def identity(self) -> str:
        """Of every file its path, size and times; a copy elsewhere is another collection."""
        digest = hashlib.sha256()
        for path in [*self.paths, *([self.label_file] if self.label_file else [])]:
            try:
                status = path.stat()
                about = f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"
            except OSError as error:
                about = str(error.errno)
            digest.update(os.fsencode(path) + b"\0" + about.encode() + b"\0")
        return digest.hexdigest()

    @cached_property
    def images(self) -> list[tuple[Path, int]]:
        """The file and the page of each image."""

        def pages(path: Path) -> int:
            if path.suffix.lower() not in PAGED:
                return 1
            try:
                return max(1, count_pages(path))
            except Unreadable:
                return 1  # its header will tell why

        counts = in_threads(pages, self.paths)
        return [
            (path, page)
            for path, count in zip(self.paths, counts, strict=True)
            for page in range(count)
        ]

    def __len__(self) -> int:
        return len(self.images)

    def header(self, index: int) -> Header:
        """See `Collection`."""
        path, page = self.images[index]
        return read_header(path, page)

    def picture(self, index: int) -> Shaped[np.ndarray, "h w c"]:
        """See `Collection`."""
        path, page = self.images[index]
        return read_picture(path, page)

    def place(self, index: int) -> str:
        """The path within the folder, with the page's number after the first."""
        path, page = self.images[index]
        place = path.relative_to(self.folder).as_posix()
        return f"{place}, page {page + 1}" if page else place

    @cached_property
    def _file(self) -> LabelFile | None:
        if self.label_file is None:
            return None
        places = [path.relative_to(self.folder).as_posix() for path, _ in self.images]
        wishes = self.wishes
        read = read_labels(self.label_file, places, wishes.image_column, wishes.label_column)
        if read.notice:
            self.notices = [*self.notices, read.notice]
        return read

    def labels(self) -> Labels | None:
        """From the file of labels, else from the subfolders."""
        if self._file is not None and self._file.labels is not None:
            return self._file.labels
        inside = 1 if self.parted else 0
        places = [path.relative_to(self.folder).parts[inside:] for path, _ in self.images]
        names = {place[0] for place in places if len(place) > 1}
        if len(names) < 2 or any(len(place) == 1 for place in places):
            return None
        return Labels.of([place[0] for place in places])

    def held_out(self) -> Bool[np.ndarray, " n"] | None:
        """From the file of labels, else from subfolders that are called parts."""
        if self._file is not None and self._file.held_out is not None:
            return self._file.held_out
        if not self.parted:
            return None
        tops = [path.relative_to(self.folder).parts[0].casefold() for path, _ in self.images]
        return np.array([top not in TO_LEARN for top in tops], bool)
