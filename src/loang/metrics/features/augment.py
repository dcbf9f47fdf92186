"""Changes that leave what an image shows as it is; each a function of (seed, step, place)."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from loang import random

ZOOM = 0.7
GAIN = 0.3
BRIGHTNESS = 0.2


def moved(
    x: Float[Tensor, "n c h w"], pixels: int, *, mirror: bool, seed: int, step: int
) -> Float[Tensor, "n c h w"]:
    """Each image shifted by -pixels..pixels along both axes, and half of them mirrored.

    What comes into view repeats the image's edge. No value is interpolated.

    Args:
        x: a batch.
        pixels: the most; 0 for none.
        mirror: whether left and right may change places.
        seed: of the training.
        step: of the training; other steps draw other changes.
    """
    n, _, h, w = x.shape
    numbers = torch.arange(n)
    words = random.words(3, seed=seed, purpose="feature shifts", step=step, indices=numbers)
    down, right = ((words[:, :2] * (2 * pixels + 1)) >> 32).unbind(1)
    rows = down[:, None] + torch.arange(h)
    columns = right[:, None] + torch.arange(w)
    if mirror:
        columns = torch.where((words[:, 2:] & 1).bool(), columns.flip(1), columns)
    padded = functional.pad(x, (pixels,) * 4, mode="replicate").permute(0, 2, 3, 1)
    chosen = padded[numbers[:, None, None], rows[:, :, None], columns[:, None, :]]
    return chosen.permute(0, 3, 1, 2)


def viewed(
    x: Float[Tensor, "n c h w"], *, seed: int, step: int, purpose: str
) -> Float[Tensor, "n c h w"]:
    """A random view of each image: a window of 70 to 100 % of each side, mirrored or not.

    Its contrast is changed by at most 30 % and its brightness by 10 % of the range. The window's
    aspect is that of the image; values between pixels are interpolated bilinearly.

    Args:
        x: a batch.
        seed: of the training.
        step: of the training.
        purpose: which view; other words give independent ones.
    """
    numbers = torch.arange(len(x))
    words = random.words(6, seed=seed, purpose=purpose, step=step, indices=numbers)
    uniform = (words.float() + 0.5) * 2.0**-32
    side = ZOOM + (1 - ZOOM) * uniform[:, 0]
    window = torch.zeros(len(x), 2, 3)
    window[:, 0, 0] = side * torch.where(uniform[:, 1] < 0.5, -1.0, 1.0)
    window[:, 1, 1] = side
    window[:, :, 2] = (1 - side)[:, None] * (2 * uniform[:, 2:4] - 1)
    grid = functional.affine_grid(window, list(x.shape), align_corners=False)
    seen = functional.grid_sample(x, grid, padding_mode="border", align_corners=False)
    gain = 1 + GAIN * (2 * uniform[:, 4] - 1)
    bias = BRIGHTNESS * (2 * uniform[:, 5] - 1)
    return seen * gain[:, None, None, None] + bias[:, None, None, None]
