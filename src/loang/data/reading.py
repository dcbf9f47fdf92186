"""Reads a whole collection: looks at all headers, decodes all images by threads, splits them."""

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Shaped

from loang import files
from loang.data import pack
from loang.data.agreement import Shape, agree, survey
from loang.data.collection import Collection
from loang.data.encoded.picture import Header, Unreadable
from loang.data.filling import Filling
from loang.data.fingerprint import fingerprint
from loang.data.resize import convert_pixels, resize_picture
from loang.data.spec import FULL_RANGE, ImageSpec
from loang.data.split import content_digest, sides
from loang.data.telling import NAMED, check_spec, readable, refuse_if_many, unlearned
from loang.data.value_range import range_of, spaced
from loang.data.wishes import Wishes
from loang.data.workers import in_threads
from loang.errors import LoangError

HEADERS = 8  # that many headers are read by a thread at once,
AT_ONCE = 2**20  # that many bytes of images that need no decoding,
DECODED = 2**17  # and that many of others, as they are kept
NO_LABEL = Unreadable("it has no label")
Result = TypeVar("Result")


@dataclass(frozen=True)
class _Read:
    """One image that was read, brought to the common shape."""

    pixels: Shaped[np.ndarray, "h w c"]
    digest: bytes
    lowest: float
    highest: float


