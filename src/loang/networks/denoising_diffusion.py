"""The U-Net of denoising-diffusion-pytorch (Phil Wang, MIT), from 1.9 on: the function it computes.

Its quirks, beside a U-Net in the manner of Ho et al. 2020:

- every norm is over the channels of one position, x / |x| * sqrt(channels) * g: RMS, no mean, and
  no bias (Zhang and Sennrich 2019); before version 2 those of the blocks were over groups;
- a block is convolution, norm, SiLU, twice; the code of the time scales and shifts within the
  first half, and its MLP has GELU, exact, and not SiLU;
- every level attends: all but the last in linear time, with a softmax over the channels of each q
  and one over the positions of k (Shen et al. 2018), and a norm behind; the last and the middle
  as usual. Both look at `MEMORY` learnt keys and values besides, and have no bias at q, k, v;
- the first convolution is 7x7, and its map comes back before the last block;
- each level widens at its end: 2x2 pixels become channels of one, then a 1x1 convolution; the last
  level by a 3x3 convolution, at its own size. So the levels' blocks are as wide as the level
  before, and the way up is wider than the way down;
- its own last estimate, if it is shown one, stands before x. The library counts times from 0, which
  is `schedule.counted_from=0`.

Names of modules are the library's, so that its weights are found by their names.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import cast

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional

from loang.networks.operations import GroupNorm
from loang.networks.recompute import Recomputable
from loang.networks.sizes import cropped, padded

MEMORY = 4
"""Keys and values that are learnt, in each attention."""

Map = Float[Tensor, "n c h w"]


class DenoisingDiffusionUNet(nn.Module):
    """The library's `Unet`, without its Fourier features.

    Args:
        channels: of an image.
        width: `dim`, from which the widths follow, and of the time's code a quarter; even, 4 at
            least.
        multipliers: `dim_mults`, of `width`, of each level's end; each next has half the size.
        first_width: `init_dim`, of the first convolution; None is `width`.
        full_attention: which levels attend in the usual way, counted from 0; None: the last.
        heads: of each attention.
        head_width: channels of each.
        norm_groups: of the blocks' norms, which divide all widths (8 in version 1); None: RMS.
        dropout: in the first half of each block, 0..1.
        period: `sinusoidal_pos_emb_theta`, the longest, in units of 2 pi steps.
        given: channels of another image that is shown beside x; 0 for none.
        variance: whether it answers twice x's channels; see `networks/unet.py`.
    """

    classes = 0

    def __init__(
        self,
        channels: int,
        width: int,
        multipliers: Sequence[int],
        first_width: int | None = None,
        full_attention: Sequence[int] | None = None,
        heads: int = 4,
        head_width: int = 32,
        norm_groups: int | None = None,
        dropout: float = 0.0,
        period: float = 10_000.0,
        given: int = 0,
        variance: bool = False,
    ) -> None:
        super().__init__()
        self.given = given
        self.variance = variance
        self.halvings = len(multipliers) - 1
        first = first_width or width
        full = [self.halvings] if full_attention is None else full_attention
        ends = [first, *(width * multiplier for multiplier in multipliers)]
        code = 4 * width

        def block(inputs: int, outputs: int) -> Block:
            return Block(inputs, outputs, code, dropout, norm_groups)

        def attend(level: int, wide: int) -> nn.Module:
            kind = Attention if level in full else LinearAttention
            return kind(wide, heads, head_width)

        self.init_conv = nn.Conv2d(channels + given, first, 7, padding=3)
        self.time_mlp = nn.Sequential(
            Sinusoids(width, period), nn.Linear(width, code), nn.GELU(), nn.Linear(code, code)
        )
        self.downs, self.ups = nn.ModuleList(), nn.ModuleList()
        for level, (wide, end) in enumerate(pairwise(ends)):
            last = level == self.halvings
            parts = [block(wide, wide), block(wide, wide), attend(level, wide)]
            down = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4 * wide, end, 1))
            parts.append(nn.Conv2d(wide, end, 3, padding=1) if last else down)
            self.downs.append(nn.ModuleList(parts))
        for level in reversed(range(self.halvings + 1)):
            wide, end = ends[level + 1], ends[level]
            parts = [block(wide + end, wide), block(wide + end, wide), attend(level, wide)]
            widen = nn.Conv2d(wide, end, 3, padding=1)
            parts.append(widen if level == 0 else nn.Sequential(nn.Upsample(scale_factor=2), widen))
            self.ups.append(nn.ModuleList(parts))
        self.mid_block1 = block(ends[-1], ends[-1])
        self.mid_attn = Attention(ends[-1], heads, head_width)
        self.mid_block2 = block(ends[-1], ends[-1])
        self.final_res_block = block(2 * first, first)
        self.final_conv = nn.Conv2d(first, channels * (2 if variance else 1), 1)

    def forward(
        self,
        x: Float[Tensor, "n c h w"],
        condition: Shaped[Tensor, " n"],
        label: Shaped[Tensor, " n"] | None = None,
        augmentation: Shaped[Tensor, "n parameters"] | None = None,
        given: Float[Tensor, "n k h w"] | None = None,
    ) -> Float[Tensor, "n answers h w"]:
        """The same shape out, or twice the channels.

        Args:
            x: noisy images of any size; see `networks/sizes.py`.
            condition: the time of each image.
            label: None, for this network knows no classes.
            augmentation: None, for it is told of no changes.
            given: the other image; None means one that is 0 everywhere.

        Raises:
            ValueError: a label, an augmentation, or another image where it knows none.
        """
        if label is not None or augmentation is not None:
            raise ValueError("a label or an augmentation for a network that knows none")
        if given is not None and not self.given:
            raise ValueError("another image for a network that was built without")
        if self.given:
            if given is None:
                given = x.new_zeros(len(x), self.given, *x.shape[2:])
            x = torch.cat((given.to(x.dtype), x), dim=1)
        code = self.time_mlp(condition)
        height, width = x.shape[2:]
        x = first = self.init_conv(padded(x, 2**self.halvings))

        kept = []
        for block1, block2, attention, down in _levels(self.downs):
            x = block1(x, code)
            kept.append(x)
            x = attention(block2(x, code))
            kept.append(x)
            x = down(x)
        x = self.mid_block2(self.mid_attn(self.mid_block1(x, code)), code)
        for block1, block2, attention, up in _levels(self.ups):
            x = block1(torch.cat((x, kept.pop()), dim=1), code)
            x = block2(torch.cat((x, kept.pop()), dim=1), code)
            x = up(attention(x))
        x = self.final_res_block(torch.cat((x, first), dim=1), code)
        return cropped(self.final_conv(x), height, width)


def _levels(modules: nn.ModuleList) -> Iterator[Iterator[nn.Module]]:
    """The four parts of each level."""
    return (iter(cast(nn.ModuleList, level)) for level in modules)


class Sinusoids(nn.Module):
    """Sines, then cosines, of t at `width / 2` frequencies from 1 down to 1 / period."""

    def __init__(self, width: int, period: float) -> None:
        super().__init__()
        half = width // 2
        # In the order of the library's operations: another rounds differently.
        frequencies = torch.exp(torch.arange(half) * -(math.log(period) / max(half - 1, 1)))
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.frequencies: Tensor

    def forward(self, t: Shaped[Tensor, " n"]) -> Float[Tensor, "n width"]:
        """One code an image; t may be an integer or a real number."""
        angle = t.to(self.frequencies.dtype)[:, None] * self.frequencies
        return torch.cat((angle.sin(), angle.cos()), dim=1)


class RMSNorm(nn.Module):
    """Each position's channels to a root mean square of g."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.ones(1, channels, 1, 1))

    def forward(self, x: Map) -> Map:
        """The same shape."""
        return functional.normalize(x, dim=1) * self.g * x.shape[1] ** 0.5


