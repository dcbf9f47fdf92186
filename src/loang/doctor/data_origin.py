"""What only the images' own place knows: what was left out, how large each was, who held out."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from loang.config import DataSettings
from loang.data.collection import Collection
from loang.data.encoded.picture import Unreadable
from loang.data.images import Dataset
from loang.data.pack import LEFT_OUT
from loang.data.packing import place_of
from loang.data.sources import source_of
from loang.data.wishes import Wishes
from loang.data.workers import in_threads
from loang.doctor.data_images import evenly
from loang.errors import LoangError

HEADERS = 20_000  # that are looked at for the names of small images
LEAST = 8  # pixels a side
ENLARGED = 1.25  # times; less is hardly seen
LONGEST = 2**26  # characters of the list of what was left out


@dataclass(frozen=True)
class Origin:
    """What the place knows; nothing of images that came as a whole data set.

    Args:
        given: whether the place itself says which images are held out; None where it isn't known.
        left_out: a line each, the place and the reason.
        small: the places of images that are enlarged, with height and width.
        looked: how many were looked at for these.
    """

    given: bool | None = None
    left_out: Sequence[str] = ()
    small: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    looked: int = 0


def origin(name: str, settings: DataSettings, dataset: Dataset) -> Origin:
    """Ask the place of a data set that was opened a moment ago."""
    if not dataset.survey:
        return Origin(given=True)
    wishes = Wishes(**settings.wishes())
    try:
        collection = source_of(name).open(name, wishes)
        if not isinstance(collection, Collection):
            return Origin()
        held_out = collection.held_out()
        small, looked = _small(collection, dataset, settings)
        left_out = _left_out(collection, wishes) if dataset.survey["left_out"] else ()
        # The same rule as reading's: a part that is empty is no part.
        given = held_out is not None and bool(held_out.any()) and not held_out.all()
        return Origin(given, left_out, small, looked)
    except LoangError:  # it is gone by now, or the network is
        return Origin()


def _left_out(collection: Collection, wishes: Wishes) -> list[str]:
    try:
        with (place_of(collection, wishes) / LEFT_OUT).open(encoding="utf-8") as file:
            return file.read(LONGEST).splitlines()
    except OSError:  # no cache could be written
        return []


def enlarged(size: tuple[int, int], to: tuple[int, int], fit: str) -> bool:
    """Whether an image of that height and width is much enlarged when it is brought to another."""
    smaller = [side * ENLARGED < wanted for side, wanted in zip(size, to, strict=True)]
    return all(smaller) if fit == "pad" else any(smaller)


def _small(
    collection: Collection, dataset: Dataset, settings: DataSettings
) -> tuple[dict[str, tuple[int, int]], int]:
    """Images that are enlarged or tiny; headers are looked at only if there can be any."""
    spec, survey = dataset.spec, dataset.survey
    to = spec.height, spec.width
    known = [(height, width) for height, width, _ in survey["sizes"]]

    def is_small(size: tuple[int, int]) -> bool:
        return enlarged(size, to, settings.fit) or min(size) < LEAST

    if survey["different_sizes"] == len(known) and not any(map(is_small, known)):
        return {}, len(collection)
    indices = evenly(len(collection), HEADERS).tolist()

    def look(some: Sequence[int]) -> list[tuple[int, tuple[int, int]]]:
        found = []
        for index in some:
            try:
                header = collection.header(index)
            except Unreadable:
                continue
            if is_small((header.height, header.width)):
                found.append((index, (header.height, header.width)))
        return found

    parts = (indices[start : start + 64] for start in range(0, len(indices), 64))
    found = itertools.chain.from_iterable(in_threads(look, parts))
    return {collection.place(index): size for index, size in found}, len(indices)
