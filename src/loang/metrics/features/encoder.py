"""A small convolutional network: images in, one feature vector an image out, and a linear head."""

from dataclasses import dataclass, fields
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from loang import random

LEAST_SIDE = 8
LARGEST = 2**16
"""Of any number in an encoder's settings that come from a file."""


@dataclass(frozen=True)
class EncoderSettings:
    """What an encoder is built of.

    Args:
        channels: of the images.
        classes: how many the head tells apart; 0 for no head.
        dimension: of the features.
        widths: channels of the stem and of the two stages.
        stride: how much the stem shrinks, 2 or 4; the second stage has half of what is left.
    """

    channels: int
    classes: int = 0
    dimension: int = 64
    widths: tuple[int, int, int] = (32, 64, 112)
    stride: int = 2

    @classmethod
    def from_dict(cls, values: Any) -> "EncoderSettings":
        """What `asdict` gave, by way of a file that may come from anybody.

        Raises:
            ValueError: a key is missing or unknown, or a value of the wrong type or range.
        """
        if not isinstance(values, dict) or set(values) != {each.name for each in fields(cls)}:
            raise ValueError("the encoder's settings have other keys")
        widths, others = values["widths"], {k: v for k, v in values.items() if k != "widths"}
        if not isinstance(widths, list | tuple) or len(widths) != 3:
            raise ValueError("the encoder has other widths than three")
        # Not isinstance: JSON's true would pass for 1.
        if any(type(count) is not int or count > LARGEST for count in (*others.values(), *widths)):
            raise ValueError(f"the encoder's settings are not all whole numbers up to {LARGEST:,}")
        least = min(others["channels"], others["dimension"], *widths)
        if least < 1 or others["classes"] < 0 or others["stride"] not in (2, 4):
            raise ValueError("the encoder's settings are out of range")
        return cls(**others, widths=tuple(widths))


class Encoder(nn.Module):
    """A stem that shrinks, two stages of a convolution and a residual block each, a global mean.

    The residual blocks are those of He et al. 2016, with batch norm (Ioffe and Szegedy 2015):
    `fuse` folds it into the convolutions, so that it costs nothing when features are computed.
    """

    def __init__(self, settings: EncoderSettings) -> None:
        super().__init__()
        self.settings = settings
        first, second, third = settings.widths
        self.stages = nn.Sequential(
            Convolution(settings.channels, first, 2 * settings.stride, settings.stride),
            Convolution(first, second),
            ResidualBlock(second),
            nn.MaxPool2d(2, ceil_mode=True),
            Convolution(second, third),
            ResidualBlock(third),
            Convolution(third, settings.dimension, 1),
        )
        classes = settings.classes
        self.head = nn.Linear(settings.dimension, classes) if classes else None

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        """Features, each 0 or more, of images in [-1, 1] of any size.

        Images with a side below 8 pixels have each pixel repeated until both sides have 8.
        """
        repeats = -(-LEAST_SIDE // min(x.shape[2:]))
        if repeats > 1:
            x = functional.interpolate(x, scale_factor=float(repeats), mode="nearest")
        maps: Tensor = self.stages(x.contiguous(memory_format=torch.channels_last))
        return maps.mean((2, 3))


class Convolution(nn.Module):
    """Convolution, batch norm, and a rectifier unless it is asked for without."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, *, rectify: bool = True
    ) -> None:
        super().__init__()
        padding = (kernel - stride + 1) // 2
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(outputs)
        self.rectify = rectify

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d i j"]:
        """Height and width divided by the stride."""
        x = self.norm(self.conv(x))
        return x.relu_() if self.rectify else x


class ResidualBlock(nn.Module):
    """Two convolutions, and around them the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = Convolution(width, width)
        self.second = Convolution(width, width, rectify=False)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """The same shape."""
        total: Tensor = x + self.second(self.first(x))
        return total.relu_()


def fresh(settings: EncoderSettings, *, seed: int) -> Encoder:
    """An encoder whose first weights depend on the seed alone."""
    # torch's layers draw their first weights from the global generator: it is lent, and put back.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(random.key(seed, "feature weights")[0])
        encoder = Encoder(settings)
    return encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def fuse(encoder: Encoder) -> Encoder:
    """The same encoder, changed in place: evaluating, its batch norms part of its convolutions.

    The features are the same up to rounding, and take about two thirds of the time.
    """
    encoder.eval().requires_grad_(False)
    for layer in encoder.modules():
        if isinstance(layer, Convolution) and isinstance(layer.norm, nn.BatchNorm2d):
            layer.conv = fuse_conv_bn_eval(layer.conv, layer.norm)
            layer.norm = nn.Identity()
    return encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
