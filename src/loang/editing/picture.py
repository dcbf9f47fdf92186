"""A picture read as the images of a model were: their depth, channels and size."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Shaped
from torch import Tensor

from loang.config import DataSettings
from loang.data.encoded.picture import Header, Unreadable, count_pages, read_header, read_picture
from loang.data.resize import convert_pixels, resize_picture
from loang.data.scaling import to_model
from loang.data.spec import FULL_RANGE, ImageSpec
from loang.errors import LoangError

COLOURS = (1, 3, 4)
"""Channels that turn into one another: grey, RGB, RGBA."""
WHOLE = 0.99
"""The share of a pixel that must be known, where a picture is brought to another size."""


@dataclass(frozen=True)
class Picture:
    """One image of the kind that a model draws.

    Args:
        pixels: at the spec's size, channels and depth.
        spec: of the model.
        notices: what was changed on the way, in sentences.
    """

    pixels: Shaped[np.ndarray, "h w c"]
    spec: ImageSpec
    notices: tuple[str, ...] = ()

    @property
    def x0(self) -> Float32[Tensor, "1 c h w"]:
        """As a network sees it, in [-1, 1]."""
        return to_model(self.pixels[np.newaxis], self.spec)


def read(path: Path, spec: ImageSpec, data: DataSettings) -> Picture:
    """A picture from a file, what is transparent laid on the background as in training.

    Args:
        path: of any format that training reads; of a TIFF, the first page.
        spec: what the model's images are.
        data: the model's own settings: how another shape is brought to its size.

    Raises:
        LoangError: there is none, it can't be read, or it can't be made such an image.
    """
    pixels, header, notices = _read(path, spec)
    low, high = FULL_RANGE.get(spec.depth, (0.0, 1.0))
    if pixels.shape[2] != spec.channels:
        notices = [*notices, *_converted(path, pixels.shape[2], spec, data)]
        pixels = convert_pixels(pixels, spec.channels, low, high, data.background)
    behind = high if data.background == "white" else low
    size = spec.height, spec.width
    pixels = resize_picture(pixels, *size, data.fit, behind, alpha=spec.channels == 4)
    told = *notices, *_resized(path, header, spec, data), *_cut(pixels, spec)
    return Picture(pixels, spec, told)


def read_with_holes(
    path: Path, spec: ImageSpec, data: DataSettings, mask: Path | None = None
) -> tuple[Picture, Bool[np.ndarray, "h w"]]:
    """A picture, and which of its pixels are known: True where they are.

    What lies in a hole has no part in the pixels beside it, at any size; it is read as 0.

    Args:
        path: as for `read`.
        spec: as for `read`.
        data: as for `read`.
        mask: a picture of the same size, white where there is a hole; None takes what is not
            opaque in the picture itself.

    Raises:
        LoangError: as for `read`; the mask is of another size; there is neither a mask nor
            transparency; or there is no hole.
    """
    pixels, header, notices = _read(path, spec)
    if mask is not None:
        known = _read_mask(mask, header)
    elif header.transparent and spec.channels != 4:
        known = pixels[..., 3] == FULL_RANGE[spec.depth][1]
    else:
        raise LoangError(
            f"{path} does not say what to fill: nothing in it is transparent."
            if spec.channels != 4
            else "In this model's images transparency is drawn, and can't mark a hole.",
            "Erase a part of the picture, or give --mask, a picture that is white where to fill."
            if spec.channels != 4
            else "Give --mask, a picture that is white where to fill.",
        )
    if known.all():
        raise LoangError(
            f"In {mask or path} there is nothing to fill.",
            "Make it white there." if mask else "Erase a part of it, or give --mask.",
        )
    if header.transparent and spec.channels != 4:
        pixels = pixels[..., :3]
    low, high = FULL_RANGE.get(spec.depth, (0.0, 1.0))
    if pixels.shape[2] != spec.channels:
        notices = [*notices, *_converted(path, pixels.shape[2], spec, data)]
        pixels = convert_pixels(pixels, spec.channels, low, high, data.background)
    behind = high if data.background == "white" else low
    pixels, known = _brought(pixels, known, spec, data, behind)
    if known.all():
        raise LoangError(
            f"At {spec.height}x{spec.width} no hole is left in {mask or path}.",
            f"Make it larger, or cut out the part around it: this model's images are"
            f" {spec.height}x{spec.width}.",
        )
    told = *notices, *_resized(path, header, spec, data), *_cut(pixels, spec)
    return Picture(pixels, spec, told), known


def _brought(
    pixels: Shaped[np.ndarray, "tall wide c"],
    known: Bool[np.ndarray, "tall wide"],
    spec: ImageSpec,
    data: DataSettings,
    behind: float,
) -> tuple[Shaped[np.ndarray, "h w c"], Bool[np.ndarray, "h w"]]:
    """At the spec's size, each known pixel counting as much as it is seen."""
    pixels = np.where(known[..., np.newaxis], pixels, 0).astype(pixels.dtype)
    size = spec.height, spec.width
    if known.shape == size:
        return pixels, known
    weight = known[..., np.newaxis].astype(np.float32)
    seen = resize_picture(weight, *size, data.fit, 1.0)
    values = resize_picture(pixels.astype(np.float32) * weight, *size, data.fit, behind)
    # A sharp filter overshoots. What a picture is padded with need not be within its own values.
    there = [pixels.min(), pixels.max(), *([behind] if data.fit == "pad" else [])]
    values = (values / np.maximum(seen, 1e-6)).clip(min(there), max(there))
    if spec.depth != "float32":
        values = np.rint(values)
    known = seen[..., 0] >= WHOLE
    return np.where(known[..., np.newaxis], values, 0).astype(spec.depth), known


