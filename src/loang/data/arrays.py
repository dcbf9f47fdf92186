"""A `.npy` or `.npz` file of images as one data set."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int, Shaped

from loang.data.fingerprint import fingerprint
from loang.data.images import Dataset, Images
from loang.data.memory import require_memory
from loang.data.npy import map_npy, read_npz
from loang.data.spec import Depth, ImageSpec
from loang.data.split import content_digest, split_rows
from loang.data.value_range import float_range, integer_range
from loang.errors import LoangError
from loang.untrusted import plain_size, shown

IMAGE_KEYS = ("images", "x", "arr_0")
LABEL_KEYS = ("labels", "y")
DEPTHS: dict[str, Depth] = {
    "uint8": "uint8",
    "uint16": "uint16",
    "float16": "float32",
    "float32": "float32",
    "float64": "float32",
}
LARGEST_FILE = 2**43  # 8 TiB; a memory map takes no memory
USUAL_CHANNELS = 4  # at most so many channels are recognised at once
ROWS = 1024


def open_arrays(path: Path) -> Dataset:
    """Images from an array of shape (N, H, W), (N, H, W, C) or (N, C, H, W).

    Where the last axis or the one after N has at most four entries, that is C, the last axis
    being asked first; else C is the one that is the smallest of the three. An `.npz` file holds
    the images as `images`, `x` or `arr_0`, and may hold one label per image, whole numbers or
    words, as `labels` or `y`. About a tenth is held out: see `split_rows`.

    Values are uint8, uint16 or floating-point (kept as float32); for their range see
    `value_range`. An `.npy` file is read through a memory map, a piece at a time. No pickled
    object is ever loaded.

    Raises:
        LoangError: the file is damaged, of another shape or type, holds NaN or infinity, or does
            not fit in memory.
    """
    values, found_labels = _read(path)
    layout = _Layout.of(values, path)
    require_memory((len(values), *layout.shape), layout.depth, str(path))

    digests, lowest, highest = list[bytes](), list[float](), list[float]()
    for piece in layout.pieces(values, np.arange(len(values))):
        digests += [content_digest(picture) for picture in piece]
        lowest.append(float(piece.min()))
        highest.append(float(piece.max()))
    # Through numpy, since the built-in min and max pass over NaN.
    least, most = float(np.min(lowest)), float(np.max(highest))
    is_float = layout.depth == "float32"
    low, high, notice = (
        float_range(least, most, str(path)) if is_float else integer_range(layout.depth, int(most))
    )
    names, labels = _classes(found_labels, len(values), path)
    spec = ImageSpec(*layout.shape, layout.depth, low, high, names)

    notices = [sentence for sentence in (layout.notice, notice) if sentence]
    train, held_out = split_rows(digests)
    if np.array_equal(train, held_out):
        notices.append("There is only one image, which both trains and validates.")
    parts = [
        Images(layout.gather(values, rows), spec, None if labels is None else labels[rows])
        for rows in (train, held_out)
    ]
    return Dataset(str(path), parts[0], parts[1], fingerprint(*parts), tuple(notices))


@dataclass(frozen=True)
class _Layout:
    """Where height, width and channels are in a file's array, and how values are kept here."""

    shape: tuple[int, int, int]
    depth: Depth
    channels_first: bool = False
    notice: str | None = None

    @classmethod
    def of(cls, values: Shaped[np.ndarray, "..."], path: Path) -> "_Layout":
        if values.dtype.name not in DEPTHS:
            raise LoangError(
                f"{path} holds values of type {values.dtype.name}.",
                "Save them as uint8, uint16 or float32, for instance images.astype('uint8').",
            )
        depth = DEPTHS[values.dtype.name]
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
            return cls((shape[1], shape[2], 1), depth)
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
        notice = None
        if all(few) or not any(few):
            axis = "second" if channels_first else "last"
            notice = f"In {path}, of shape {shape}, the {axis} axis is taken as the channels."
        if channels_first:
            return cls((third, last, second), depth, True, notice)
        return cls((second, third, last), depth, False, notice)

    def gather(
        self, values: Shaped[np.ndarray, "n ..."], rows: Int[np.ndarray, " k"]
    ) -> Shaped[np.ndarray, "k h w c"]:
        """Copies of some images, as they are kept here."""
        result = np.empty((len(rows), *self.shape), self.depth)
        start = 0
        for piece in self.pieces(values, rows):
            result[start : start + len(piece)] = piece
            start += len(piece)
        return result

    def pieces(
        self, values: Shaped[np.ndarray, "n ..."], rows: Int[np.ndarray, " k"]
    ) -> Iterator[Shaped[np.ndarray, "m h w c"]]:
        """Some images, a few at a time, as they are kept here."""
        for start in range(0, len(rows), ROWS):
            piece = np.asarray(values[rows[start : start + ROWS]])
            if self.channels_first:
                piece = np.moveaxis(piece, 1, -1)
            # A float64 too large is found as infinity later, and a signalling NaN as NaN.
            with np.errstate(over="ignore", invalid="ignore"):
                kept = piece.reshape(-1, *self.shape).astype(self.depth)
            yield kept


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


def _classes(
    values: Shaped[np.ndarray, "..."] | None, count: int, path: Path
) -> tuple[tuple[str, ...], Int[np.ndarray, " n"] | None]:
    """Class names in ascending order, and each image's class; whole numbers or words do."""
    if values is None:
        return (), None
    if values.shape != (count,) or values.dtype.kind not in "iuU":
        raise LoangError(
            f"The labels in {path} are of shape {values.shape} and type {values.dtype.name}.",
            f"Save one whole number or word for each of the {count:,} images.",
        )
    names, labels = np.unique(values, return_inverse=True)
    return tuple(str(name) for name in names), labels.astype(np.int64)
