"""The article's U-Net: the function that its TensorFlow code computes, as a torch network.

Source: section 2.1 of the article that loang starts from; its code is Keras and
`tensorflow_addons` (tfa), in NHWC. Where their defaults differ from torch's, the article's hold:

- every norm has epsilon 1e-3 (tfa's GroupNormalization, Keras's LayerNormalization), not 1e-5,
  and `GroupNormalization(1)` takes one mean over channels and positions together;
- tfa.layers.GELU is the tanh approximation; torch's is exact unless told otherwise;
- Keras's MultiHeadAttention gives *each* of the 4 heads key_dim = C, so it is 4C wide inside;
- SelfAttention adds the input from *before* the norm; the attention at the bottom adds nothing;
- `Up` is bilinear with half-pixel centres (`align_corners=False`) and joins as [skip, x];
- the time code is made in float64 and cast (Keras's autocast) as it enters each block, which
  has its own SiLU and Dense: no learnt network comes before them;
- a new network has Glorot-uniform kernels and zero biases, and tf.keras counts the fans of an
  attention kernel (C, heads, key_dim) as a convolution's, so attention starts small. (Keras 3
  has mended that since; the article was written before.)

Names of modules are the article's, so that its weights are found by their names.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from loang.networks.operations import Convolution, GroupNorm, attention
from loang.networks.recompute import Recomputable
from loang.networks.sizes import cropped, padded

__all__ = ["TutorialUNet"]

NORM_EPSILON = 1e-3
HEADS = 4
STRIDE = 8  # three halvings


class TutorialUNet(nn.Module):
    """The U-Net of the article: 23,624,769 parameters for one channel.

    Attention at half the size looks from every position at every other, so time grows with the
    square of the pixels: it is a network for images of about 32x32.

    Args:
        channels: of the images, and of the prediction.
        time_width: numbers in the code of a time step; even.
        width: channels of the first level, of which the others have 2, 4 and 8 times as many;
            the article has 64.

    Raises:
        ValueError: time_width is odd or below 2.
    """

    classes = 0

    def __init__(self, channels: int = 1, time_width: int = 256, width: int = 64) -> None:
        super().__init__()
        if time_width < 2 or time_width % 2:
            raise ValueError(f"time_width must be even and positive, not {time_width}")
        self.time_width = time_width
        double, quadruple, most = 2 * width, 4 * width, 8 * width
        self.inc = DoubleConv(channels, width, width)
        self.down1 = Down(width, double, time_width)
        self.sa1 = SelfAttention(double)
        self.down2 = Down(double, quadruple, time_width)
        self.sa2 = SelfAttention(quadruple)
        self.down3 = Down(quadruple, quadruple, time_width)
        self.bot1 = DoubleConv(quadruple, most, most)
        self.bot2 = Attention(most)
        self.bot3 = DoubleConv(most, quadruple, quadruple)
        self.up1 = Up(most, double, time_width)
        self.sa3 = SelfAttention(double)
        self.up2 = Up(quadruple, width, time_width)
        self.sa4 = SelfAttention(width)
        self.up3 = Up(double, width, time_width)
        self.outc = nn.Conv2d(width, channels, 1)
        self.apply(initialize_as_keras)

    def forward(
        self,
        x: Float[Tensor, "batch channels height width"],
        condition: Shaped[Tensor, " batch"],
        label: Shaped[Tensor, " batch"] | None = None,
        augmentation: Shaped[Tensor, "batch parameters"] | None = None,
    ) -> Float[Tensor, "batch channels height width"]:
        """What is predicted from noisy images; the article trains it to predict their noise.

        Args:
            x: noisy images of any size; see `networks/sizes.py`.
            condition: their time steps, integer or real.
            label: None, for this network knows no classes.
            augmentation: None, for it is told of no changes.

        Raises:
            ValueError: a label or an augmentation was given.
        """
        if label is not None:
            raise ValueError("TutorialUNet is unconditional: it takes no label")
        if augmentation is not None:
            raise ValueError("TutorialUNet is told of no augmentation")
        time = time_code(condition, self.time_width).to(x.dtype).to(x.device)

        height, width = x.shape[2:]
        full = self.inc(padded(x, STRIDE))
        half = over_positions(self.sa1, self.down1(full, time))
        quarter = over_positions(self.sa2, self.down2(half, time))
        x = self.bot1(self.down3(quarter, time))
        x = self.bot3(over_positions(self.bot2, x))
        x = over_positions(self.sa3, self.up1(x, quarter, time))
        x = over_positions(self.sa4, self.up2(x, half, time))
        x = self.up3(x, full, time)
        return cropped(self.outc(x), height, width)


class DoubleConv(Recomputable):
    """Convolution, norm, GELU, convolution, norm; with `residual`, gelu(x + that)."""

    def __init__(self, inward: int, mid: int, outward: int, residual: bool = False) -> None:
        super().__init__()
        self.residual = residual
        self.double_conv = nn.Sequential(
            Convolution(inward, mid, 3, padding=1, bias=False),
            GroupNorm(1, mid, eps=NORM_EPSILON),
            nn.GELU("tanh"),
            Convolution(mid, outward, 3, padding=1, bias=False),
            GroupNorm(1, outward, eps=NORM_EPSILON),
        )
        self.gelu = nn.GELU("tanh")

    def forward(self, x: Float[Tensor, "b c_in h w"]) -> Float[Tensor, "b c_out h w"]:
        """The same height and width, other channels."""
        return self.gelu(x + self.double_conv(x)) if self.residual else self.double_conv(x)


class Down(nn.Module):
    """Half the size, then two DoubleConvs, then the time added to every position alike."""

    def __init__(self, inward: int, outward: int, time_width: int) -> None:
        super().__init__()
        self.maxpool_conv = nn.Sequential(
            nn.MaxPool2d(2),
            DoubleConv(inward, inward, inward, residual=True),
            DoubleConv(inward, outward, outward),
        )
        self.emb_layer = nn.Sequential(nn.SiLU(), nn.Linear(time_width, outward))

    def forward(
        self, x: Float[Tensor, "b c_in h w"], time: Float[Tensor, "b time"]
    ) -> Float[Tensor, "b c_out h//2 w//2"]:
        """x at half its size."""
        return self.maxpool_conv(x) + self.emb_layer(time)[:, :, None, None]


class Up(nn.Module):
    """Double the size, join what the way down kept, two DoubleConvs, then the time, as in Down."""

    def __init__(self, inward: int, outward: int, time_width: int) -> None:
        super().__init__()
        self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.conv = nn.Sequential(
            DoubleConv(inward, inward, inward, residual=True),
            DoubleConv(inward, inward // 2, outward),
        )
        self.emb_layer = nn.Sequential(nn.SiLU(), nn.Linear(time_width, outward))

    def forward(
        self,
        x: Float[Tensor, "b c h_low w_low"],
        skip: Float[Tensor, "b c_skip h w"],
        time: Float[Tensor, "b time"],
    ) -> Float[Tensor, "b c_out h w"]:
        """x at the size of skip."""
        x = self.conv(torch.cat([skip, self.up(x)], dim=1))
        return x + self.emb_layer(time)[:, :, None, None]


class Attention(nn.Module):
    """Self-attention over a sequence: 4 heads, each as wide as the input; biases throughout."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(channels, HEADS * channels) for _ in range(3))
        self.output = nn.Linear(HEADS * channels, channels)

    def forward(self, x: Float[Tensor, "b positions c"]) -> Float[Tensor, "b positions c"]:
        """Every position looks at all."""
        q, k, v = (
            project(x).unflatten(-1, (HEADS, -1)).transpose(1, 2)
            for project in (self.query, self.key, self.value)
        )
        # Keras scales the scores by key_dim^-1/2, and that is torch's default too.
        attended = attention(q, k, v)
        return self.output(attended.transpose(1, 2).flatten(2))