def _read_mask(path: Path, of: Header) -> Bool[np.ndarray, "h w"]:
    """True where the mask is not white."""
    header, values = _decoded(path)
    if (header.height, header.width) != (of.height, of.width):
        raise LoangError(
            f"The mask {path} is {header.height}x{header.width}, and the picture"
            f" {of.height}x{of.width} (height x width).",
            "A mask has the picture's own size: draw it over the picture.",
        )
    low, high = FULL_RANGE.get(values.dtype.name, (0.0, float(max(values.max(), 1.0))))
    if values.shape[2] not in COLOURS:
        raise LoangError(f"The mask {path} has {values.shape[2]} channels.", "Save it as grey.")
    grey = convert_pixels(values, 1, low, high, "black")[..., 0]
    return grey.astype(np.float64) <= (low + high) / 2


def _read(path: Path, spec: ImageSpec) -> tuple[Shaped[np.ndarray, "h w c"], Header, list[str]]:
    """A picture at the spec's depth, of channels that can be turned into the spec's."""
    header, pixels = _decoded(path)
    notices = []
    try:
        pages = count_pages(path)
    except Unreadable:
        pages = 1
    if pages > 1:
        notices.append(f"{path} has {pages:,} pages; the first is taken.")
    channels = pixels.shape[2]
    if channels != spec.channels and not {channels, spec.channels} <= {*COLOURS}:
        raise LoangError(
            f"{path} has {channels} channel{'s' * (channels > 1)}, and this model's images"
            f" {spec.channels}.",
            "Only grey, RGB and RGBA turn into one another: save it with as many.",
        )
    pixels, said = _at_depth(path, pixels, spec)
    return pixels, header, notices + said


def _decoded(path: Path) -> tuple[Header, Shaped[np.ndarray, "h w c"]]:
    if not path.is_file():
        raise LoangError(f"There is no picture at {path}.", "Look at how the name is spelled.")
    try:
        return read_header(path), read_picture(path)
    except Unreadable as reason:
        raise LoangError(
            f"{path} can't be read as a picture: {reason}.", "Save it as PNG or TIFF."
        ) from reason


def _at_depth(
    path: Path, pixels: Shaped[np.ndarray, "h w c"], spec: ImageSpec
) -> tuple[Shaped[np.ndarray, "h w c"], list[str]]:
    """Whole numbers at the other depth where that is needed; real ones have no counterpart."""
    depth = pixels.dtype.name
    if depth == spec.depth:
        return pixels, []
    if "float32" in (depth, spec.depth):
        words = {True: "real numbers", False: "whole numbers"}
        raise LoangError(
            f"The values of {path} are {words[depth == 'float32']}, and those of this model's"
            f" images {words[spec.depth == 'float32']} from {spec.low:g} to {spec.high:g}.",
            f"Save it as {'a TIFF of 32-bit real numbers' if depth != 'float32' else spec.depth},"
            " in that range.",
        )
    if depth == "uint16":
        return np.rint(pixels / 257).astype(np.uint8), [
            f"{path} has 16 bits, and this model's images 8: its values are divided by 257."
        ]
    # Full white is what the model learnt as full white, however few of 16 bits that has.
    factor = spec.high / 255 if pixels.shape[2] != 4 else 257.0
    return np.rint(pixels * factor).astype(np.uint16), [
        f"{path} has 8 bits, and this model's images 16: its values are multiplied by {factor:g}."
    ]


def _converted(path: Path, channels: int, spec: ImageSpec, data: DataSettings) -> list[str]:
    laid = f", and laid on {data.background}" if channels == 4 else ""
    return [
        f"{path} has {channels} channel{'s' * (channels > 1)}, and this model's images"
        f" {spec.channels}: it is converted{laid}."
    ]


def _resized(path: Path, header: Header, spec: ImageSpec, data: DataSettings) -> list[str]:
    if (header.height, header.width) == (spec.height, spec.width):
        return []
    how = {"crop": "scaled and cropped", "pad": "scaled and padded", "stretch": "stretched"}
    return [
        f"{path} is {header.height}x{header.width}, and is {how[data.fit]} to this model's"
        f" {spec.height}x{spec.width}."
    ]


def _cut(pixels: Shaped[np.ndarray, "h w c"], spec: ImageSpec) -> list[str]:
    outside = float(((pixels < spec.low) | (pixels > spec.high)).mean())
    if not outside:
        return []
    return [
        f"{outside:.1%} of the values lie outside {spec.low:g} to {spec.high:g}, the range of this"
        " model's images: the network sees them at its ends."
    ]
