"""Pictures as a notebook takes them: the bytes of a PNG file."""

import io

import numpy as np
from jaxtyping import Float, Shaped
from PIL import Image
from torch import Tensor

from loang.data.spec import ImageSpec
from loang.pictures.grid import grid, to_display
from loang.pictures.samples import columns, rows, sheet

MOST_IN_A_ROW = 8
"""Of a state, in a row: more are left out."""


def png(picture: Image.Image) -> bytes:
    """A picture as a PNG file."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def sheet_png(pixels: Shaped[np.ndarray, "n h w c"], spec: ImageSpec) -> bytes:
    """A sheet of the first images, as many as it holds.

    Args:
        pixels: of that spec's range and channels; at least one image.
        spec: what they are.
    """
    return png(sheet(pixels[: columns(spec) * rows(spec)], spec))


def state_png(x: Float[Tensor, "n c h w"], x0: Float[Tensor, "n c h w"]) -> bytes:
    """The first images of a level of a walk, above what the denoiser sees in them.

    Args:
        x: the noisy images; where they are larger than noise of one, they are shown smaller.
        x0: the images in them, in [-1, 1].
    """
    shown = [each[:MOST_IN_A_ROW].detach().float().cpu() for each in (x, x0)]
    deviation = float(shown[0].square().mean().sqrt())
    shown[0] = shown[0] / max(1.0, deviation)
    both = [to_display(each.permute(0, 2, 3, 1).numpy(), -1.0, 1.0) for each in shown]
    return png(grid(np.concatenate(both), columns=len(both[0])))
