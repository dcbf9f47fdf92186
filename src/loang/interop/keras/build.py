"""loang's networks as Keras models: functional ones, of Keras's own layers, weights and all.

The function is that of networks/unet.py and networks/tutorial.py, read off the torch network
module by module, so that widths, groups and epsilons are those that it has.
"""

import math
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from loang.data.spec import ImageSpec
from loang.denoiser import Denoiser
from loang.errors import LoangError
from loang.interop.keras.parts import Parts, Symbol, unknown
from loang.networks import layers, tutorial
from loang.networks.tutorial import STRIDE, TutorialUNet
from loang.networks.unet import UNet


@dataclass(frozen=True)
class Built:
    """A Keras model and where its weights are.

    Args:
        model: `model({"x": ..., "t": ...})`, see `build`.
        homes: the layer of each weight by its torch name, and its number among the layer's own.
        back_end: that Keras computes by here: "tensorflow", "jax" or "torch".
    """

    model: Any
    homes: dict[str, tuple[Any, int]]
    back_end: str


def build(denoiser: Denoiser, spec: ImageSpec) -> Built:
    """The denoiser's network as a Keras model, of inputs by name.

    - `x`: noisy images (batch, height, width, channels), float32, as the network sees them
    - `t`: the condition that the schedule makes of their times, (batch,), float32
    - `label`: (batch,), int32, where it knows classes; their number itself is "no label"
    - `given`: another image, where it is shown one: zeros for none
    - `augmentation`: (batch, numbers), where it is told how images were changed: zeros for not

    Out come (batch, height, width, channels), or twice the channels where a variance is learnt.

    Raises:
        LoangError: Keras is not there, or the network has a part that is not known here.
    """
    choose_back_end()
    network = denoiser.network
    parts = Parts(network)
    inputs = {
        "x": parts.keras.Input((spec.height, spec.width, spec.channels), name="x", dtype="float32"),
        "t": parts.keras.Input((), name="t", dtype="float32"),
    }
    if isinstance(network, UNet):
        out = _unet(parts, network, spec, inputs)
    elif isinstance(network, TutorialUNet):
        out = _tutorial(parts, network, inputs, largest_condition(denoiser))
    else:
        raise LoangError(
            "loang writes its networks unet and tutorial for Keras, and not this model's,"
            f" {type(network).__name__}.",
            "Write it as ONNX, which takes any network: loang export onnx.",
        )
    if odd := sorted(network.state_dict().keys() ^ parts.homes.keys()):
        raise unknown(odd[0])
    model = parts.keras.Model(inputs, out, name="loang")
    return Built(model, parts.homes, parts.keras.backend.backend())


def choose_back_end() -> None:
    """Let Keras compute by torch, which is there, unless a person chose otherwise.

    It takes TensorFlow where nobody chooses, and fails where that is missing.
    """
    if "keras" not in sys.modules and find_spec("tensorflow") is None:
        os.environ.setdefault("KERAS_BACKEND", "torch")


def largest_condition(denoiser: Denoiser) -> float:
    """The most, in size, that the network is told of a time."""
    schedule = denoiser.schedule
    ends = torch.tensor([schedule.first, schedule.T], dtype=torch.float64)
    return float(schedule.condition(ends).abs().max())


