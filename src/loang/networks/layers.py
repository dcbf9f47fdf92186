"""Layers that the modern network is built of. Images are (batch, channels, height, width)."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional

from loang.networks.operations import Convolution, Dropout, GroupNorm, attention
from loang.networks.recompute import Recomputable

Map = Float[Tensor, "n c h w"]
DownsamplePadding = Literal["around", "after"]
Resample = Literal["half", "double"]


@dataclass(frozen=True)
class NormRule:
    """How many channels share the mean and variance of a norm, and what is added to the variance.

    Args:
        group_channels: at least so many where they divide evenly, in at most 32 groups (Ho et
            al.'s code has 1). Groups of 16 and more are faster in bfloat16 on a CPU:
            operations.py.
        groups: just so many in every norm, in place of that.
        epsilon: Ho et al.'s code has 1e-6, Dhariwal and Nichol's 1e-5.
    """

    group_channels: int = 4
    groups: int | None = None
    epsilon: float = 1e-6


class TimeCode(nn.Module):
    """Sines and cosines of t at `width / 2` frequencies from 1 down to 1/10000, then an MLP.

    Vaswani et al. 2017, as Ho et al. 2020, appendix B. The angles are computed in float32 under
    any autocast: bfloat16 can't tell t = 999 from t = 1000.

    Args:
        width: numbers before the MLP; an odd one counts as one less.
        out: numbers after it.
        cosine_first: whether cosines come before sines (Dhariwal and Nichol's code).
        reaches_last: whether the last frequency is 1/10000 itself (Ho et al.'s code), or the one
            before it of one more frequency (Vaswani et al.; Dhariwal and Nichol's code).
    """

    def __init__(
        self, width: int, out: int, *, cosine_first: bool = False, reaches_last: bool = True
    ) -> None:
        super().__init__()
        half = width // 2
        self.cosine_first = cosine_first
        frequencies = time_frequencies(half, reaches_last)
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.frequencies: Tensor
        self.mlp = nn.Sequential(nn.Linear(2 * half, out), nn.SiLU(), nn.Linear(out, out))

    def forward(self, t: Shaped[Tensor, " n"]) -> Float[Tensor, "n out"]:
        """One code an image; t may be an integer or a real number."""
        angle = t.to(self.frequencies.dtype)[:, None] * self.frequencies
        parts = (angle.cos(), angle.sin()) if self.cosine_first else (angle.sin(), angle.cos())
        code: Tensor = self.mlp(torch.cat(parts, dim=1))
        return code


class ResidualBlock(Recomputable):
    """norm, SiLU, conv; the code's scale and shift; norm, SiLU, dropout, conv; plus the input.

    The second convolution starts at zero, so a fresh block passes its input through (Ho et al.'s
    code). With `modulate` the code scales and shifts after the second norm (Dhariwal and Nichol
    2021, section 3); without, it is added before it (Ho et al. 2020).

    Args:
        inputs: channels.
        outputs: channels.
        code: numbers that say the time and the label.
        dropout: 0..1.
        modulate: see above.
        norm: of both norms.
        resample: half or twice the size, on both ways at once and before the first convolution,
            by the mean of four pixels or by each repeated (Dhariwal and Nichol 2021, section 3.1).
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        code: int,
        *,
        dropout: float,
        modulate: bool,
        norm: NormRule = NormRule(),
        resample: Resample | None = None,
    ) -> None:
        super().__init__()
        self.modulate = modulate
        self.resample = resample
        self.norm1 = group_norm(inputs, norm)
        self.conv1 = Convolution(inputs, outputs, 3, padding=1)
        self.code = nn.Linear(code, 2 * outputs if modulate else outputs)
        self.norm2 = group_norm(outputs, norm)
        self.dropout = Dropout(dropout)
        self.conv2 = zeroed(Convolution(outputs, outputs, 3, padding=1))
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Map, code: Float[Tensor, "n d"]) -> Float[Tensor, "n outputs ..."]:
        """The code is the activated embedding of time and label."""
        h = functional.silu(self.norm1(x))
        if self.resample == "half":
            h, x = (functional.avg_pool2d(each, 2) for each in (h, x))
        elif self.resample == "double":
            h, x = (functional.interpolate(each, scale_factor=2.0) for each in (h, x))
        h = self.conv1(h)
        of_code = self.code(code)[:, :, None, None]
        if self.modulate:
            scale, shift = of_code.chunk(2, dim=1)
            h = torch.addcmul(shift, self.norm2(h), scale + 1)
        else:
            h = self.norm2(h + of_code)
        h = self.conv2(self.dropout(functional.silu(h)))
        out: Tensor = self.skip(x) + h
        return out


class Attention(Recomputable):
    """Self-attention over all positions, plus the input *before* its norm (Ho et al.'s code)."""

    def __init__(self, channels: int, heads: int, norm: NormRule = NormRule()) -> None:
        super().__init__()
        self.heads = heads
        self.norm = group_norm(channels, norm)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = zeroed(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Map) -> Map:
        """The same shape out."""
        n, c, h, w = x.shape
        # As they lie with the channels last, and as fast kernels want them: the width innermost.
        qkv = self.qkv(self.norm(x)).permute(0, 2, 3, 1)
        qkv = qkv.reshape(n, h * w, 3, self.heads, c // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each (n, heads, positions, width)
        attended = attention(q, k, v).transpose(1, 2).reshape(n, h, w, c)
        mixed: Tensor = self.out(attended.permute(0, 3, 1, 2))
        return x + mixed


class Downsample(nn.Module):
    """Half the height and width, by a convolution of stride 2.

    Args:
        inputs: channels.
        outputs: channels.
        padding: a row and column of zeros "around" the image (torch's habit), or only "after" it,
            below and to the right (TensorFlow's, so Ho et al.'s code).
    """

    def __init__(self, inputs: int, outputs: int, padding: DownsamplePadding = "around") -> None:
        super().__init__()
        self.after = padding == "after"
        self.conv = nn.Conv2d(inputs, outputs, 3, stride=2, padding=0 if self.after else 1)

    def forward(self, x: Map) -> Float[Tensor, "n outputs h//2 w//2"]:
        """Height and width must be even."""
        out: Tensor = self.conv(functional.pad(x, (0, 1, 0, 1)) if self.after else x)
        return out


class Upsample(nn.Module):
    """Twice the height and width: each pixel repeated, then a convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = Convolution(inputs, outputs, 3, padding=1)

    def forward(self, x: Map) -> Float[Tensor, "n outputs 2*h 2*w"]:
        """Any size."""
        out: Tensor = self.conv(functional.interpolate(x, scale_factor=2.0, mode="nearest"))
        return out


def time_frequencies(count: int, reaches_last: bool = True) -> Float[Tensor, " count"]:
    """So many angles a step, falling from 1 to 1/10000, or to one short of it (see `TimeCode`)."""
    apart = max(count - 1, 1) if reaches_last else count
    return torch.exp(-math.log(10000) * torch.arange(count) / apart)


def group_norm(channels: int, norm: NormRule = NormRule()) -> GroupNorm:
    """A norm of so many channels.

    Raises:
        ValueError: they can't be divided into the rule's groups.
    """
    groups = norm.groups or max(
        g
        for g in range(1, 33)
        if channels % g == 0 and (channels // g >= norm.group_channels or g == 1)
    )
    return GroupNorm(groups, channels, eps=norm.epsilon)


def zeroed(layer: nn.Conv2d) -> nn.Conv2d:
    """The layer, answering 0 at first."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
