"""Two operations that torch has slow paths for, each by the way that is fast there.

On a CPU in bfloat16, as loang trains there, and for no other device or type (docs/benchmarks.md):
elsewhere these are torch's own. What they compute is the same everywhere, up to rounding.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

FEW_CHANNELS = 16
"""In a group: fewer do not fill a vector of the processor."""
LARGE = 1024
"""Positions from which torch's norm takes another way, whose forward pass is fast."""
POSITIONS = 256
"""The most whose attention is written out: its scores take the square of it in memory."""


class GroupNorm(nn.GroupNorm):
    """torch's own, in its fast layout.

    With the channels last, as convolutions like it, its kernel for bfloat16 takes ten times as long
    as with the positions last where a group has few channels, but for the forward pass of large
    images: to rearrange the values twice costs a fraction of that.
    """

    def forward(self, input: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """The same shape, type and layout out."""
        few = self.num_channels // self.num_groups < FEW_CHANNELS
        large = input.shape[2] * input.shape[3] >= LARGE and not torch.is_grad_enabled()
        if not _slow(input) or not few or large:
            return super().forward(input)
        normal = super().forward(input.contiguous())
        return normal.contiguous(memory_format=torch.channels_last)


def attention(
    q: Float[Tensor, "n heads positions width"],
    k: Float[Tensor, "n heads positions width"],
    v: Float[Tensor, "n heads positions width"],
) -> Float[Tensor, "n heads positions width"]:
    """softmax(q k^T / sqrt(width)) v: Vaswani et al. 2017, eq. 1.

    The backward pass of torch's kernel takes up to 20 times as long as its forward pass; three
    plain products take less where the positions are few.
    """
    if not (_slow(q) and torch.is_grad_enabled() and q.shape[2] <= POSITIONS):
        return functional.scaled_dot_product_attention(q, k, v)
    q, k, v = (each.contiguous() for each in (q, k, v))
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    return scores.softmax(dim=-1) @ v


def _slow(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype == torch.bfloat16
