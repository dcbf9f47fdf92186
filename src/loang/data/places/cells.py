"""The image in one cell of a table: an encoded picture, or nested lists of numbers."""

from typing import Any

import numpy as np
from jaxtyping import Shaped

from loang.data.encoded.header import LARGEST_FILE, Header, Unreadable, check_size
from loang.data.encoded.picture import read_header, read_picture
from loang.data.places.columns import DEPTHS, Kind, is_list, is_struct
from loang.data.places.values import DEPTHS as KEPT
from loang.data.places.values import kept
from loang.untrusted import shown

MOST_CHANNELS = 4  # for a first axis to be taken as channels


def column_of(batch: Any, column: str) -> Any:
    """The array of a column in some rows, as it is kept."""
    array = batch.column(batch.schema.names.index(column))
    return getattr(array, "storage", array)


def encoded(array: Any, row: int) -> bytes:
    """The picture's file that lies in a cell of a column of kind `file` or `bytes`.

    Raises:
        Unreadable: there is none, or too large a one.
    """
    path = ""
    if is_struct(array.type):
        if array.type.get_field_index("path") >= 0:
            path = str(array.field("path")[row].as_py() or "")
        array = array.field("bytes")
    cell = array[row]
    if not cell.is_valid:
        if path:
            raise Unreadable(f"the picture is not in the file, which only names {shown(path)}")
        raise Unreadable("its row holds no picture")
    buffer = cell.as_buffer()
    if buffer.size > LARGEST_FILE:
        raise Unreadable(f"it has {buffer.size:,} bytes, more than {LARGEST_FILE:,}")
    return bytes(buffer)


def numbers(array: Any, row: int) -> Shaped[np.ndarray, "h w c"]:
    """The image that lies in a cell as nested lists; its memory is that of the table.

    (h, w), (h, w, c), or (c, h, w) where only that has at most four channels.

    Raises:
        Unreadable: its lists are not all as long, empty, or too large.
    """
    values, shape = array.slice(row, 1), list[int]()
    if values.null_count:
        raise Unreadable("its row holds no picture")
    while is_list(values.type):
        inner, count = values.flatten(), max(1, len(values))
        if values.null_count or len(inner) % count or not _all_as_long(values):
            raise Unreadable("its rows of pixels are not all as long")
        shape.append(len(inner) // count)
        values = inner
    height, width, channels = (*shape, 1, 1)[:3]
    if 0 in shape or values.null_count:
        raise Unreadable("some of its values are missing")
    check_size(height, width, channels * np.dtype(DEPTHS[str(values.type)]).itemsize)
    pixels = values.to_numpy(zero_copy_only=False).reshape(height, width, channels)
    return np.moveaxis(pixels, 0, -1) if height <= MOST_CHANNELS < channels else pixels


def header_of(kind: Kind, array: Any, row: int) -> Header:
    """What the image in a cell is, before it is decoded.

    Raises:
        Unreadable: there is none, or it is damaged.
    """
    if kind != "numbers":
        return read_header(encoded(array, row))
    pixels = numbers(array, row)
    height, width, channels = pixels.shape
    return Header(height, width, channels, KEPT[pixels.dtype.name])


def picture_of(kind: Kind, array: Any, row: int) -> Shaped[np.ndarray, "h w c"]:
    """The values of the image in a cell.

    Raises:
        Unreadable: there is none, or it is damaged.
    """
    if kind != "numbers":
        return read_picture(encoded(array, row))
    return kept(numbers(array, row))


def _all_as_long(values: Any) -> bool:
    import pyarrow.compute

    lengths = pyarrow.compute.min_max(pyarrow.compute.list_value_length(values)).as_py()
    return len(values) > 0 and lengths["min"] == lengths["max"]
