"""Many images in one picture: a plain grid, and rows with captions."""

from collections.abc import Sequence
from math import ceil

import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import Image, ImageDraw, ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # Pillow's word for so many channels
FONT_SIZE = 18
INK = "#333333"  # softer than black beside pictures
GAP = 2  # pixels between images of a plain grid
MARGIN = 16  # pixels of white around captioned rows
GUTTER = 12  # pixels between a caption and its neighbours


def to_display(
    pixels: Shaped[np.ndarray, "n h w c"], low: float, high: float
) -> UInt8[np.ndarray, "n h shown_w shown_c"]:
    """Images of any depth as 8-bit images that a screen can show.

    One channel stays grey, three stay RGB, four stay RGBA. Two channels have no colours of their
    own: they are put side by side in grey, so the images come out twice as wide. Of five or more,
    the first three are shown as red, green and blue.

    Args:
        pixels: (N, H, W, C), uint8, uint16 or floating point.
        low: the value that becomes 0; what is below it, or not a number, becomes 0 as well. A value
            that whole numbers can't have counts as the least that they can.
        high: the value that becomes 255, above `low`; what is above it becomes 255 as well.

    Raises:
        ValueError: `high` is not above `low`.
    """
    if not low < high:
        raise ValueError(f"the range {low}..{high} is empty")
    if pixels.dtype.kind == "u":  # a network that was shown [0, 1] has a range from below 0
        low = max(low, 0.0)
    channels = pixels.shape[-1]
    if channels == 2:
        pixels = np.concatenate([pixels[..., :1], pixels[..., 1:]], axis=2)
    elif channels > 4:
        pixels = pixels[..., :3]
    values = (pixels.astype(np.float64) - low) * (255.0 / (high - low))
    # `nan=0` first: casting not-a-number to an integer is undefined.
    return np.rint(np.nan_to_num(values, nan=0.0).clip(0.0, 255.0)).astype(np.uint8)


def grid(
    pixels: UInt8[np.ndarray, "n h w c"],
    *,
    columns: int | None = None,
    gap: int = GAP,
    scale: int | None = None,
    background: int = 255,
) -> Image.Image:
    """The images row by row, left to right, as one picture.

    Args:
        pixels: (N, H, W, C) with 1 (grey), 3 (RGB) or 4 (RGBA) channels, at least one image.
        columns: images in a row; by default the smallest number that gives no more rows than
            columns. More than N is the same as N.
        gap: pixels between neighbours, before scaling; there is no border.
        scale: whole number by which each pixel is repeated in both directions. By default the
            smallest that makes the picture 512 pixels wide, as long as neither side is enlarged
            past 2048 pixels.
        background: grey level, 0 to 255, of the gaps and of the empty places in the last row.

    Returns:
        A picture in mode L, RGB or RGBA, as `pixels` are.

    Raises:
        ValueError: no images, another number of channels, or a number out of range.
    """
    count, height, width, channels = _checked(pixels)
    if (columns is not None and columns < 1) or gap < 0 or not 0 <= background <= 255:
        raise ValueError(f"{columns=}, {gap=}, {background=}: out of range")
    columns = _across(count, columns)
    across, down = grid_size(count, height, width, columns=columns, gap=gap)
    canvas = np.full((down, across, channels), background, np.uint8)
    if channels == 4:
        canvas[..., 3] = 255
    for index, image in enumerate(pixels):
        top, left = index // columns * (height + gap), index % columns * (width + gap)
        canvas[top : top + height, left : left + width] = image
    scale = _scale(canvas.shape[1], canvas.shape[0], wanted=512) if scale is None else scale
    return _picture(canvas, scale)


def grid_size(
    count: int, height: int, width: int, *, columns: int | None = None, gap: int = GAP
) -> tuple[int, int]:
    """Width and height of what `grid` makes of so many images, before it is scaled.

    What is wider or higher than 2048 pixels is not scaled by itself.
    """
    columns = _across(count, columns)
    rows = ceil(count / columns)
    return columns * (width + gap) - gap, rows * (height + gap) - gap


def _across(count: int, columns: int | None) -> int:
    return ceil(count**0.5) if columns is None else min(columns, count)