class SelfAttention(Recomputable):
    """A transformer block over a sequence: attention, then a two-layer network, norms first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mha = Attention(channels)
        self.ln = nn.LayerNorm(channels, eps=NORM_EPSILON)
        self.ff_self = nn.Sequential(
            nn.LayerNorm(channels, eps=NORM_EPSILON),
            nn.Linear(channels, channels),
            nn.GELU("tanh"),
            nn.Linear(channels, channels),
        )

    def forward(self, x: Float[Tensor, "b positions c"]) -> Float[Tensor, "b positions c"]:
        """Both residuals carry what came in, not what the norm made of it."""
        x = x + self.mha(self.ln(x))
        return x + self.ff_self(x)


def over_positions(
    layer: Callable[[Tensor], Tensor], x: Float[Tensor, "b c h w"]
) -> Float[Tensor, "b c h w"]:
    """A layer for sequences, applied to an image row by row as Keras's Reshape orders it."""
    return layer(x.flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(2, x.shape[2:])


def time_code(t: Shaped[Tensor, " batch"], width: int) -> Float[Tensor, "batch width"]:
    """[sin(t w_i), cos(t w_i)] with w_i = 10000^(-2i/width), i = 0..width/2-1, in float64.

    In float32 a product such as 499 w_i would already be off by 1e-5 before the sine is taken.
    """
    # Apple's GPU has no float64; the code is small enough to be made on the processor.
    device = torch.device("cpu") if t.device.type == "mps" else t.device
    even = torch.arange(0, width, 2, dtype=torch.float64, device=device)
    angles = t.to(device).double()[:, None] * 10000 ** (-even / width)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def initialize_as_keras(module: nn.Module) -> None:
    """Glorot-uniform kernels, zero biases; for `nn.Module.apply`. Norms stay as torch has them."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, Attention):  # reached after its own Linears: `apply` is depth first
        # tf.keras gives a kernel (a, b, c) the fans a*b and a*c: (C, heads, C), (heads, C, C).
        c = module.query.in_features
        inward, outward = math.sqrt(6 / (c * (HEADS + c))), math.sqrt(6 / (HEADS * 2 * c))
        for projection in (module.query, module.key, module.value):
            nn.init.uniform_(projection.weight, -inward, inward)
        nn.init.uniform_(module.output.weight, -outward, outward)
