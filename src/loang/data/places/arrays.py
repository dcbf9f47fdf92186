"""A `.npy` or `.npz` file of images as one collection."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from loang.data.collection import Collection, Labels
from loang.data.encoded.picture import Header
from loang.data.places.labels import without_signs_of_none
from loang.data.places.names import checked
from loang.data.places.npy import map_npy, read_npz
from loang.data.places.values import DEPTHS, kept
from loang.data.spec import Depth
from loang.errors import LoangError
from loang.untrusted import plain_size, shown

IMAGE_KEYS = ("images", "x", "arr_0")
LABEL_KEYS = ("labels", "y")
LARGEST_FILE = 2**43  # 8 TiB; a memory map takes no memory
USUAL_CHANNELS = 4  # at most so many channels are recognised at once


class ArrayCollection(Collection):
    """Images from an array of shape (N, H, W), (N, H, W, C) or (N, C, H, W).

    Where the last axis or the one after N has at most four entries, that is C, the last axis
    being asked first; else C is the one that is the smallest of the three. An `.npz` file holds
    the images as `images`, `x` or `arr_0`, and may hold one label per image, whole numbers or
    words, as `labels` or `y`.

    Values are numbers of any type, kept at a depth that the type alone decides (see `values`); for
    their range see `value_range`. An `.npy` file is memory-mapped, and never read whole; only
    signed or longer whole numbers are copied into a pack. No pickled object is ever loaded.

    Args:
        path: of the file.

    Raises:
        LoangError: the file is damaged, of another shape or type, or does not fit in memory.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.path = path

    def identity(self) -> str:
        """Size and times of the file."""
        try:
            status = self.path.stat()
        except OSError as error:
            return str(error)
        return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"

    @cached_property
    def _content(
        self,
    ) -> "tuple[Shaped[np.ndarray, '...'], Shaped[np.ndarray, '...'] | None, _Layout]":
        values, labels = _read(self.path)
        layout = _Layout.of(values, self.path)
        self.notices = list(layout.notices)
        return values, labels, layout

    def __len__(self) -> int:
        return len(self._content[0])

    def header(self, index: int) -> Header:
        """See `Collection`: the same for all."""
        layout = self._content[2]
        return Header(*layout.shape, layout.depth)

    def picture(self, index: int) -> Shaped[np.ndarray, "h w c"]:
        """See `Collection`."""
        values, _, layout = self._content
        return kept(np.ascontiguousarray(layout.seen(values)[index]))

    def place(self, index: int) -> str:
        """The number of the row."""
        return f"image {index}"

    def labels(self) -> Labels | None:
        """Those of the `.npz` file."""
        values, labels, _ = self._content
        return _labels(labels, len(values), self.path)

    def array(self) -> Shaped[np.ndarray, "n h w c"] | None:
        """The `.npy` file itself, memory-mapped, where its values are kept as they are."""
        if self.path.suffix.lower() != ".npy":
            return None
        values, _, layout = self._content
        as_it_lies = values.dtype.kind == "f" or values.dtype.name == layout.depth
        return layout.seen(values) if as_it_lies else None


@dataclass(frozen=True)
class _Layout:
    """Where height, width and channels are in a file's array, and how values are kept here."""

    shape: tuple[int, int, int]
    depth: Depth
    channels_first: bool = False
    notices: tuple[str, ...] = ()

    @classmethod
    def of(cls, values: Shaped[np.ndarray, "..."], path: Path) -> "_Layout":
        if values.dtype.name not in DEPTHS:
            raise LoangError(
                f"{path} holds values of type {values.dtype.name}.",
                "Save numbers: uint8, uint16 or float32 best.",
            )
        depth = DEPTHS[values.dtype.name]
        notices = list[str]()
        if values.dtype.kind in "iu" and depth == "float32":
            notices.append(
                f"The whole numbers in {path} are of type {values.dtype.name}, and are kept as real"
                " ones: save them as uint8 or uint16 if that is what they are."
            )
        shape = tuple(int(side) for side in values.shape)
        if len(shape) not in (3, 4) or 0 in shape:
            raise LoangError(
                f"{path} has the shape {shape}, which is not one of many images.",
                "Save the images as (N, H, W), (N, H, W, C) or (N, C, H, W), each at least 1.",
            )
        if len(shape) == 3:
            if shape[2] <= USUAL_CHANNELS < min(shape[:2]):
                raise LoangError(
                    f"{path} has the shape {shape}, which looks like a single image.",
                    "Save images[None] for one image, or images[..., None] for narrow grey ones.",
                )
            return cls((shape[1], shape[2], 1), depth, False, tuple(notices))
        _, second, third, last = shape
        few = (last <= USUAL_CHANNELS, second <= USUAL_CHANNELS)
        if any(few):
            channels_first = not few[0]
        elif min(shape[1:]) in (last, second) and sorted(shape[1:])[0] < sorted(shape[1:])[1]:
            channels_first = second < last
        else:
            raise LoangError(
                f"{path} has the shape {shape}, in which no axis looks like channels.",
                "Save the images as (N, H, W, C) with C smaller than H and W.",
            )
        if all(few) or not any(few):
            axis = "second" if channels_first else "last"
            notices.append(
                f"In {path}, of shape {shape}, the {axis} axis is taken as the channels."
            )
        if channels_first:
            return cls((third, last, second), depth, True, tuple(notices))
        return cls((second, third, last), depth, False, tuple(notices))

    def seen(self, values: Shaped[np.ndarray, "n ..."]) -> Shaped[np.ndarray, "n h w c"]:
        """All images as (N, H, W, C): a view."""
        values = np.asarray(values)
        if self.channels_first:
            return np.moveaxis(values, 1, -1)
        return values if values.ndim == 4 else values[..., np.newaxis]


def _read(path: Path) -> tuple[Shaped[np.ndarray, "..."], Shaped[np.ndarray, "..."] | None]:
    """The images, and the labels where there are any, as the file has them."""
    remedy = "Save it again with numpy.save or numpy.savez, as numbers."
    try:
        plain_size(path, largest=LARGEST_FILE)
        if path.suffix.lower() == ".npy":
            return map_npy(path), None
        arrays, names = read_npz(path, IMAGE_KEYS + LABEL_KEYS)
    except LoangError:
        raise
    except OSError as error:
        raise LoangError(f"{path} cannot be read: {error.strerror or error}.", remedy) from error
    except Exception as error:
        # A damaged file can make numpy's reader fail in any way, down to Python's tokenizer.
        reason = shown(str(error), most=200)
        raise LoangError(f"{path} is no sound array file: {reason}.", remedy) from error
    images, labels = (
        next((arrays[key] for key in keys if key in arrays), None)
        for keys in (IMAGE_KEYS, LABEL_KEYS)
    )
    if images is None:
        raise LoangError(
            f"{path} holds {shown(', '.join(names)) or 'nothing'}, but no images.",
            "Save them under the name images, and labels, if any, as labels.",
        )
    return images, labels


def _labels(values: Shaped[np.ndarray, "..."] | None, count: int, path: Path) -> Labels | None:
    """Each image's class, names in ascending order; whole numbers or words do.

    For what is none see `without_signs_of_none`.
    """
    if values is None:
        return None
    if values.shape != (count,) or values.dtype.kind not in "iuU":
        raise LoangError(
            f"The labels in {path} are of shape {values.shape} and type {values.dtype.name}.",
            f"Save one whole number or word for each of the {count:,} images.",
        )
    made = Labels.of(without_signs_of_none(values.tolist()))
    return checked(made, str(path), "Save it under another name")