class Half(nn.Module):
    """Convolution, norm, scale and shift, SiLU, dropout."""

    def __init__(self, inputs: int, outputs: int, dropout: float, groups: int | None) -> None:
        super().__init__()
        self.proj = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm = GroupNorm(groups, outputs) if groups else RMSNorm(outputs)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Map, scale_shift: tuple[Tensor, Tensor] | None = None
    ) -> Float[Tensor, "n outputs h w"]:
        """The same height and width."""
        x = self.norm(self.proj(x))
        if scale_shift is not None:
            scale, shift = scale_shift
            x = x * (scale + 1) + shift
        return self.dropout(functional.silu(x))


class Block(Recomputable):
    """Two halves, the first told of the time; plus the input."""

    def __init__(
        self, inputs: int, outputs: int, code: int, dropout: float, groups: int | None
    ) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.SiLU(), nn.Linear(code, 2 * outputs))
        self.block1 = Half(inputs, outputs, dropout, groups)
        self.block2 = Half(outputs, outputs, 0.0, groups)
        self.res_conv = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Map, code: Float[Tensor, "n d"]) -> Float[Tensor, "n outputs h w"]:
        """The code is the embedding of the time."""
        scale, shift = self.mlp(code)[:, :, None, None].chunk(2, dim=1)
        return self.block2(self.block1(x, (scale, shift))) + self.res_conv(x)