def _unet(parts: Parts, network: UNet, spec: ImageSpec, inputs: dict[str, Symbol]) -> Symbol:
    keras, ops = parts.keras, parts.ops
    code = _code(parts, network.time, inputs["t"])
    if network.label is not None:
        inputs["label"] = keras.Input((), name="label", dtype="int32")
        code = ops.add(code, parts.embedding(network.label, inputs["label"]))
    if network.augmentation is not None:
        told = keras.Input((network.augmentations,), name="augmentation", dtype="float32")
        inputs["augmentation"] = told
        code = ops.add(code, parts.linear(network.augmentation, told))
    code = ops.silu(code)

    x = inputs["x"]
    if network.given:
        shape = (spec.height, spec.width, network.given)
        inputs["given"] = keras.Input(shape, name="given", dtype="float32")
        x = _joined(parts, x, inputs["given"])
    rows, columns = (_margins(side, network.fold * 2**network.halvings) for side in x.shape[1:3])
    x = parts.edged(x, rows, columns)
    h = parts.convolution(network.first, parts.folded(x, network.fold))
    kept = [h]
    for stage in cast(Iterable[Any], network.down):
        for block, attention in stage:
            h = _attended(parts, attention, _residual(parts, block, h, code))
            kept.append(h)
        if stage.resample is not None:
            h = _resampled(parts, stage.resample, h, code)
            kept.append(h)

    first, second = network.middle
    h = _attended(parts, network.middle_attention, _residual(parts, first, h, code))
    h = _residual(parts, second, h, code)

    for stage in cast(Iterable[Any], network.up):
        for block, attention in stage:
            h = _residual(parts, block, _joined(parts, h, kept.pop()), code)
            h = _attended(parts, attention, h)
        if stage.resample is not None:
            h = _resampled(parts, stage.resample, h, code)

    h = parts.convolution(network.last, ops.silu(parts.norm(network.last_norm, h)))
    return parts.cropped(parts.unfolded(h, network.fold), rows, columns)


def _code(parts: Parts, module: layers.TimeCode, t: Symbol) -> Symbol:
    sine, cosine = parts.waves(t, module.frequencies.cpu().numpy())
    both = (cosine, sine) if module.cosine_first else (sine, cosine)
    return parts.sequence(module.mlp, _joined(parts, *both))


def _residual(parts: Parts, module: nn.Module, x: Symbol, code: Symbol) -> Symbol:
    if not isinstance(module, layers.ResidualBlock):
        raise unknown(parts.paths[module])
    ops = parts.ops
    h = ops.silu(parts.norm(module.norm1, x))
    if module.resample == "half":
        h, x = parts.halved_by_mean(h), parts.halved_by_mean(x)
    elif module.resample == "double":
        h, x = parts.upsampled(h, "nearest"), parts.upsampled(x, "nearest")
    h = parts.convolution(module.conv1, h)
    of_code = parts.everywhere(parts.linear(module.code, code))
    if module.modulate:
        scale, shift = ops.split(of_code, 2, axis=-1)
        h = ops.add(shift, ops.multiply(parts.norm(module.norm2, h), ops.add(scale, 1.0)))
    else:
        h = parts.norm(module.norm2, ops.add(h, of_code))
    h = parts.convolution(module.conv2, parts.dropout(module.dropout, ops.silu(h)))
    skip = module.skip
    return ops.add(parts.convolution(skip, x) if isinstance(skip, nn.Conv2d) else x, h)


def _attended(parts: Parts, module: nn.Module, x: Symbol) -> Symbol:
    if isinstance(module, nn.Identity):
        return x
    if not isinstance(module, layers.Attention):
        raise unknown(parts.paths[module])
    _, height, width, channels = x.shape
    each = channels // module.heads
    qkv = parts.convolution(module.qkv, parts.norm(module.norm, x))
    qkv = parts.reshaped(qkv, height * width, 3, module.heads, each)
    q, k, v = parts.ops.split(parts.permuted(qkv, 2, 3, 1, 4), 3, axis=1)
    attended = parts.permuted(parts.attention(q, k, v), 1, 3, 2, 4)
    mixed = parts.convolution(module.out, parts.reshaped(attended, height, width, channels))
    return parts.ops.add(x, mixed)


def _resampled(parts: Parts, module: nn.Module, x: Symbol, code: Symbol) -> Symbol:
    if isinstance(module, layers.Upsample):
        return parts.convolution(module.conv, parts.upsampled(x, "nearest"))
    if isinstance(module, layers.Downsample):
        padded = parts.zeros(x, (0, 1), (0, 1)) if module.after else x
        return parts.convolution(module.conv, padded)
    return _residual(parts, module, x, code)


