"""A contact sheet: many images under titles, small, each with a caption if it has one."""

from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from loang.pictures.grid import INK, MARGIN, Font, font_for, text_size

CELL = 96  # pixels of the longer side, about
GAP = 6
BETWEEN = 18  # pixels above a title
CAPTION_SIZE = 13
NARROWEST = 400
LONGEST = 200  # characters of a text that are looked at
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
    cells = [image.shape[:2] for section in sections for image in section.images]
    if not cells:
        raise ValueError("there is no image to show")
    longest = max(map(max, cells))
    factor = float(CELL // longest) if longest <= CELL else CELL / longest
    width, height = (max(1, round(max(cell[i] for cell in cells) * factor)) for i in (1, 0))
    texts = [text for section in sections for text in (section.title, *section.captions)]
    font, small = font_for(texts), font_for(texts, CAPTION_SIZE)
    line, below = text_size("Ag", font)[1] + GAP, text_size("Ag", small)[1]
    steps = [height + GAP + (below if section.captions else 0) for section in sections]
    tall = sum(
        line + ceil(len(section.images) / columns) * step + BETWEEN
        for section, step in zip(sections, steps, strict=True)
    )
    gaps = max(_gap(columns, section) for section in sections)
    wide = max(NARROWEST, 2 * MARGIN + columns * (width + GAP) + gaps)
    canvas = Image.new("RGB", (wide, MARGIN + tall), "white")
    draw = ImageDraw.Draw(canvas)
    top = MARGIN
    for section, step in zip(sections, steps, strict=True):
        title = _cut(section.title, font, wide - 2 * MARGIN, keep_end=False)
        draw.text((MARGIN, top), title, INK, font)
        top += line
        for index, image in enumerate(section.images):
            row, column = divmod(index, columns)
            left = MARGIN + column * (width + GAP) + _gap(column, section)
            shown = _shown(image, factor)
            x, y = left + (width - shown.width) // 2, top + row * step
            draw.rectangle((x - 1, y - 1, x + shown.width, y + shown.height), outline=EDGE)
            canvas.paste(shown, (x, y))
            if section.captions:
                caption = _cut(section.captions[index], small, width)
                draw.text((left, y + height), caption, INK, small)
        top += ceil(len(section.images) / columns) * step + BETWEEN
    return canvas


def _gap(column: int, section: Section) -> int:
    """Pixels that stand between groups, left of that column."""
    return 2 * GAP * (column // section.together) if section.together > 1 else 0


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


def _cut(text: str, font: Font, width: int, *, keep_end: bool = True) -> str:
    """The text, or as much of it as fits, with dots where it is cut."""
    text = text[-LONGEST:] if keep_end else text[:LONGEST]
    if text_size(text, font)[0] <= width:
        return text

    def cut(length: int) -> str:
        return f"...{text[-length:]}" if keep_end else f"{text[:length]}..."

    fits = bisect(range(1, len(text)), width, key=lambda length: text_size(cut(length), font)[0])
    return cut(fits) if fits else ""
