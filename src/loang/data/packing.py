"""From a collection to a data set, through the cache: what was read once is there at once."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil

from loang import files
from loang.data import pack
from loang.data.collection import Collection
from loang.data.environment import cache_folder
from loang.data.images import Dataset
from loang.data.memory import is_small, read_here_and_there
from loang.data.reading import NAMED, Reading, refuse_if_many
from loang.data.wishes import Wishes
from loang.errors import LoangError

VERSION = 1
"""Raised when the same images are packed to other values: older packs are then made anew."""
WORTH_SAYING = 2**24  # bytes of a pack


def packed(collection: Collection, wishes: Wishes) -> Dataset:
    """The images of a collection, from the cache if they lie there, else read and put there.

    Which images are held out is said by the collection, or follows from each image's own pixels:
    see `split_rows`.

    Raises:
        LoangError: no image, more that can't be used than `wishes.unreadable`, or images that
            can't be brought to what is wished for.
    """
    place = _place(collection, wishes)
    contents = pack.read(place, collection.array()) if place.is_dir() else None
    said = list[str]()
    if contents is None:
        contents, said = _keep(Reading(collection, wishes), place)
    bad, total = contents.about["left_out"], contents.about["of"]
    refuse_if_many(bad, total, contents.about["sentence"], wishes.unreadable)
    if bad > NAMED and (place / pack.LEFT_OUT).exists():
        said.append(f"All images that were left out are listed in {place / pack.LEFT_OUT}.")
    if contents.borrowed:
        # Somebody could write to their own file while a run learns from it.
        if is_small(contents.pixels):
            contents = replace(contents, pixels=contents.pixels.copy(order="C"))
        else:
            said.append(f"Do not write to {collection.name} while it is used: it is not copied.")
    for values in (contents.pixels, contents.train, contents.held_out):
        read_here_and_there(values)
    dataset = contents.dataset()
    return replace(dataset, notices=(*dataset.notices, *said))


def _place(collection: Collection, wishes: Wishes) -> Path:
    """Where its pack lies: named for the place and what is wished, then for the content."""
    name = collection.name
    if os.path.lexists(name):
        name = os.path.abspath(name)  # noqa: PTH100 (a link may be asked for under several names)
    slot = json.dumps([VERSION, name, wishes.of_pixels()], sort_keys=True)
    return cache_folder() / "packed" / f"{_short(slot)}-{_short(collection.identity())}"


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _keep(reading: Reading, place: Path) -> tuple[pack.Contents, list[str]]:
    """Read everything, into the cache if it can be written, else into memory."""
    with _staging(place) as (beside, reason):
        if beside is not None:
            try:
                with files.writing(beside):
                    reading.read(beside / "pixels.npy")
                    pack.write(beside, reading.contents())
                    files.flush(beside)
            except files.Unwritable as error:
                beside, reason = None, error.problem
        if beside is None:
            reading.read(None)
            said = f"{reason} So the images are in memory, and are read anew the next time."
            return reading.contents(), [said]
        _move(beside, place)
    contents = pack.read(place, reading.collection.array())
    if contents is None:
        raise LoangError(
            f"The pack in {place} was changed while it was written.", "Try the same again."
        )
    size = sum(path.stat().st_size for path in place.iterdir())
    if size < WORTH_SAYING:
        return contents, []
    said = (
        f"The images were read once and lie in the cache ({files.amount(size)}), from where they"
        " are there at once the next time; `loang doctor --cache` lists and clears it."
    )
    return contents, [said]


@contextlib.contextmanager
def _staging(place: Path) -> Iterator[tuple[Path | None, str]]:
    """A folder beside the pack's place to write to; or None and the reason, where none can be."""
    beside = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        beside.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        yield None, f"The cache {place.parent} can't be written: {error.strerror or error}."
        return
    try:
        yield beside, ""
    finally:
        pack.remove(beside)


def _move(beside: Path, place: Path) -> None:
    """Into its place in one rename; older packs of the same place go.

    Another process may have been faster: its pack holds the same images.
    """
    if place.exists() and pack.read(place) is None:
        pack.remove(place)  # damaged, or of an older format
    with contextlib.suppress(OSError):
        files.rename(beside, place)
        files.flush(place.parent)
    slot = place.name.partition("-")[0]
    for other in place.parent.glob(f"{slot}-*"):
        if other != place:
            pack.remove(other)
    _remove_leftovers(place.parent)


def _remove_leftovers(folder: Path) -> None:
    """Delete what processes that were killed have left half packed."""
    for path in folder.glob(".*-*.*"):
        number = path.name.rpartition(".")[2]
        if number.isdecimal() and not psutil.pid_exists(int(number)):
            pack.remove(path)