class Reading:
    """One reading of a whole collection; after `read`, `contents` gives what was found.

    Args:
        collection: what is read.
        wishes: what it is brought to.

    Raises:
        LoangError: by each method: no image, too many that can't be used, or images that can't be
            brought to what is wished for.
    """

    def __init__(self, collection: Collection, wishes: Wishes) -> None:
        self.collection = collection
        self.wishes = wishes

    def read(self, path: Path | None) -> None:
        """Read all images, into an `.npy` file, or into memory.

        Images that lie on the disk as one array of the right shape are only looked through.

        Raises:
            OSError: the file can't be written.
        """
        self.bad = dict[int, Unreadable]()
        self.transparent = set[int]()
        self.notices = list[str]()
        labels = self.collection.labels() if self.wishes.labels else None
        self.labels = labels
        if labels is not None:
            self.bad |= {int(row): NO_LABEL for row in np.flatnonzero(labels.numbers < 0)}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of oddities that do no harm
            self.array = self.collection.array()
            shape = self._as_it_lies(self.array)
            if shape is None:
                self.array = None
                shape = self._agree()
            else:
                self.headers = dict[int, Header]()
                self.survey = survey([Header(*shape.sides, shape.depth)] * len(self.collection))
            names = labels.names if labels is not None else ()
            spec = ImageSpec(shape.height, shape.width, shape.channels, class_names=names)
            check_spec(spec, self.collection.name)
            self.shape = shape
            self.filling = Filling.of(shape, self.wishes, FULL_RANGE.get(shape.depth, (0.0, 1.0)))
            self._decode(path)
        self._refuse()
        self._find_range(path)

    def _as_it_lies(self, array: Shaped[np.ndarray, "n h w c"] | None) -> Shape | None:
        """The shape of an array that needs no change at all."""
        if array is None:
            return None
        height, width, channels = (int(side) for side in array.shape[1:])
        wanted = self.wishes.size or (height, width), self.wishes.channels or channels
        if wanted != ((height, width), channels):
            return None
        depth = "float32" if array.dtype.kind == "f" else array.dtype.name
        return Shape(height, width, channels, depth, False, False)  # type: ignore[arg-type]

    def _agree(self) -> Shape:
        """Look at every image's header, and find what they have in common."""
        headers = self.headers = dict[int, Header]()
        known = dict[Header, Header]()  # one object for all that are equal
        count, done = len(self.collection), 0

        def look(indices: range) -> list[Header | Unreadable]:
            return [_or_reason(self.collection.header, index) for index in indices]

        for some in in_threads(look, _parts(count, HEADERS)):
            for index, found in enumerate(some, start=done):
                if isinstance(found, Unreadable):
                    self.bad[index] = found  # says more than that it has no label
                elif index not in self.bad:
                    headers[index] = known.setdefault(found, found)
            done += len(some)
            self._tell("images looked at", done, count)
        self.survey = survey(headers.values())
        self.transparent = {i for i, header in headers.items() if header.transparent}
        self._refuse()
        shape, odd, notices = agree(
            headers, self.collection.name, self.wishes.size, self.wishes.channels
        )
        self.bad |= odd
        self.notices += notices
        self._refuse()
        return shape

    def _decode(self, path: Path | None) -> None:
        """All pixels, whose they are, their digests, and the lowest and highest value."""
        count, shape, mapped = len(self.collection), self.shape, self.array is not None
        digests, good = bytearray(), list[int]()
        self.lowest, self.highest = np.inf, -np.inf

        def work(indices: range) -> list[_Read | Unreadable]:
            return [
                self.bad[index] if index in self.bad else _or_reason(self._one, index)
                for index in indices
            ]

        most = 0 if mapped else count - len(self.bad)
        if path is not None:
            files.check_space(path, most * shape.bytes)
        at_once = max(1, (AT_ONCE if mapped else DECODED) // shape.bytes)
        index = 0
        # An array that is only looked through has a writer that nothing is written to.
        with pack.Writer(
            shape.sides, shape.depth, most, None if mapped else path, self.collection.name
        ) as writer:
            for some in in_threads(work, _parts(count, at_once)):
                for found in some:
                    if isinstance(found, Unreadable):
                        self.bad[index] = found
                    else:
                        if not mapped:
                            writer.add(found.pixels)
                        good.append(index)
                        digests += found.digest[:16]
                        self.lowest = min(self.lowest, found.lowest)
                        self.highest = max(self.highest, found.highest)
                    index += 1
                self._tell("images read", index, count)
            self.pixels = writer.finish() if self.array is None else self.array
        self.numbers = np.array(good, np.int64)
        self.digests = np.frombuffer(bytes(digests), np.uint8).reshape(-1, 16)

    def _one(self, index: int) -> _Read:
        """One image, brought to the common shape.

        Its digest is of its own size and depth, laid on white, so that neither what is asked for
        nor what else lies there changes which images are held out.

        Raises:
            Unreadable: it can't be read, or is not what its header announced.
        """
        shape, wishes = self.shape, self.wishes
        if self.array is not None:
            with np.errstate(over="ignore", invalid="ignore"):  # found as not finite below
                picture = np.ascontiguousarray(self.array[index]).astype(shape.depth, copy=False)
        else:
            picture = self.collection.picture(index)
        if picture.dtype.kind == "f" and not np.isfinite(picture).all():
            raise Unreadable("some of its values are not finite (NaN or infinity)")
        low, high = FULL_RANGE.get(picture.dtype.name, (0.0, 1.0))
        transparent = index in self.transparent and picture.shape[2] == 4
        digest = content_digest(convert_pixels(picture, 3, low, high) if transparent else picture)
        if picture.dtype == np.uint8 and shape.depth == "uint16":
            picture = picture.astype(np.uint16) * 257
            low, high = FULL_RANGE["uint16"]
        if transparent or picture.shape[2] != shape.channels:
            picture = convert_pixels(picture, shape.channels, low, high, wishes.background)
        tall, wide = picture.shape[:2]
        if shape.resized:
            behind = high if wishes.background == "white" else low
            alpha = shape.transparent
            picture = resize_picture(picture, *shape.sides[:2], wishes.fit, behind, alpha)
        if picture.shape != shape.sides or picture.dtype != shape.depth:
            raise Unreadable("its pixels are not what its header announces")
        own = self.filling.own(picture, tall, wide)
        return _Read(picture, digest, float(own.min()), float(own.max()))

    def _find_range(self, path: Path | None) -> None:
        """The range of all that was read; what was filled in gets its ends."""
        # Rows of `pixels`: all of what was written, or some of an array that lies as it lay.
        self.rows = np.arange(len(self.numbers)) if self.array is None else self.numbers
        self.range = range_of(
            self.wishes.range,
            self.shape.depth,
            self.lowest,
            self.highest,
            self._sample,
            self.collection.name,
        )
        filling = self.filling
        if not filling.any or (self.range.black, self.range.high) == (filling.low, filling.high):
            return
        for row, index in enumerate(self.numbers.tolist()):
            header = self.headers[index]
            picture = filling.anew(self.pixels[row], header.height, header.width, self.range)
            pack.rewrite(path, self.pixels, row, picture)

    def _sample(self, most: int) -> Shaped[np.ndarray, "..."]:
        """About so many of the pictures' own values."""
        some = spaced(len(self.rows), math.prod(self.shape.sides), most)
        if not self.filling.any:
            return self.pixels[self.rows[some]]
        headers = [self.headers[index] for index in self.numbers[some].tolist()]
        pictures = zip(self.pixels[self.rows[some]], headers, strict=True)
        own = [self.filling.own(picture, of.height, of.width).ravel() for picture, of in pictures]
        return np.concatenate(own)

    def contents(self) -> pack.Contents:
        """Range, split, labels and names of what was read."""
        collection, shape, labels, chosen = self.collection, self.shape, self.labels, self.numbers
        mapped, rows, found = self.array is not None, self.rows, self.range
        names = labels.names if labels is not None else ()
        spec = ImageSpec(*shape.sides, shape.depth, found.low, found.high, names)
        notices = [*collection.notices, *self.notices]
        if self.bad:
            verb = "was" if len(self.bad) == 1 else "were"
            notices.append(f"{self._sentence()} {verb} left out.")
        notices += found.notices
        train, held_out, said = sides(collection.held_out(), self.digests, chosen)
        notices += said
        both = None
        if labels is not None:
            both = labels.numbers[chosen[train]], labels.numbers[chosen[held_out]]
            notices += unlearned(labels.names, both[0])
        about: dict[str, Any] = {
            "name": readable(collection.name),
            "asked": self.wishes.of_shape(),
            "notices": [readable(notice) for notice in dict.fromkeys(notices)],
            "left_out": len(self.bad),
            "of": len(collection),
            "sentence": readable(self._sentence()) if self.bad else "",
            "survey": {**self.survey, "left_out": len(self.bad), "of": len(collection)},
            "fingerprint": "",
        }
        contents = pack.Contents(
            pixels=self.pixels,
            spec=spec,
            train=rows[train],
            held_out=rows[held_out],
            labels=both,
            digests=self.digests,
            places=() if mapped else [collection.place(int(index)) for index in chosen],
            left_out=[(readable(collection.place(i)), str(self.bad[i])) for i in sorted(self.bad)],
            about=about,
            borrowed=mapped,
        )
        dataset = contents.dataset()
        about = {**about, "fingerprint": fingerprint(dataset.train, dataset.validation)}
        return replace(contents, about=about)

    def _refuse(self) -> None:
        """Stops as soon as it is known that too many images can't be used."""
        count = len(self.collection)
        if not count:
            raise LoangError(
                f"{self.collection.name} holds no images.", "Name a place that has some."
            )
        if len(self.bad) == count or len(self.bad) > self.wishes.unreadable * count:
            refuse_if_many(len(self.bad), count, self._sentence(), self.wishes.unreadable)

    def _sentence(self) -> str:
        """How many images are bad, and which."""
        place, total = self.collection.place, len(self.collection)
        first = sorted(self.bad)[:NAMED]
        named = ", ".join(f"{place(index)} ({self.bad[index]})" for index in first)
        more = f" and {len(self.bad) - NAMED:,} more" if len(self.bad) > NAMED else ""
        return f"{len(self.bad):,} of the {total:,} images in {self.collection.name}: {named}{more}"

    def _tell(self, what: str, done: int, total: int) -> None:
        if self.wishes.on_progress is not None:
            self.wishes.on_progress(what, done, total)


def _parts(count: int, size: int) -> Iterator[range]:
    """The numbers 0..count-1, so many at a time."""
    return (range(start, min(start + size, count)) for start in range(0, count, size))


def _or_reason(work: Callable[[int], Result], index: int) -> Result | Unreadable:
    try:
        return work(index)
    except Unreadable as reason:
        return reason