def _tutorial(
    parts: Parts, network: TutorialUNet, inputs: dict[str, Symbol], largest: float
) -> Symbol:
    even = np.arange(0, network.time_width, 2, dtype=np.float64)
    frequencies = 10000 ** (-even / network.time_width)
    time = _joined(parts, *parts.exact_waves(inputs["t"], frequencies, largest))

    x = inputs["x"]
    rows, columns = (_margins(side, STRIDE) for side in x.shape[1:3])
    full = _twice(parts, network.inc, parts.edged(x, rows, columns))
    half = _down(parts, network.down1, network.sa1, full, time)
    quarter = _down(parts, network.down2, network.sa2, half, time)
    x = _twice(parts, network.bot1, _down(parts, network.down3, None, quarter, time))
    x = _over_positions(parts, network.bot2, x)
    x = _twice(parts, network.bot3, x)
    x = _over_positions(parts, network.sa3, _up(parts, network.up1, x, quarter, time))
    x = _over_positions(parts, network.sa4, _up(parts, network.up2, x, half, time))
    x = parts.convolution(network.outc, _up(parts, network.up3, x, full, time))
    return parts.cropped(x, rows, columns)


def _twice(parts: Parts, module: nn.Module, x: Symbol) -> Symbol:
    module = cast(tutorial.DoubleConv, module)
    h = parts.sequence(module.double_conv, x)
    return parts.gelu(module.gelu, parts.ops.add(x, h)) if module.residual else h


def _down(
    parts: Parts,
    module: tutorial.Down,
    attention: tutorial.SelfAttention | None,
    x: Symbol,
    time: Symbol,
) -> Symbol:
    x = parts.halved_by_largest(x)
    for convolutions in list(module.maxpool_conv)[1:]:
        x = _twice(parts, convolutions, x)
    x = parts.ops.add(x, parts.everywhere(parts.sequence(module.emb_layer, time)))
    return x if attention is None else _over_positions(parts, attention, x)


def _up(parts: Parts, module: tutorial.Up, x: Symbol, skip: Symbol, time: Symbol) -> Symbol:
    x = _joined(parts, skip, parts.upsampled(x, "bilinear"))
    for convolutions in module.conv:
        x = _twice(parts, convolutions, x)
    return parts.ops.add(x, parts.everywhere(parts.sequence(module.emb_layer, time)))


def _over_positions(
    parts: Parts, module: tutorial.SelfAttention | tutorial.Attention, x: Symbol
) -> Symbol:
    """A layer for sequences, applied to an image row by row."""
    _, height, width, channels = x.shape
    x = parts.reshaped(x, height * width, channels)
    if isinstance(module, tutorial.Attention):
        x = _wide_attention(parts, module, x)
    else:
        add = parts.ops.add
        x = add(x, _wide_attention(parts, module.mha, parts.norm(module.ln, x)))
        x = add(x, parts.sequence(module.ff_self, x))
    return parts.reshaped(x, height, width, channels)


def _wide_attention(parts: Parts, module: tutorial.Attention, x: Symbol) -> Symbol:
    """Each head as wide as the input, as Keras's MultiHeadAttention has it."""
    positions, heads = x.shape[1], tutorial.HEADS
    projected = (parts.linear(each, x) for each in (module.query, module.key, module.value))
    q, k, v = (
        parts.permuted(parts.reshaped(each, positions, heads, each.shape[-1] // heads), 2, 1, 3)
        for each in projected
    )
    attended = parts.permuted(parts.attention(q, k, v), 2, 1, 3)
    return parts.linear(
        module.output, parts.reshaped(attended, positions, math.prod(attended.shape[2:]))
    )


def _joined(parts: Parts, *maps: Symbol) -> Symbol:
    return parts.layers.Concatenate(axis=-1)(list(maps))


def _margins(side: int, multiple: int) -> tuple[int, int]:
    """Rows or columns before and after it, as networks/sizes.py pads."""
    missing = -side % multiple
    return missing // 2, missing - missing // 2
