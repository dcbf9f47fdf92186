"""What a torch network is made of, said in Keras's own layers and operations, weights and all.

Nothing here is a class or function of loang's once it is saved: a file that is made of it is read
wherever Keras is, and nothing in it needs to be trusted. Images are (batch, height, width,
channels); sizes are fixed, the batch is not.
"""

import math
from typing import Any

import numpy as np
from jaxtyping import Float, Float64
from torch import nn

from loang.errors import LoangError
from loang.extras import require
from loang.networks.operations import GroupNorm

PURPOSE = "to write a model for Keras"
MANTISSA = 24
"""Bits of a float32 number."""

Symbol = Any
"""A tensor of Keras's that has a shape and no numbers yet."""


class Parts:
    """Layers of Keras's for the modules of a network, each called by its module's path.

    A layer's name is the path within the denoiser, with "-" in the place of each dot, which Keras's
    torch back end can't have in a name: `network-down-0-blocks-1-conv1`.

    Args:
        network: whose weights the layers get.

    Raises:
        LoangError: Keras is not there, or older than 3.
    """

    def __init__(self, network: nn.Module) -> None:
        self.keras = require("keras", extra="keras", purpose=PURPOSE)
        if not hasattr(self.keras, "ops"):
            raise LoangError(
                f"loang writes models for Keras 3, and Keras {self.keras.__version__} is here.",
                'Install a newer one with pip install "loang[keras]".',
            )
        self.ops, self.layers = self.keras.ops, self.keras.layers
        self.paths = {module: path for path, module in network.named_modules()}
        self.homes: dict[str, tuple[Any, int]] = {}
        """Of each weight by its torch name: its layer, and its number among the layer's own."""

    def convolution(self, module: nn.Conv2d, x: Symbol) -> Symbol:
        """As torch's, zeros around the image wherever it pads.

        Raises:
            LoangError: it is one that no network of loang's has.
        """
        size, stride, padding = module.kernel_size, module.stride, module.padding
        plain = (
            module.groups == 1 and set(module.dilation) == {1} and module.padding_mode == "zeros"
        )
        if not plain or not isinstance(padding, tuple):
            raise unknown(self.paths[module])
        same = set(stride) == {1} and all(
            k == 2 * p + 1 for k, p in zip(size, padding, strict=True)
        )
        if any(padding) and not same:
            x = self.zeros(x, (padding[0], padding[0]), (padding[1], padding[1]))
        layer = self.layers.Conv2D(
            module.out_channels,
            size,
            strides=stride,
            padding="same" if same else "valid",
            use_bias=module.bias is not None,
            data_format="channels_last",
            **self._called(module),
        )
        return self._placed(module, layer, x)

    def linear(self, module: nn.Linear, x: Symbol) -> Symbol:
        """Of the last axis."""
        layer = self.layers.Dense(
            module.out_features, use_bias=module.bias is not None, **self._called(module)
        )
        return self._placed(module, layer, x)

    def embedding(self, module: nn.Embedding, label: Symbol) -> Symbol:
        """One row a label."""
        layer = self.layers.Embedding(
            module.num_embeddings, module.embedding_dim, **self._called(module)
        )
        return self._placed(module, layer, label)

    def norm(self, module: nn.GroupNorm | nn.LayerNorm, x: Symbol) -> Symbol:
        """Of groups of channels over all positions, or of the last axis."""
        called = {"epsilon": module.eps, **self._called(module)}
        if isinstance(module, nn.GroupNorm):
            layer = self.layers.GroupNormalization(module.num_groups, axis=-1, **called)
        else:
            layer = self.layers.LayerNormalization(axis=-1, **called)
        return self._placed(module, layer, x)

    def dropout(self, module: nn.Dropout, x: Symbol) -> Symbol:
        """For who trains the model further; it does nothing else."""
        if not module.p:
            return x
        return self.layers.Dropout(module.p, **self._called(module))(x)

    def sequence(self, modules: nn.Sequential, x: Symbol) -> Symbol:
        """One after another, of those kinds that the networks have in a row.

        Raises:
            LoangError: one is of another kind.
        """
        for module in modules:
            if isinstance(module, nn.Conv2d):
                x = self.convolution(module, x)
            elif isinstance(module, nn.Linear):
                x = self.linear(module, x)
            elif isinstance(module, GroupNorm | nn.LayerNorm):
                x = self.norm(module, x)
            elif isinstance(module, nn.SiLU):
                x = self.ops.silu(x)
            elif isinstance(module, nn.GELU):
                x = self.gelu(module, x)
            else:
                raise unknown(self.paths[module])
        return x

    def gelu(self, module: nn.GELU, x: Symbol) -> Symbol:
        """Exact or by tanh, as the module has it."""
        return self.ops.gelu(x, approximate=module.approximate == "tanh")

    def attention(self, q: Symbol, k: Symbol, v: Symbol) -> Symbol:
        """softmax(q k^T / sqrt(width)) v over the last two axes, positions and width."""
        ops, last = self.ops, len(q.shape) - 1
        turned = ops.transpose(k, (*range(last - 1), last, last - 1))
        scores = ops.matmul(ops.multiply(q, float(q.shape[-1]) ** -0.5), turned)
        return ops.matmul(ops.softmax(scores, axis=-1), v)

    def reshaped(self, x: Symbol, *shape: int) -> Symbol:
        """Each image's values in another shape."""
        return self.layers.Reshape(shape)(x)

    def permuted(self, x: Symbol, *axes: int) -> Symbol:
        """Each image's axes in another order; they count from 1."""
        return self.layers.Permute(axes)(x)

    def everywhere(self, code: Symbol) -> Symbol:
        """One vector an image, to be added to all of its positions."""
        return self.reshaped(code, 1, 1, code.shape[-1])

    def zeros(self, x: Symbol, rows: tuple[int, int], columns: tuple[int, int]) -> Symbol:
        """So many rows and columns of zeros before and after the image."""
        return self.layers.ZeroPadding2D((rows, columns), data_format="channels_last")(x)

    def cropped(self, x: Symbol, rows: tuple[int, int], columns: tuple[int, int]) -> Symbol:
        """The image without so many rows and columns at its begin and end."""
        if not any((*rows, *columns)):
            return x
        return self.layers.Cropping2D((rows, columns), data_format="channels_last")(x)

    def edged(self, x: Symbol, rows: tuple[int, int], columns: tuple[int, int]) -> Symbol:
        """The image with its edges repeated so often before and after it."""
        for axis, (before, after) in ((1, rows), (2, columns)):
            others = x.shape[axis] - 1
            parts = [x]
            if before:
                parts.insert(0, self._repeated(self._cut(x, axis, (0, others)), axis, before))
            if after:
                parts.append(self._repeated(self._cut(x, axis, (others, 0)), axis, after))
            x = self.layers.Concatenate(axis=axis)(parts) if len(parts) > 1 else x
        return x

    def upsampled(self, x: Symbol, interpolation: str) -> Symbol:
        """Twice the height and width, "nearest" or "bilinear" with half-pixel centres."""
        return self._larger(x, (2, 2), interpolation)

    def halved_by_largest(self, x: Symbol) -> Symbol:
        """The largest of each 2 x 2 values."""
        return self.layers.MaxPooling2D(2, data_format="channels_last")(x)

    def halved_by_mean(self, x: Symbol) -> Symbol:
        """The mean of each 2 x 2 values."""
        return self.layers.AveragePooling2D(2, data_format="channels_last")(x)

    def folded(self, x: Symbol, fold: int) -> Symbol:
        """`fold` x `fold` pixels as channels of one, in the order of torch's pixel_unshuffle."""
        if fold == 1:
            return x
        _, height, width, channels = x.shape
        h, w = height // fold, width // fold
        x = self.permuted(self.reshaped(x, h, fold, w, fold, channels), 1, 3, 5, 2, 4)
        return self.reshaped(x, h, w, channels * fold**2)

    def unfolded(self, x: Symbol, fold: int) -> Symbol:
        """The inverse of `folded`."""
        if fold == 1:
            return x
        _, height, width, channels = x.shape
        channels //= fold**2
        x = self.permuted(self.reshaped(x, height, width, channels, fold, fold), 1, 4, 2, 5, 3)
        return self.reshaped(x, height * fold, width * fold, channels)

    def waves(self, t: Symbol, frequencies: Float[np.ndarray, " half"]) -> tuple[Symbol, Symbol]:
        """Sines and cosines of t at some frequencies, as float32 multiplies."""
        angle = self.ops.multiply(self.reshaped(t, 1), frequencies.astype(np.float32))
        return self.ops.sin(angle), self.ops.cos(angle)

    def exact_waves(
        self, t: Symbol, frequencies: Float64[np.ndarray, " half"], largest: float
    ) -> tuple[Symbol, Symbol]:
        """Sines and cosines of t at some frequencies, to about 1e-7, of float32 numbers alone.

        The product of t and a frequency is split in two: whole t by the frequency's first bits,
        which float32 holds exactly, and what is left, which is small. The sine of their sum
        follows from the sines and cosines of both.

        Args:
            t: of each image, (batch,).
            frequencies: at most 1.
            largest: the most that t may be; beyond 2^20 or so, the error grows.
        """
        ops = self.ops
        kept = max(MANTISSA - math.ceil(math.log2(largest + 2)), 1)
        fraction, exponent = np.frexp(frequencies)
        first = np.ldexp(np.round(np.ldexp(fraction, kept)), exponent - kept)
        t = self.reshaped(t, 1)
        whole = ops.floor(t)
        angle = ops.multiply(whole, first.astype(np.float32))
        rest = ops.add(
            ops.multiply(whole, (frequencies - first).astype(np.float32)),
            ops.multiply(ops.subtract(t, whole), frequencies.astype(np.float32)),
        )
        sine, cosine = ops.sin(angle), ops.cos(angle)
        small_sine, small_cosine = ops.sin(rest), ops.cos(rest)
        return (
            ops.add(ops.multiply(sine, small_cosine), ops.multiply(cosine, small_sine)),
            ops.subtract(ops.multiply(cosine, small_cosine), ops.multiply(sine, small_sine)),
        )

    def _called(self, module: nn.Module) -> dict[str, Any]:
        # The type is said because a person's Keras may be set to another one.
        return {"name": f"network.{self.paths[module]}".replace(".", "-"), "dtype": "float32"}

    def _placed(self, module: nn.Module, layer: Any, x: Symbol) -> Symbol:
        out = layer(x)
        weights = dict(module.named_parameters())
        values = [weight.detach().cpu().float().numpy() for weight in weights.values()]
        layer.set_weights([keras_layout(module, value) for value in values])
        for number, name in enumerate(weights):
            self.homes[f"{self.paths[module]}.{name}"] = layer, number
        return out

    def _cut(self, x: Symbol, axis: int, ends: tuple[int, int]) -> Symbol:
        return self.cropped(x, *((ends, (0, 0)) if axis == 1 else ((0, 0), ends)))

    def _repeated(self, x: Symbol, axis: int, times: int) -> Symbol:
        return self._larger(x, (times, 1) if axis == 1 else (1, times), "nearest")

    def _larger(self, x: Symbol, size: tuple[int, int], interpolation: str) -> Symbol:
        return self.layers.UpSampling2D(
            size, interpolation=interpolation, data_format="channels_last"
        )(x)


def keras_layout(
    module: nn.Module, value: Float[np.ndarray, "*torch_shape"]
) -> Float[np.ndarray, "*keras_shape"]:
    """A weight of that torch module as Keras's layer has it: inputs before outputs."""
    if value.ndim == 4:
        return value.transpose(2, 3, 1, 0)
    return value.T if isinstance(module, nn.Linear) else value


def torch_layout(
    module: nn.Module, value: Float[np.ndarray, "*keras_shape"]
) -> Float[np.ndarray, "*torch_shape"]:
    """The inverse of `keras_layout`."""
    if value.ndim == 4:
        return value.transpose(3, 2, 0, 1)
    return value.T if isinstance(module, nn.Linear) else value


def unknown(path: str) -> LoangError:
    """What a person reads when a network has a part that is not said in Keras yet."""
    return LoangError(
        f"This model's network has a part, {path}, that loang can't say in Keras.",
        "Write it as ONNX, which takes any network: loang export onnx.",
    )