def captioned_rows(
    rows: Sequence[UInt8[np.ndarray, "n h w c"]],
    *,
    column_captions: Sequence[str],
    row_captions: Sequence[str] = (),
    scale: int | None = None,
) -> Image.Image:
    """Rows of images under column captions, with row captions at the left, on white.

    Columns are as wide as the widest image or caption needs: no caption is cut or overlaps another.

    Args:
        rows: each (N, H, W, C) with 1, 3 or 4 channels, all of one shape, at least one image.
        column_captions: N captions, for instance `t = 500`; `\\n` starts a new line.
        row_captions: one for each row, or none at all.
        scale: as in `grid`, but the default aims at a picture about 1024 pixels wide.

    Returns:
        A picture in mode L, RGB or RGBA, as `rows` are.

    Raises:
        ValueError: no rows, rows of different shapes, or captions that do not fit in number.
    """
    if len({row.shape for row in rows}) != 1:
        raise ValueError(f"rows of one shape are needed, not {[row.shape for row in rows]}")
    count, height, width, channels = _checked(rows[0])
    if len(column_captions) != count or len(row_captions) not in (0, len(rows)):
        raise ValueError(
            f"{len(column_captions)} column and {len(row_captions)} row captions "
            f"for {len(rows)} rows of {count} images"
        )
    if scale is None:
        scale = _scale(count * width, len(rows) * height, wanted=1024)

    font = font_for([*column_captions, *row_captions])
    above = [text_size(caption, font) for caption in column_captions]
    beside = [text_size(caption, font) for caption in row_captions]
    cell_width = max([width * scale, *(w + GUTTER for w, _ in above)])
    cell_height = max([height * scale, *(h for _, h in beside)])
    left = MARGIN + max([0, *(w + GUTTER for w, _ in beside)])
    top = MARGIN + max(h for _, h in above) + GUTTER // 2
    gap = max(2, width * scale // 16)
    canvas = Image.new(
        MODES[channels],
        (
            left + count * (cell_width + gap) - gap + MARGIN,
            top + len(rows) * (cell_height + gap) - gap + MARGIN,
        ),
        "white",
    )
    draw = ImageDraw.Draw(canvas)
    middles = [left + k * (cell_width + gap) + cell_width / 2 for k in range(count)]
    for caption, middle in zip(column_captions, middles, strict=True):
        # Anchored by the descender: captions with and without a "p" share a baseline.
        draw.text((middle, top - GUTTER // 2), caption, INK, font, "md", align="center")
    for index, row in enumerate(rows):
        center = top + index * (cell_height + gap) + cell_height / 2
        if row_captions:
            draw.text((left - GUTTER, center), row_captions[index], INK, font, "rm", align="right")
        for image, middle in zip(row, middles, strict=True):
            corner = int(middle - width * scale / 2), int(center - height * scale / 2)
            canvas.paste(_picture(image, scale), corner)
    return canvas


def _checked(pixels: UInt8[np.ndarray, "n h w c"]) -> tuple[int, int, int, int]:
    """The shape of images that can be drawn, or a ValueError."""
    count, height, width, channels = pixels.shape
    if count < 1 or height < 1 or width < 1:
        raise ValueError("there is no image to draw")
    if channels not in MODES:
        raise ValueError(f"{channels} channels can't be drawn: see `to_display`")
    return count, height, width, channels


def _scale(width: int, height: int, *, wanted: int) -> int:
    """The smallest whole scale that makes `width` at least `wanted`, within 2048 pixels."""
    return max(1, min(ceil(wanted / width), 2048 // max(width, height)))


def _picture(image: UInt8[np.ndarray, "h w c"], scale: int) -> Image.Image:
    """One image in Pillow's terms, each pixel `scale` by `scale` large."""
    if scale < 1:
        raise ValueError(f"the scale {scale} is below 1")
    large = image.repeat(scale, axis=0).repeat(scale, axis=1)
    return Image.fromarray(large[..., 0] if large.shape[-1] == 1 else large)


def font_for(captions: Sequence[str], size: int = FONT_SIZE) -> Font:
    """Pillow's own font, or one with accents, Greek and subscripts where a caption has them.

    Args:
        captions: all that will be written with it.
        size: in pixels.
    """
    if all(caption.isascii() for caption in captions):
        return ImageFont.load_default(size=size)
    import matplotlib  # only for the path of the font that it carries

    return ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf", size)


def text_size(text: str, font: Font) -> tuple[int, int]:
    """Pixels that the text takes: its width, and its height above the last line's descenders."""
    size = font.size if isinstance(font, ImageFont.FreeTypeFont) else FONT_SIZE
    draw = ImageDraw.Draw(Image.new("L", (1, 1)))
    left, top, right, _ = draw.textbbox((0, 0), text, font, "ld")
    return ceil(right - left), max(ceil(-top), ceil(size * 5 / 4))
