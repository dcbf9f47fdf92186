"""Images in tar files, WebDataset's shards among them; nothing is ever unpacked to the disk."""

import itertools
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Bool, Shaped

from loang.data.collection import Collection, Labels
from loang.data.encoded.header import LARGEST_FILE, Header, Unreadable
from loang.data.encoded.picture import SUFFIXES, read_header, read_picture
from loang.data.places.columns import LABEL_NAMES
from loang.data.places.labels import whole_or_itself, whole_or_words
from loang.data.places.names import checked, listed, printable
from loang.data.places.parts import PARTS, parts_of
from loang.data.places.shards import BRACES, find_shards, path_of, shards_in
from loang.data.places.tar_file import PACKED, Member, list_members
from loang.data.wishes import Wishes
from loang.errors import LoangError
from loang.untrusted import parse_json, shown

LARGEST_LABEL = 2**20
LONGEST_LABEL = 200  # characters
LABEL_SUFFIXES = ("cls", "json", "txt")  # asked in this order


class TarCollection(Collection):
    """The images in tar files.

    Files of one key are one sample, as in WebDataset: `7.jpg` and `7.cls`, `7.json` or `7.txt`.
    Without such labels the classes are the subfolders, as in a folder of images.

    Args:
        shards: the tar files, each with the part of the data set that it is.
        name: what a person calls them.
        image_column: the extension of the images, where a sample has several, such as `seg.png`.
        label_column: the key in `.json` files, or else the extension of the labels.

    Raises:
        LoangError: a file is damaged or compressed, or there is no image.
    """

    def __init__(
        self,
        shards: Sequence[tuple[Path, str]],
        name: str,
        image_column: str | None = None,
        label_column: str | None = None,
    ) -> None:
        super().__init__(name)
        self.shards = dict(shards)
        self.label_column = label_column
        members, odd = list[Member](), list[str]()
        for path in self.shards:
            usable, unusable = list_members(path)
            members += usable
            odd += unusable
        pictures = [each for each in members if PurePosixPath(each.name).suffix.lower() in SUFFIXES]
        wanted = _extension(pictures, image_column)
        meant = [each for each in pictures if wanted in (None, each.extension)]
        splits = [self._split(each) for each in meant]
        parts = parts_of(splits, [each.name.split("/")[0] for each in meant], name)
        self.images = list(itertools.compress(meant, parts.kept))
        self._held_out = None if parts.held_out is None else parts.held_out[parts.kept]
        self._parted = parts.given
        keys = {(each.archive, each.key) for each in self.images}
        self._beside = {
            (each.archive, each.key, each.extension): each
            for each in members
            if (each.archive, each.key) in keys
        }
        if not self.images:
            kinds = Counter(each.extension for each in members).most_common(5)
            found = listed([f".{extension}" for extension, _ in kinds]) or "nothing"
            raise LoangError(
                f"{name} holds no images{f' .{shown(image_column)}' if image_column else ''}:"
                f" only {found}.",
                "Name a tar file of pictures, such as .png or .jpg.",
            )
        self.notices = list[str]()
        if odd:
            some = "entries of {} were" if len(odd) > 1 else "entry of {} was"
            self.notices.append(
                f"{len(odd):,} {some.format(name)} left aside, being links, devices, or files that"
                f" would lie outside: {listed(odd)}."
            )
        self.notices += parts.notices
        if len(meant) < len(pictures):
            others = len(pictures) - len(meant)
            self.notices.append(
                f"Samples in {name} have several pictures each: those that end in .{wanted} are"
                f" used, and {others:,} others left aside; --set data.image_column chooses."
            )

    def identity(self) -> str:
        """Of each tar file its path, size and times."""
        stats = [(str(path), path.stat()) for path in self.shards]
        return repr(
            [(path, about.st_size, about.st_mtime_ns, about.st_ctime_ns) for path, about in stats]
        )

    def __len__(self) -> int:
        return len(self.images)

    def header(self, index: int) -> Header:
        """See `Collection`."""
        return read_header(self.images[index].content(LARGEST_FILE))

    def picture(self, index: int) -> Shaped[np.ndarray, "h w c"]:
        """See `Collection`."""
        return read_picture(self.images[index].content(LARGEST_FILE))

    def place(self, index: int) -> str:
        """The path within the tar file, after its name where there are several."""
        image = self.images[index]
        several = len(self.shards) > 1
        return printable(f"{image.archive.name}/{image.name}" if several else image.name)

    def labels(self) -> Labels | None:
        """From the files beside the images, else from their subfolders."""
        return self._labels

    @cached_property
    def _labels(self) -> Labels | None:
        for extension in LABEL_SUFFIXES:
            files = [self._beside.get((i.archive, i.key, extension)) for i in self.images]
            if not any(files):
                continue
            values = [None if file is None else self._value(file) for file in files]
            self._tell_unusable(values, extension)
            values = [value if isinstance(value, str | int) else None for value in values]
            known = [value for value in values if value is not None]
            # A text beside a picture mostly describes it; a class is of several pictures.
            if extension == "txt" and self.label_column != "txt":
                known = known if 2 * len(set(known)) <= len(known) else []
            if known:
                return Labels.of(whole_or_words(values))
        return checked(self._of_folders(), self.name, "Rename that folder and pack it again")

    def held_out(self) -> Bool[np.ndarray, " n"] | None:
        """From the names of the tar files, else from subfolders that are called parts."""
        return self._held_out

    def _tell_unusable(self, values: Sequence[Any], extension: str) -> None:
        odd = [value for value in values if not isinstance(value, str | int | None)]
        if odd:
            self.notices = [
                *self.notices,
                f"{len(odd):,} labels in .{extension} files of {self.name} are no words or whole"
                f" numbers, such as {shown(str(odd[0]), 60)}: they are none.",
            ]

    def _value(self, file: Member) -> Any:
        """What stands for the label in a file beside an image; none where that can't be read."""
        try:
            text = file.content(LARGEST_LABEL).decode().strip()
            if file.extension != "json":
                return text if 0 < len(text) <= LONGEST_LABEL and text.isprintable() else None
            about = parse_json(text)
        except (Unreadable, ValueError):
            return None
        names = (self.label_column,) if self.label_column else LABEL_NAMES
        value = next((about[name] for name in names if name in about), None)
        return None if value == "" else whole_or_itself(value)

    def _split(self, image: Member) -> str:
        """The part of the data set that its tar file is, or its first subfolder."""
        top = image.name.split("/")[0].casefold() if "/" in image.name else ""
        return self.shards[image.archive] or (top if top in PARTS else "")

    def _of_folders(self) -> Labels | None:
        folders = [_folders(image, self._parted) for image in self.images]
        names = {each[0] for each in folders if each}
        return Labels.of([each[0] for each in folders]) if len(names) > 1 and all(folders) else None


