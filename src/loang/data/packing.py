"""From a collection to a data set, through the cache: what was read once is there at once.

Whoever comes while another process packs the same waits for it: the processes of a job on one
machine, of which all but the leader begin together, would else all decode the same images.
"""

import contextlib
import hashlib
import json
import os
import platform
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
from jaxtyping import Shaped

from loang import files
from loang.data import pack
from loang.data.collection import Collection
from loang.data.download import WAITING
from loang.data.environment import cache_folder
from loang.data.images import Dataset
from loang.data.memory import is_small, read_here_and_there
from loang.data.reading import Reading
from loang.data.telling import NAMED, readable, refuse_if_many
from loang.data.wishes import Wishes
from loang.lock import locked

VERSION = 2
"""Raised when the same images are packed to other values: older packs are then made anew."""
WORTH_SAYING = 2**24  # bytes of a pack
LOCK = ".lock"
"""How the names of files end that only serve as locks."""


def packed(collection: Collection, wishes: Wishes) -> Dataset:
    """The images of a collection, from the cache if they lie there, else read and put there.

    Which images are held out is said by the collection, or follows from each image's own pixels:
    see `split_rows`.

    Raises:
        LoangError: no image, more that can't be used than `wishes.unreadable`, or images that
            can't be brought to what is wished for.
    """
    place, contents = _found(collection, wishes)
    said = list[str]()
    if contents is None:
        with _alone(place, wishes):
            place, contents = _found(collection, wishes)  # another process may have been at it
            if contents is None:
                contents, said = _keep(Reading(collection, wishes), place)
    contents = contents.called(readable(collection.name))
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


def place_of(collection: Collection, wishes: Wishes) -> Path:
    """Where its pack lies, or would lie: named for the place, its content, and what is wished."""
    return _found(collection, wishes)[0]


def _found(collection: Collection, wishes: Wishes) -> tuple[Path, pack.Contents | None]:
    """The pack that lies there, with its place; or the place of one that is yet to be made.

    Size and channels that nobody asked for are found out; who asks for just these later, as a run
    that is gone on with does, gets the same pack.
    """
    name = collection.name
    if os.path.lexists(name):
        name = os.path.abspath(name)  # noqa: PTH100 (a link may be asked for under several names)
    slot = _short(json.dumps([VERSION, name, wishes.of_pixels()], sort_keys=True))
    content = f"{slot}-{_short(collection.identity())}"
    place = cache_folder() / "packed" / f"{content}-{_short(json.dumps(wishes.of_shape()))}"
    others = sorted(place.parent.glob(f"{content}-*")) if place.parent.is_dir() else []
    for each in sorted(others, key=lambda other: other != place):
        contents = pack.read(each, collection.array())
        if contents is not None and (each == place or _serves(contents, wishes)):
            return each, contents
    return place, None


def _serves(contents: pack.Contents, wishes: Wishes) -> bool:
    """Whether a pack holds what is wished for, though it was made for other wishes."""
    spec = contents.spec
    made = [(spec.height, spec.width), spec.channels]
    asked = [each and tuple(each) if isinstance(each, list) else each for each in contents.asked]
    return all(
        wish in (before, after) if wish is not None else before is None
        for wish, before, after in zip(wishes.of_shape(), asked, made, strict=True)
    )


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _keep(reading: Reading, place: Path) -> tuple[pack.Contents, list[str]]:
    """Read everything, into the cache if it can be written, else into memory."""
    with _staging(place) as (beside, reason):
        if beside is not None:
            try:
                with files.writing(beside):
                    reading.read(beside / "pixels.npy")
                    made = reading.contents()
                    pack.write(beside, made)
                    files.flush(beside)
            except files.Unwritable as error:
                beside, reason = None, error.problem
        if beside is None:
            reading.read(None)
            said = f"{reason} So the images are in memory, and are read anew the next time."
            return reading.contents(), [said]
        _move(beside, place, reading.collection.array())
    # What was staged is mapped still, whatever another process has put into its place meanwhile.
    contents = pack.read(place, reading.collection.array()) or made
    size = contents.pixels.nbytes
    if size < WORTH_SAYING or contents.borrowed:
        return contents, []
    said = (
        f"The images were read once and lie in the cache ({files.amount(size)}), from where they"
        " are there at once the next time; `loang doctor --cache` lists and clears it."
    )
    return contents, [said]


@contextlib.contextmanager
def _alone(place: Path, wishes: Wishes) -> Iterator[None]:
    """Until no other process packs the same images; where no lock can be, all do, and one stays."""
    slot = place.name.partition("-")[0]
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):
            place.parent.mkdir(parents=True, exist_ok=True)
            path = place.with_name(f".{slot}{LOCK}")
            if not held.enter_context(locked(path, patience=0)):
                if wishes.on_progress is not None:
                    wishes.on_progress(WAITING, 0, None)
                held.enter_context(locked(path, patience=None))
        yield


@contextlib.contextmanager
def _staging(place: Path) -> Iterator[tuple[Path | None, str]]:
    """A folder beside the pack's place to write to; or None and the reason, where none can be."""
    beside = place.with_name(f".{place.name}.{_machine()}.{os.getpid()}")
    try:
        beside.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        yield None, f"The cache {place.parent} can't be written: {error.strerror or error}."
        return
    try:
        yield beside, ""
    finally:
        pack.remove(beside)


def _move(beside: Path, place: Path, array: Shaped[np.ndarray, "n h w c"] | None) -> None:
    """Into its place in one rename; older packs of the same place go.

    Another process may have been faster: its pack holds the same images.
    """
    if place.exists() and pack.read(place, array) is None:
        pack.remove(place)  # damaged, or of an older format
    with contextlib.suppress(OSError):
        files.rename(beside, place)
        files.flush(place.parent)
    slot, content = place.name.split("-")[:2]
    for other in place.parent.glob(f"{slot}-*"):
        if other.name.split("-")[1] != content:
            pack.remove(other)
    _remove_leftovers(place.parent)


def _machine() -> str:
    """Tells machines that share a cache apart."""
    return _short(platform.node())


def _remove_leftovers(folder: Path) -> None:
    """Delete what processes of this machine that were killed have left half packed."""
    for path in folder.glob(f".*-*.{_machine()}.*"):
        number = path.name.rpartition(".")[2]
        if number.isdecimal() and not psutil.pid_exists(int(number)):
            pack.remove(path)
