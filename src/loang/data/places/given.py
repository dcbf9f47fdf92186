"""A `torch.utils.data.Dataset` as a source: what Python is given, and goes by `python:CLASS`."""

import hashlib
import threading
import weakref
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Shaped
from PIL import Image

from loang.data.collection import Collection, Labels
from loang.data.encoded.header import Header, Unreadable, check_size
from loang.data.places.labels import whole_or_itself, without_signs_of_none
from loang.data.places.values import DEPTHS, kept
from loang.data.wishes import Wishes
from loang.errors import LoangError
from loang.untrusted import shown

PREFIX = "python:"
MODES = ("L", "RGB", "RGBA", "I", "I;16", "I;16L", "I;16B", "I;16N", "F", "1")
"""Pillow's that are taken as they are; others are converted to RGB, or RGBA where they know
transparency."""
MOST_CHANNELS = 4
_given: dict[str, Callable[[], "Given | None"]] = {}
"""By name; None once it is gone. One that is never gone has no weak references."""
_latest: dict[str, "Given"] = {}
"""The last of each class, so that one that nobody else holds can be opened after it is named."""


@runtime_checkable
class Given(Protocol):
    """What is told by number: `dataset[i]` is an image, or an image and its label."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, index: int) -> Any:
        """The one of that number."""
        ...


def named(data: Any) -> str:
    """A name by which `open_dataset` finds it, in this process.

    That holds as long as somebody holds the Dataset, or no other of its class was named since. The
    second of a class is called `python:CLASS-2`, and so on.

    Args:
        data: a place's name, which stays as it is, or a Dataset.

    Raises:
        LoangError: it is neither.
    """
    if isinstance(data, str | Path):
        return str(data)
    if not isinstance(data, Given):
        raise LoangError(
            f"Images can't be taken from a {type(data).__name__}, which has no length or no items.",
            "Give a Dataset whose items can be asked for by number: one with __len__ and"
            " __getitem__.",
        )
    kind = PREFIX + type(data).__name__
    known = [name for name in _given if name.partition("-")[0] == kind]
    _latest[kind] = data
    for name in known:
        if _given[name]() is data:
            return name
    name = f"{kind}-{len(known) + 1}" if known else kind
    try:
        _given[name] = weakref.ref(data)
    except TypeError:  # a list, or of a class with __slots__
        _given[name] = lambda: data
    return name


def is_given(name: str) -> bool:
    """Whether it is a name that `named` makes."""
    return name.startswith(PREFIX)


def open_given(name: str, wishes: Wishes) -> Collection:
    """The images of what was given under that name.

    Raises:
        LoangError: nothing was, in this process, or it is gone.
    """
    data = _given[name]() if name in _given else None
    if data is None:
        raise LoangError(
            f"These images are those of a Dataset in Python, {name.removeprefix(PREFIX)}, which is"
            " not here.",
            "Give it in Python, as in loang.train(dataset, resume=True, out=...), or name another"
            " place of the same images.",
        )
    return GivenCollection(name, data)


class _Item(NamedTuple):
    header: Header | Unreadable
    digest: bytes
    label: int | str | None
    unusable: str
    """The type of a label that can be none; else empty."""


class GivenCollection(Collection):
    """Images of a Dataset, which may be PIL images, arrays or tensors, each with a label or not.

    A tensor's first axis is its channels; an array's is the last, or the first where that alone is
    of at most four. All are read once to know whether they have changed, and once more where they
    have; a Dataset that gives other images the second time is refused.

    Args:
        name: under which it was given.
        dataset: itself. Items are asked for one at a time.
    """

    def __init__(self, name: str, dataset: Given) -> None:
        super().__init__(name)
        self.dataset = dataset
        self._one_at_a_time = threading.Lock()

    @cached_property
    def _items(self) -> list[_Item]:
        found = []
        for index in range(len(self.dataset)):
            item = None
            try:
                item = self._item(index)
                values = _values(item)
                height, width, channels = values.shape
                check_size(height, width, channels * values.dtype.itemsize)
                depth = str(values.dtype)
                header: Header | Unreadable = Header(
                    height, width, channels, depth, transparent=channels == 4
                )
                digest = _digest(values)
            except Unreadable as error:
                header, digest = error, b""
            found.append(_Item(header, digest, *_label(item)))
        return found

    def _item(self, index: int) -> Any:
        """What the Dataset gives for a number.

        Raises:
            Unreadable: it can't read that one, such as a damaged file.
            LoangError: it has nothing of that number, as a dict or a stream hasn't.
        """
        try:
            return self.dataset[index]
        except (OSError, ValueError) as error:
            raise Unreadable(f"{type(error).__name__}: {shown(str(error), 200)}") from error
        except (LookupError, NotImplementedError) as error:
            said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise LoangError(
                f"Item {index} of {self.name}, which says that it has {len(self)}, can't be had"
                f" ({said}).",
                "Give a Dataset whose items can be asked for by number, from 0 on: of a dict of"
                " Datasets one, and of a stream a list of its images.",
            ) from error

    def identity(self) -> str:
        """A digest of all values and labels."""
        digest = hashlib.sha256()
        for item in self._items:
            digest.update(f"{item.header} {item.label!r}\n".encode())
            digest.update(item.digest)
        digest.update(repr(self._names()).encode())
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.dataset)

    def header(self, index: int) -> Header:
        """See `Collection`."""
        header = self._items[index].header
        if isinstance(header, Unreadable):
            raise Unreadable(str(header))
        return header

    def picture(self, index: int) -> Shaped[np.ndarray, "h w c"]:
        """See `Collection`.

        Raises:
            LoangError: it is another than before.
        """
        with self._one_at_a_time:
            values = _values(self._item(index))
        if _digest(values) != self._items[index].digest:
            raise LoangError(
                f"Image {index} of {self.name} is another each time that it is asked for.",
                "Give the Dataset without random transforms: loang changes images itself, where"
                " data.flips and the like ask for it.",
            )
        return values

    def place(self, index: int) -> str:
        """Its number."""
        return f"item {index}"

    def labels(self) -> Labels | None:
        """The items' own; named by the Dataset's `classes`, as torchvision has them."""
        labels = without_signs_of_none([item.label for item in self._items])
        odd = [item.unusable for item in self._items if item.unusable]
        if odd:
            self.notices = [
                f"{len(odd):,} of the labels of {self.name} are no whole numbers or words, but of"
                f" type {odd[0]}: they say no class. Give the number of the class instead."
            ]
        found, names = Labels.of(labels), self._names()
        if found is None or names is None:
            return found
        numbers = [-1 if label is None else label for label in labels]
        whole = [number for number in numbers if isinstance(number, int)]
        if len(whole) < len(numbers) or not -1 <= min(whole) <= max(whole) < len(names):
            return found
        return Labels(names, np.array(whole, np.int64))

    def _names(self) -> tuple[str, ...] | None:
        names = getattr(self.dataset, "classes", None)
        if not isinstance(names, list | tuple) or len(set(map(str, names))) < len(names):
            return None
        return tuple(names) if all(isinstance(name, str) for name in names) else None


def _values(item: Any) -> Shaped[np.ndarray, "h w c"]:
    """The image of an item, its values at their depth.

    Raises:
        Unreadable: it is none.
    """
    image = item[0] if isinstance(item, tuple | list) and item else item
    channels_first = False
    if isinstance(image, Image.Image):
        values = _pixels(image)
    elif isinstance(image, np.ndarray):
        values = image
        channels_first = image.ndim == 3 and image.shape[0] <= MOST_CHANNELS < image.shape[2]
    elif hasattr(image, "detach"):  # a tensor, without importing torch
        plain = image.detach().cpu()
        values = (plain if str(plain.dtype) != "torch.bfloat16" else plain.float()).numpy()
        channels_first = True
    else:
        raise Unreadable(f"it is a {type(image).__name__}, and no PIL image, array or tensor")
    if values.dtype.name not in DEPTHS or values.ndim not in (2, 3):
        raise Unreadable(f"it is of type {values.dtype.name} and shape {values.shape}")
    if values.ndim == 2:
        values = values[..., np.newaxis]
    elif channels_first:
        values = np.moveaxis(values, 0, -1)
    return kept(np.ascontiguousarray(values))


def _pixels(image: Image.Image) -> Shaped[np.ndarray, "h w *c"]:
    """Those of a PIL image, in a mode that is taken as it is.

    Raises:
        Unreadable: Pillow can't convert its mode.
    """
    if image.mode in MODES:
        return np.asarray(image)
    try:
        return np.asarray(image.convert("RGBA" if image.has_transparency_data else "RGB"))
    except ValueError as error:
        raise Unreadable(f"Pillow can't convert its mode, {image.mode}") from error


def _label(item: Any) -> tuple[int | str | None, str]:
    """A whole number or a word, or none; and the type of what is there instead."""
    if not isinstance(item, tuple | list) or len(item) < 2:
        return None, ""
    label = item[1]
    if hasattr(label, "item") and getattr(label, "ndim", 1) == 0:
        label = label.item()
    label = whole_or_itself(label)
    if isinstance(label, bool):
        return int(label), ""
    if label is None or isinstance(label, int | str):
        return label, ""
    return None, type(label).__name__


def _digest(values: Shaped[np.ndarray, "h w c"]) -> bytes:
    return hashlib.sha256(values.tobytes()).digest()[:16]