class LinearAttention(Recomputable):
    """Attention whose time grows with the positions alone; plus the input."""

    def __init__(self, channels: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.heads, self.head_width = heads, head_width
        self.norm = RMSNorm(channels)
        self.mem_kv = nn.Parameter(torch.randn(2, heads, head_width, MEMORY))
        self.to_qkv = nn.Conv2d(channels, 3 * heads * head_width, 1, bias=False)
        self.to_out = nn.Sequential(nn.Conv2d(heads * head_width, channels, 1), RMSNorm(channels))

    def forward(self, x: Map) -> Map:
        """The same shape."""
        n, _, h, w = x.shape
        qkv = self.to_qkv(self.norm(x)).reshape(n, 3, self.heads, self.head_width, h * w)
        q, k, v = qkv.unbind(1)
        memory = self.mem_kv.to(q.dtype)[:, None].expand(-1, n, -1, -1, -1)
        k, v = (torch.cat(pair, dim=-1) for pair in zip(memory, (k, v), strict=True))
        q = q.softmax(dim=-2) * self.head_width**-0.5
        context = k.softmax(dim=-1) @ v.transpose(-1, -2)  # (n, heads, width of k, width of v)
        mixed = context.transpose(-1, -2) @ q
        return self.to_out(mixed.reshape(n, -1, h, w)) + x


class Attention(Recomputable):
    """Attention over all positions; plus the input."""

    def __init__(self, channels: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.heads, self.head_width = heads, head_width
        self.norm = RMSNorm(channels)
        self.mem_kv = nn.Parameter(torch.randn(2, heads, MEMORY, head_width))
        self.to_qkv = nn.Conv2d(channels, 3 * heads * head_width, 1, bias=False)
        self.to_out = nn.Conv2d(heads * head_width, channels, 1)

    def forward(self, x: Map) -> Map:
        """The same shape."""
        n, _, h, w = x.shape
        qkv = self.to_qkv(self.norm(x)).permute(0, 2, 3, 1)
        qkv = qkv.reshape(n, h * w, 3, self.heads, self.head_width)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # the width innermost: layers.Attention
        memory = self.mem_kv.to(q.dtype)[:, None].expand(-1, n, -1, -1, -1)
        k, v = (torch.cat(pair, dim=-2) for pair in zip(memory, (k, v), strict=True))
        attended = functional.scaled_dot_product_attention(q, k, v)
        attended = attended.transpose(1, 2).reshape(n, h, w, -1).permute(0, 3, 1, 2)
        return self.to_out(attended) + x
