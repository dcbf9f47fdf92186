"""Nearest images where a small shift, a mirroring, brightness and contrast do not count."""

import math
from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int64, Shaped
from torch import Tensor
from torch.nn import functional

from loang.metrics.neighbours import nearest

CANDIDATES = 50
"""Training images that are compared with an image pixel by pixel, those of nearest spectrum."""
FREQUENCIES = 7
SIDE = 32
"""Larger images are averaged down to at most this many pixels a side."""
_MARGIN = 2  # what smoothing made up at an edge, and what a shift pushed out, is not looked at
_CENTRE = ((_MARGIN, _MARGIN),)
_SHIFTS = tuple((_MARGIN + i, _MARGIN + j) for i in (-1, 0, 1) for j in (-1, 0, 1))
_LEAST_SIDE = 8
_BLANK = 1e-5  # of a picture's size: what rounding leaves of one value throughout
_SAME = 2e-6  # squared distances below it are rounding
_PIECE = 2048
_QUERIES = 256
_VALUES = 2**24  # pixels at once, before they are averaged: 64 MB in single precision


@runtime_checkable
class Stored(Protocol):
    """Images that are read some at a time: an array, a file's, or `Images`."""

    def __len__(self) -> int:
        """How many."""

    def __getitem__(self, rows: Int64[np.ndarray, " k"], /) -> Shaped[np.ndarray, "k h w c"]:
        """Those of these numbers."""


def nearest_aligned(
    queries: Stored, among: Stored, k: int, *, rows: Int64[np.ndarray, " m"] | None = None
) -> tuple[Float64[np.ndarray, "n k"], Int64[np.ndarray, "n k"]]:
    """The k nearest images of `among`: distances, ascending, and their indices.

    The distance is √(2 - 2ρ), where ρ is the correlation of the two images' pixels, each image
    smoothed by (1, 4, 6, 4, 1)/16 along both sides, at the best of nine shifts by a pixel or none,
    as it is or mirrored left to right. Two pixels at each edge are left out, so that an image and
    its shifted copy see the same. The distance is 0 for a copy, about 1.4 for images with nothing
    in common.

    To compare each with each would take minutes. So the candidates are found first: an image's
    Fourier magnitudes stay as they are when it is shifted, and swap places when it is mirrored.
    The neighbours of a copy are right, those of other images are near ones and not always the
    nearest. Images are read in pieces; memory grows by 8 bytes a pixel of `among`, averaged down.

    Args:
        queries: the images to find neighbours of, of any depth.
        among: where to look.
        k: how many, at most `CANDIDATES` and the number of images.
        rows: which images of `among`; None for all. Indices are places in `rows`.

    Raises:
        ValueError: too few images, or pixels that are not finite.
    """
    rows = np.arange(len(among)) if rows is None else rows
    every = np.arange(len(queries))
    if not 1 <= k <= min(CANDIDATES, len(rows)):
        raise ValueError(f"{k} neighbours of {len(rows)} images, at most {CANDIDATES}")
    of_among = np.concatenate([spectrum(x).numpy() for _, x in _reduced(among, rows)])
    of_queries = np.concatenate([spectrum(x).numpy() for _, x in _reduced(queries, every)])
    _, candidates = nearest(of_queries, of_among, min(CANDIDATES, len(rows)))
    patterns = torch.cat([_patterns(x, _CENTRE) for _, x in _reduced(among, rows)])[:, 0]
    squared = torch.empty(candidates.shape)
    for which, x in _reduced(queries, every, _QUERIES):
        ours = torch.cat((_patterns(x, _SHIFTS), _patterns(x.flip(3), _SHIFTS)), dim=1)
        theirs = patterns[candidates[which]]
        # The norms are 1, or 0 where an image has one value throughout.
        norms = _norm(ours) + _norm(theirs).mT
        apart = torch.baddbmm(norms, ours, theirs.mT, alpha=-2)
        squared[which] = apart.amin(dim=1)
    squared[squared < _SAME] = 0
    order = squared.sort(dim=1, stable=True)
    indices = np.take_along_axis(candidates, order.indices[:, :k].numpy(), 1)
    return order.values[:, :k].double().sqrt().numpy(), indices


def spectrum(x: Float[Tensor, "n c h w"]) -> Float32[Tensor, "n d"]:
    """Magnitudes of the lowest frequencies, without the mean, of norm 1.

    A shift (with what leaves at one side entering at the other) changes no magnitude. Mirroring
    swaps those of (u, v) and (-u, v): their sum and the size of their difference stay.
    """
    magnitudes = torch.fft.rfft2(x).abs()
    rows = torch.arange(min(FREQUENCIES, x.shape[2] // 2 + 1))
    up, down = (magnitudes[:, :, sign * rows, :FREQUENCIES] for sign in (1, -1))
    both = torch.stack((up + down, (up - down).abs()), dim=1)
    mean = both[..., 0, 0].sum(dim=(1, 2))[:, None]
    both[..., 0, 0] = 0
    found = functional.normalize(both.flatten(1), dim=1)
    return found * (both.flatten(1).norm(dim=1, keepdim=True) > _BLANK * mean)


def pieces(
    images: Stored, rows: Int64[np.ndarray, " m"], most: int = _PIECE
) -> Iterator[tuple[slice, Shaped[np.ndarray, "..."]]]:
    """Some images at a time, fewer where they are large: (which of `rows`, the images)."""
    size = max(1, min(most, _VALUES // max(1, images[rows[:1]].size)))
    for start in range(0, len(rows), size):
        found = images[rows[start : start + size]]
        yield slice(start, start + len(found)), found


def _reduced(
    images: Stored, rows: Int64[np.ndarray, " m"], most: int = _PIECE
) -> Iterator[tuple[slice, Float32[Tensor, "..."]]]:
    """The same, of at most SIDE pixels a side."""
    for which, pixels in pieces(images, rows, most):
        factor = math.ceil(max(pixels.shape[1:3]) / SIDE)
        factor = min(factor, *pixels.shape[1:3])
        x = torch.from_numpy(pixels.astype(np.float32)).permute(0, 3, 1, 2)
        yield which, functional.avg_pool2d(x, factor) if factor > 1 else x.contiguous()


def _patterns(
    x: Float[Tensor, "n c h w"], corners: tuple[tuple[int, int], ...]
) -> Float32[Tensor, "n p d"]:
    """The image, smoothed, through windows smaller by the margin at each side, one a corner.

    Each has mean 0 and norm 1, or norm 0 where the image has one value throughout.
    """
    # Small images are looked at whole.
    padding = 2 if min(x.shape[2:]) >= _LEAST_SIDE else 2 + _MARGIN
    x = functional.pad(x, (padding,) * 4, mode="replicate")
    for axis in (2, 3):
        a, b, c, d, e = (x.narrow(axis, i, x.shape[axis] - 4) for i in range(5))
        x = ((a + e) + 4 * (b + d) + 6 * c) / 16
    height, width = x.shape[2] - 2 * _MARGIN, x.shape[3] - 2 * _MARGIN
    windows = torch.stack([x[:, :, i : i + height, j : j + width] for i, j in corners], dim=1)
    windows = windows.flatten(2)
    centred = windows - windows.mean(dim=2, keepdim=True)
    size = windows.square().mean(dim=2, keepdim=True).sqrt()
    deviation = centred.square().mean(dim=2, keepdim=True).sqrt()
    centred *= deviation > _BLANK * size
    return functional.normalize(centred, dim=2)


def _norm(patterns: Float32[Tensor, "n p d"]) -> Float32[Tensor, "n p 1"]:
    return patterns.square().sum(dim=2, keepdim=True)
