"""Sizes that a network can't halve as often as it wants to: padded inside, cropped after."""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

POSITIONS = 16 * 16
"""Of a small network's first level; what two cores learn from within minutes."""
LARGEST_FOLD = 64


def padded(x: Float[Tensor, "n c h w"], multiple: int) -> Float[Tensor, "n c higher wider"]:
    """The images with their edges repeated until height and width are multiples of that number.

    Both sides grow evenly; an odd pixel goes below or to the right. Images that fit are returned
    as they are.

    By benchmarks/padding.py edges were better than zeros for up to three more rows or columns,
    above all at the border, and zeros by 1 to 2 % for seven; a reflection was worse than edges in
    both.
    """
    height, width = (-side % multiple for side in x.shape[2:])
    if not height and not width:
        return x
    margins = (width // 2, width - width // 2, height // 2, height - height // 2)
    return functional.pad(x, margins, mode="replicate")


def cropped(
    x: Float[Tensor, "n c higher wider"], height: int, width: int
) -> Float[Tensor, "n c h w"]:
    """The inverse of `padded`: the part that was there before."""
    top, left = (x.shape[2] - height) // 2, (x.shape[3] - width) // 2
    return x[:, :, top : top + height, left : left + width]


def enough_fold(height: int, width: int) -> int:
    """The smallest power of two by which images are folded to `POSITIONS` or fewer, 64 at most."""
    fold = 1
    while fold < LARGEST_FOLD and -(-height // fold) * -(-width // fold) > POSITIONS:
        fold *= 2
    return fold