def _extension(pictures: Sequence[Member], wanted: str | None) -> str | None:
    """Which pictures are meant where samples have several; None means all."""
    if wanted is not None:
        return wanted.lower().lstrip(".")
    samples = Counter((each.archive, each.key) for each in pictures)
    if not any(count > 1 for count in samples.values()):
        return None
    several = [each for each in pictures if samples[each.archive, each.key] > 1]
    counts = Counter(each.extension for each in several)
    if any(extension[0].isdigit() for extension in counts):
        return None  # cat.1.jpg and cat.2.jpg are two cats
    # The commonest, and of those as common the plainest.
    return min(counts, key=lambda extension: (-counts[extension], len(extension), extension))


def _folders(image: Member, parted: bool) -> tuple[str, ...]:
    """The folders of an image, but for one that is called a part of the data set."""
    folders = PurePosixPath(image.name).parts[:-1]
    return folders[1:] if parted and folders and folders[0].casefold() in PARTS else folders


def is_tar(name: str) -> bool:
    """Whether a name is a tar file's, a range of them in braces, or a folder's that has some."""
    path, lower = path_of(name), name.lower()
    if path.is_dir():
        return bool(shards_in(path, (".tar",)))
    if lower.endswith(PACKED):
        return path.is_file()
    return lower.endswith(".tar") and (path.is_file() or BRACES.search(name) is not None)


def open_tar(name: str, wishes: Wishes) -> Collection:
    """The images of a tar file, of all in a folder, or of a range such as `a-{000..099}.tar`.

    Raises:
        LoangError: as for `TarCollection`, or one of the range is missing.
    """
    shards, notices = find_shards(name, (".tar",), wishes.follow_links)
    made = TarCollection(shards, name, wishes.image_column, wishes.label_column)
    made.notices = [*made.notices, *notices]
    return made
