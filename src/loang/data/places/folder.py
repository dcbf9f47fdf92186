"""A folder of image files, of any depth, as one collection."""

import hashlib
import itertools
import os
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int, Shaped

from loang.data.collection import Collection, Labels
from loang.data.encoded.picture import Header, Unreadable, count_pages, read_header, read_picture
from loang.data.places.files import describe_leaving, describe_others, find_pictures
from loang.data.places.labels import LabelFile, find_labels, read_labels
from loang.data.places.names import checked, listed, printable
from loang.data.places.parts import PARTS, parts_of
from loang.data.wishes import Wishes
from loang.data.workers import in_threads
from loang.errors import LoangError

PAGED = frozenset({".tif", ".tiff"})


class FolderCollection(Collection):
    """All image files under a folder; each page of a TIFF is an image.

    The classes are those of a file of labels, or the names of the subfolders, where there are at
    least two and every image lies in one. Subfolders called `train`, and `val` or `test`, are the
    given parts, whatever lies beside them; the classes are then the subfolders of these.

    Args:
        folder: searched at any depth.
        wishes: `follow_links`, `labels_file`, `image_column` and `label_column`.

    Raises:
        LoangError: no folder, no image in it, or columns of a file of labels that is not there.
    """

    def __init__(self, folder: Path, wishes: Wishes) -> None:
        super().__init__(str(folder))
        self.folder = folder
        self.wishes = wishes
        found = find_pictures(folder, wishes.follow_links)
        words = [_part(path.relative_to(folder)) for path in found.pictures]
        tops = [path.relative_to(folder).parts[0] for path in found.pictures]
        parts = parts_of(words, tops, str(folder))
        self.parted = parts.given
        self.paths = list(itertools.compress(found.pictures, parts.kept))
        self.held = None if parts.held_out is None else parts.held_out[parts.kept]
        self.label_file = find_labels(folder) if wishes.labels_file is None else None
        if wishes.labels_file is not None:
            self.label_file = Path(wishes.labels_file).expanduser()
        elif self.label_file is None and (wishes.label_column or wishes.image_column):
            raise LoangError(
                f"A column is named, but there is no file of labels in {folder}.",
                "Name the file by --labels-file, or no column.",
            )
        others = found.others.copy()
        if self.label_file is not None and self.label_file.parent == folder:
            others[self.label_file.suffix.lower()] -= 1
        others = +others
        notices = list[str]()
        if others:
            notices.append(f"{describe_others(others)} in {folder} were left aside.")
        if found.ours:
            some = listed([str(made.relative_to(folder)) for made in found.ours])
            notices.append(f"Folders that loang made in {folder} ({some}) were left aside.")
        if found.leaving:
            leaving = describe_leaving(found.leaving, folder)
            notices.append(f"In {folder}, {leaving} were left aside.")
        self.notices = [*notices, *parts.notices]

    def identity(self) -> str:
        """Of every file its path, size and times; a copy elsewhere is another collection."""
        digest = hashlib.sha256()
        for path in [*self.paths, *([self.label_file] if self.label_file else [])]:
            try:
                status = path.stat()
                about = f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"
            except OSError as error:
                about = str(error.errno)
            inside = path.is_relative_to(self.folder)
            name = path.relative_to(self.folder) if inside else path.absolute()
            digest.update(os.fsencode(name) + b"\0" + about.encode() + b"\0")
        return digest.hexdigest()

    @cached_property
    def images(self) -> list[tuple[Path, int]]:
        """The file and the page of each image; the file of labels may leave some aside."""

        def pages(path: Path) -> int:
            if path.suffix.lower() not in PAGED:
                return 1
            try:
                return max(1, count_pages(path))
            except Unreadable:
                return 1  # its header will tell why

        paths = self.paths
        if self._file is not None:
            paths = list(itertools.compress(paths, self._file.kept))
        counts = in_threads(pages, paths)
        return [
            (path, page) for path, count in zip(paths, counts, strict=True) for page in range(count)
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
        """The path within the folder, printable, with the page's number after the first."""
        path, page = self.images[index]
        place = printable(path.relative_to(self.folder).as_posix())
        return f"{place}, page {page + 1}" if page else place

    @cached_property
    def _file(self) -> LabelFile | None:
        if self.label_file is None:
            return None
        places = [path.relative_to(self.folder).as_posix() for path in self.paths]
        read = read_labels(self.label_file, places, self.wishes)
        self.notices = [*self.notices, *read.notices]
        return read

    @cached_property
    def _rows(self) -> Int[np.ndarray, " n"]:
        """Which of the paths each image is of."""
        numbers = {path: number for number, path in enumerate(self.paths)}
        return np.array([numbers[path] for path, _ in self.images], np.int64)

    def labels(self) -> Labels | None:
        """From the file of labels, else from the subfolders.

        Raises:
            LoangError: the file can't be used, or a class has a name that no model may keep.
        """
        if self._file is not None and self._file.labels is not None:
            labels = self._file.labels
            return Labels(labels.names, labels.numbers[self._rows])
        return self._of_folders

    @cached_property
    def _of_folders(self) -> Labels | None:
        inside = 1 if self.parted else 0
        places = [path.relative_to(self.folder).parts[inside:] for path, _ in self.images]
        names = {place[0] for place in places if len(place) > 1}
        outside = [place[0] for place in places if len(place) == 1]
        if len(names) < 2:
            return None
        if outside:
            count = len(outside)
            self.notices = [
                *self.notices,
                f"There are no classes, as {count:,} of the images in {self.folder}"
                f" {'lie' if count > 1 else 'lies'} in no class's folder ({listed(outside)}).",
            ]
            return None
        labels = Labels.of([place[0] for place in places])
        return checked(labels, str(self.folder), "Rename that subfolder")

    def held_out(self) -> Bool[np.ndarray, " n"] | None:
        """From the file of labels, else from subfolders that are called parts."""
        held = self.held
        if self._file is not None and self._file.held_out is not None:
            held = self._file.held_out
        return None if held is None else held[self._rows]


def _part(place: Path) -> str:
    """The part that a path within the folder names; an empty text where it names none."""
    top = place.parts[0].casefold()
    return top if len(place.parts) > 1 and top in PARTS else ""
