"""Operations that torch has slow paths for, each by the way that is fast there.

On a CPU in bfloat16, as loang trains there, and for no other device or type (docs/benchmarks.md):
elsewhere these are torch's own. What they compute is the same everywhere, up to rounding.
"""

from typing import Any

import torch
from jaxtyping import Float, Int16
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

FEW_CHANNELS = 16
"""In a group: fewer do not fill a vector of the processor."""
LARGE = 1024
"""Positions from which torch's norm takes another way, whose forward pass alone is fast."""
FEW = 64
"""Positions up to which the weights' gradient of a convolution is one product."""
MANY_CHANNELS = 256
"""From which that is faster: what surrounds it costs more than it saves of fewer."""
POSITIONS = 256
"""The most whose attention is written out: its scores take the square of it in memory."""


class Convolution(nn.Conv2d):
    """torch's own, whose weights' gradient is slow for small images.

    It takes two to twelve times as long as the convolution there, and of a few positions and many
    channels most of all. The columns of im2col make one matrix product of it, as the gradient is
    a product over positions; of large images the columns would not fit the cache.
    """

    def forward(self, input: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d i j"]:
        """Type and layout as torch's own."""
        plain = (self.kernel_size, self.stride, self.padding, self.dilation, self.groups)
        if not (
            _slow(input)
            and input.numel() > 0
            and input.dim() == 4
            and torch.is_grad_enabled()
            and self.weight.requires_grad
            and self.in_channels >= MANY_CHANNELS
            and input.shape[2] * input.shape[3] <= FEW
            and plain == ((3, 3), (1, 1), (1, 1), (1, 1), 1)
            and self.padding_mode == "zeros"
        ):
            return super().forward(input)
        bias = None if self.bias is None else self.bias.to(input.dtype)
        found: Tensor = _SmallConvolution.apply(input, self.weight.to(input.dtype), bias)
        return found


class _SmallConvolution(torch.autograd.Function):
    """3x3, padded by 1."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Any:
        ctx.save_for_backward(x, weight)
        return functional.conv2d(x, weight, bias, padding=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x, _, _ = torch.ops.aten.convolution_backward(
                *(gradient, x, weight, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1),
                [True, False, False],
            )
        n, c, h, w = x.shape
        outputs = gradient.shape[1]
        padded = functional.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1)).contiguous()
        image, row, column, _ = padded.stride()
        patches = padded.as_strided((n, h, w, 3, 3, c), (image, row, column, row, column, 1))
        rows = gradient.permute(0, 2, 3, 1).reshape(-1, outputs)
        of_weight = rows.t() @ patches.reshape(len(rows), -1)
        of_weight = of_weight.view(outputs, 3, 3, c).permute(0, 3, 1, 2)
        return of_x, of_weight, gradient.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None


class GroupNorm(nn.GroupNorm):
    """torch's own, in its fast layout.

    With the channels last, as convolutions like it, its kernel for bfloat16 takes ten times as long
    as with the positions last where a group has few channels, but for the forward pass of large
    images: to rearrange the values twice costs a fraction of that. The backward pass of large
    images is written out.
    """

    def forward(self, input: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """The same shape, type and layout out."""
        few = self.num_channels // self.num_groups < FEW_CHANNELS
        if not _slow(input) or not few:
            return super().forward(input)
        if input.shape[2] * input.shape[3] >= LARGE:
            if not torch.is_grad_enabled():
                return super().forward(input)
            found: Tensor = _LargeNorm.apply(
                *(input, self.weight, self.bias, self.num_groups, self.eps)
            )
            return found
        normal = super().forward(input.contiguous())
        return normal.contiguous(memory_format=torch.channels_last)


class _LargeNorm(torch.autograd.Function):
    """Torch's forward pass, and the backward pass as sums and products with the channels last."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> Any:
        n, c, h, w = x.shape
        normal, mean, scale = torch.native_group_norm(x, weight, bias, n, c, h * w, groups, eps)
        ctx.save_for_backward(x, weight, mean, scale)
        ctx.groups = groups
        return normal

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """With x_hat = scale (x - mean) and G = weight gradient, of x it is
        scale (G - mean(G) - x_hat mean(G x_hat)), whose means are over the group (Ba et al. 2016).
        """
        x, weight, mean, scale = ctx.saved_tensors
        n, c, h, w = x.shape
        grouped = (n, ctx.groups, c // ctx.groups)
        x, gradient = x.permute(0, 2, 3, 1), gradient.permute(0, 2, 3, 1)
        mean, scale, weight = mean[:, :, None], scale[:, :, None], weight.view(1, *grouped[1:])

        of_bias = _over_positions(gradient).view(grouped)
        of_weight = scale * (_over_positions(gradient * x).view(grouped) - mean * of_bias)
        of_mean = (weight * of_bias).mean(2, keepdim=True) / (h * w)
        of_scale = (weight * of_weight).mean(2, keepdim=True) / (h * w)
        # What is multiplied by the gradient, by x, and by neither, one number a channel.
        factors = (
            scale * weight,
            -scale.square() * of_scale,
            scale * (scale * mean * of_scale - of_mean),
        )
        a, b, rest = (each.expand(grouped).reshape(n, 1, 1, c).to(x.dtype) for each in factors)
        of_x = torch.addcmul(rest, x, b).addcmul_(gradient, a).permute(0, 3, 1, 2)
        return of_x, of_weight.sum(0).view(c), of_bias.sum(0).view(c), None, None


def _over_positions(x: Float[Tensor, "n h w c"]) -> Float[Tensor, "n c"]:
    """Sums in float32; of the rows in x's own type, which is as fast again."""
    return x.sum(2).float().sum(1)


class Dropout(nn.Dropout):
    """torch's own, which draws a number at a time; of four values at once here.

    Of 64 random bits each value takes 15, so what is dropped is p to the next 1/32768.
    """

    def forward(self, input: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The same shape, type and layout out; in training some are 0, and the rest are larger."""
        dropped = round(self.p * SHARES)
        if not (self.training and _slow(input) and 0 < dropped < SHARES):
            return super().forward(input)
        if not input.is_contiguous(memory_format=torch.channels_last):
            input = input.contiguous()
        found: Tensor = _Dropped.apply(input, _kept(input, dropped), SHARES / (SHARES - dropped))
        return found


SHARES = 2**15
"""Steps that the share of what is dropped goes in."""


def _kept(x: Float[Tensor, "..."], dropped: int) -> Int16[Tensor, "..."]:
    """All bits set where a value stays and none where it goes, in the layout of x."""
    drawn = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    kept = drawn.view(torch.int16)[: x.numel()]
    # The sign of the difference, spread over all bits, says which are to be dropped.
    kept.bitwise_and_(SHARES - 1).sub_(dropped).bitwise_right_shift_(15).bitwise_not_()
    return kept.as_strided(x.shape, x.stride())


class _Dropped(torch.autograd.Function):
    """x where bits are set, times a factor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kept: Tensor, factor: float) -> Any:
        ctx.save_for_backward(kept)
        ctx.factor = factor
        return _masked(x, kept, factor)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        (kept,) = ctx.saved_tensors
        return _masked(gradient, kept, ctx.factor), None, None


def _masked(x: Tensor, kept: Tensor, factor: float) -> Tensor:
    return (x.view(torch.int16) & kept).view(x.dtype).mul_(factor)


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
