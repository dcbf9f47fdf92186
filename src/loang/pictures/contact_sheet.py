"""A contact sheet: many images under titles, small, each with a caption if it has one."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from loang.pictures.grid import INK, MARGIN, _font, _text_size

CELL = 96  # pixels of the longer side, about
GAP = 6
BETWEEN = 18  # pixels above a title
SMALL = 0.7  # of the titles' size: captions
EDGE = "#dddddd"  # around each image: a white one on white is seen too
TRANSPARENT = 225  # the grey that shows where an image is transparent


@dataclass(frozen=True)
class Section:
    """Images under one title.

    Args:
        title: one line.
        images: (H, W, C) with 1, 3 or 4 channels, uint8.
        captions: one an image, or none at all.
        together: so many neighbours belong together: a wider gap stands after them.
    """

    title: str
    images: Sequence[UInt8[np.ndarray, "_h _w _c"]]
    captions: Sequence[str] = ()
    together: int = 1


def contact_sheet(sections: Sequence[Section], *, columns: int = 8) -> Image.Image:
    """All sections, one below another, on white.

    Small images are enlarged by a whole number, so that their pixels can be seen; large ones are
    reduced. A caption too long for its image is cut at the front, for the end tells files apart.

    Args:
        sections: at least one, with at least one image.
        columns: images in a row.

    Raises:
        ValueError: nothing to show.
    """
    cells = [image for section in sections for image in section.images]
    if not cells:
        raise ValueError("there is no image to show")
    longest = max(max(image.shape[:2]) for image in cells)
    factor = max(1, CELL // longest) if longest <= CELL else CELL / longest
    width = max(1, round(max(image.shape[1] for image in cells) * factor))
    height = max(1, round(max(image.shape[0] for image in cells) * factor))
    texts = [text for section in sections for text in (section.title, *section.captions)]
    font = _font(texts)
    small = font.font_variant(size=round(font.size * SMALL)) if hasattr(font, "size") else font  # type: ignore[union-attr]
    line, below = _text_size("Ag", font)[1], _text_size("Ag", small)[1]
    widest = max(1, max(section.together for section in sections))
    full = 2 * MARGIN + columns * (width + GAP) + (columns // widest) * 2 * GAP
    canvas = Image.new("RGB", (max(full, 400), 1), "white")
    tall = MARGIN + sum(
        line
        + GAP
        + ceil(len(section.images) / columns) * (height + GAP + (below if section.captions else 0))
        + BETWEEN
        for section in sections
    )
    canvas = canvas.resize((canvas.width, tall))
    draw = ImageDraw.Draw(canvas)
    top = MARGIN
    for section in sections:
        draw.text(
            (MARGIN, top), _cut(section.title, font, canvas.width - 2 * MARGIN, True), INK, font
        )
        top += line + GAP
        step = height + GAP + (below if section.captions else 0)
        for index, image in enumerate(section.images):
            row, column = divmod(index, columns)
            wide = 2 * GAP * (column // section.together) if section.together > 1 else 0
            left = MARGIN + column * (width + GAP) + wide
            shown = _shown(image, factor)
            x, y = left + (width - shown.width) // 2, top + row * step
            draw.rectangle((x - 1, y - 1, x + shown.width, y + shown.height), outline=EDGE)
            canvas.paste(shown, (x, y))
            if section.captions:
                caption = _cut(section.captions[index], small, width)
                draw.text((left, top + row * step + height), caption, INK, small)
        top += ceil(len(section.images) / columns) * step + BETWEEN
    return canvas


def _shown(image: UInt8[np.ndarray, "h w c"], factor: float) -> Image.Image:
    picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    size = max(1, round(picture.width * factor)), max(1, round(picture.height * factor))
    way = Image.Resampling.NEAREST if factor >= 1 else Image.Resampling.BOX
    picture = picture.resize(size, way)
    if picture.mode == "RGBA":
        behind = Image.new("RGB", picture.size, (TRANSPARENT,) * 3)
        behind.paste(picture, mask=picture.getchannel(3))
        return behind
    return picture.convert("RGB")


def _cut(text: str, font: Any, width: int, at_end: bool = False) -> str:
    """The text, or as much of it as fits, with dots where it is cut."""
    if _text_size(text, font)[0] <= width:
        return text
    for length in range(len(text) - 1, 0, -1):
        cut = f"{text[:length]}..." if at_end else f"...{text[-length:]}"
        if _text_size(cut, font)[0] <= width:
            return cut
    return ""
