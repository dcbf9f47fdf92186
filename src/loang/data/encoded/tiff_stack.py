"""Stacks of which only the first image can be found: one directory, and many images after it.

ImageJ writes stacks of more than 4 GB so, and tifffile where it is asked to truncate. The
description says how many there are.
"""

import math
import re

from loang.data.encoded.header import Encoded, Unreadable
from loang.data.encoded.tiff_directory import read_directory
from loang.data.encoded.tiff_layout import NONE, Layout
from loang.untrusted import parse_json

DESCRIPTION = 270
OF_IMAGEJ = re.compile(r"\AImageJ=.*?^images=([0-9]{1,9})\s*$", re.DOTALL | re.MULTILINE)


def refuse_if_others_are_lost(file: Encoded, place: int, layout: Layout) -> None:
    """To be asked of a file with a single page.

    Args:
        file: it.
        place: where the page's directory is.
        layout: what the page is.

    Raises:
        Unreadable: it holds more images than that page.
    """
    if layout.compression != NONE:  # one after another they lie only as they are
        return
    try:
        directory = read_directory(file, place, frozenset({DESCRIPTION}))
    except Unreadable:  # a long one is that of another program
        return
    tag = directory.tags.get(DESCRIPTION)
    text = "" if tag is None else tag.content.rstrip(b"\0").decode("utf-8", "replace")
    count = _announced(text, layout.height * layout.width * layout.samples)
    # A page that was taken out of a stack may still have the description of that.
    end = min(layout.offsets) + count * sum(layout.byte_counts)
    if count > 1 and end <= directory.file_size:
        raise Unreadable(
            f"it says that it holds {count:,} images, of which only the first can be found: save it"
            " with a directory a page"
        )


def _announced(text: str, values: int) -> int:
    """How many images of so many values a description speaks of; 0 where it doesn't."""
    if found := OF_IMAGEJ.search(text):
        return int(found[1])
    try:
        shape = parse_json(text).get("shape")
    except ValueError:
        return 0
    if not isinstance(shape, list) or not all(type(side) is int and side > 0 for side in shape):
        return 0
    return math.prod(shape) // values
