"""The one shape and depth that all images of a collection get, told by their headers."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from loang.data.encoded.picture import Header, Unreadable
from loang.data.spec import Depth
from loang.errors import LoangError

AUTOMATIC_AREA = 64**2
"""Pixels of images whose size loang chooses: what two cores learn within an hour."""
SIZES = 20
RGBA = 4
CONVERTIBLE = (1, 3)
"""Channels that become one another: grey and colour; others are data of their own kind."""

Kind = Literal["whole", "real"]


@dataclass(frozen=True)
class Shape:
    """What each image is brought to.

    Args:
        height: pixels.
        width: pixels.
        channels: of the result.
        depth: of the result; uint8 among uint16 is multiplied by 257.
        transparent: whether the last of four channels is opacity.
        resized: whether a size was asked for or chosen, so that others are brought to it.
    """

    height: int
    width: int
    channels: int
    depth: Depth
    transparent: bool
    resized: bool

    @property
    def sides(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        return self.height, self.width, self.channels

    @property
    def bytes(self) -> int:
        """Of one image."""
        return math.prod(self.sides) * np.dtype(self.depth).itemsize


def agree(
    headers: Mapping[int, Header],
    name: str,
    size: tuple[int, int] | None,
    channels: int | None,
) -> tuple[Shape, dict[int, Unreadable], list[str]]:
    """The common shape, the images that can't be brought to it, and what a person should know.

    Grey and colour become colour, 8 and 16 bits 16. Real numbers and whole ones can't be compared,
    nor can images of 2 or of more than 4 channels with others: the more common kind is kept.

    Args:
        headers: of the images that can be read, by their number; at least one.
        name: of the place.
        size: height and width that are asked for; None keeps that of all images, or chooses one.
        channels: that are asked for; None keeps grey where all are grey.

    Raises:
        LoangError: images can't be given so many channels.
    """
    odd, notices = dict[int, Unreadable](), list[str]()
    kinds = Counter(_kind(header) for header in headers.values())
    (kept, _), *others = kinds.most_common()
    if others:
        odd = {
            i: Unreadable(_differs(kept, _kind(header)))
            for i, header in headers.items()
            if _kind(header) != kept
        }
        headers = {i: header for i, header in headers.items() if i not in odd}
    depths = Counter(header.depth for header in headers.values())
    depth: Depth = next(d for d in ("float32", "uint16", "uint8") if depths[d])
    if depth == "uint16" and depths["uint8"]:
        notices.append(
            f"{name} mixes {depths['uint16']:,} images of 16 bits with {depths['uint8']:,} of 8,"
            " whose values are multiplied by 257: all are kept at 16 bits, those that use fewer of"
            " them, as a 12-bit camera's do, being dark among the others."
        )
    sizes = Counter((header.height, header.width) for header in headers.values())
    if size is None and len(sizes) > 1:
        height, width = _automatic_size(sizes)
        notices.append(
            f"{_describe_sizes(sizes, name)}: all are brought to {height}x{width}. Training"
            " chooses another by --size, and how by --fit: crop, pad or stretch."
        )
    else:
        height, width = size or next(iter(sizes))
    wanted, transparent = _channels(headers, name, channels)
    resized = size is not None or len(sizes) > 1
    return Shape(height, width, wanted, depth, transparent, resized), odd, notices


def survey(headers: Iterable[Header]) -> dict[str, Any]:
    """How many images there are of each kind, before any is changed; plain values for JSON.

    `sizes`: up to `SIZES` of them as (height, width, how many), the commonest first;
    `different_sizes`: how many there are; `channels` and `depths`: how many images have each;
    `transparent`: how many know transparency; `smallest` and `largest`: (height, width) by area.
    """
    known = Counter(headers)
    sizes, channels, depths = Counter[tuple[int, int]](), Counter[str](), Counter[str]()
    transparent = 0
    for header, count in known.items():
        sizes[header.height, header.width] += count
        channels[str(header.channels)] += count
        depths[header.depth] += count
        transparent += count * header.transparent
    ordered = sorted(sizes, key=lambda size: (math.prod(size), size))
    return {
        "sizes": [[*size, count] for size, count in sizes.most_common(SIZES)],
        "different_sizes": len(sizes),
        "smallest": list(ordered[0]) if ordered else [],
        "largest": list(ordered[-1]) if ordered else [],
        "channels": dict(channels),
        "depths": dict(depths),
        "transparent": transparent,
    }


def _kind(header: Header) -> tuple[Kind, int]:
    """Images of one kind can be brought to one another's channels and depth."""
    colours = header.channels in CONVERTIBLE
    return "real" if header.depth == "float32" else "whole", 0 if colours else header.channels


def _differs(kept: tuple[Kind, int], other: tuple[Kind, int]) -> str:
    if kept[0] != other[0]:
        words = {"whole": "whole numbers", "real": "real numbers"}
        return f"its values are {words[other[0]]}, and those of most others {words[kept[0]]}"
    most = f"{kept[1]}" if kept[1] else "1 or 3"
    return f"most others have {most} channels"


def _channels(headers: Mapping[int, Header], name: str, wanted: int | None) -> tuple[int, bool]:
    """How many channels, and whether the last of four is opacity."""
    most = max(header.channels for header in headers.values())
    if wanted is None or wanted == most:
        return most, False
    if {most, wanted} <= {*CONVERTIBLE, RGBA}:
        return wanted, wanted == RGBA
    raise LoangError(
        f"The images of {name} have {most} channel{'s' * (most > 1)}, and can't be given {wanted}.",
        "Only 1 (grey), 3 (rgb) and 4 (rgba) turn into one another; leave --channels out.",
    )


def _automatic_size(sizes: Mapping[tuple[int, int], int]) -> tuple[int, int]:
    """The median shape, at most 64 x 64 pixels large, its sides multiples of 8."""
    sides = np.array(list(sizes), np.float64)
    counts = np.fromiter(sizes.values(), np.int64)
    ratio = np.median(np.repeat(sides[:, 0] / sides[:, 1], counts))
    area = min(AUTOMATIC_AREA, np.median(np.repeat(sides[:, 0] * sides[:, 1], counts)))
    height, width = (area * ratio) ** 0.5, (area / ratio) ** 0.5
    return max(8, 8 * round(height / 8)), max(8, 8 * round(width / 8))


def _describe_sizes(sizes: Counter[tuple[int, int]], name: str) -> str:
    some = ", ".join(f"{h}x{w} ({count:,})" for (h, w), count in sizes.most_common(3))
    others = " and others" if len(sizes) > 3 else ""
    return f"The images in {name} have {len(sizes):,} sizes, {some}{others} (height x width)"
