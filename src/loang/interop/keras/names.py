"""The weights of the article's U-Net: their names and shapes in Keras, and their torch twins.

In numpy alone, because the two sides never meet: one has Keras, the other has torch.

**Names** are the article's attributes joined by "/", the layers of a Sequential by their index:
`down1/maxpool_conv/1/double_conv/0/kernel`. **Order** is that of the article's `model.weights`.

**Mapping**: a Keras weight becomes the torch parameter of the same path, with another last word
and another layout.

| Keras                             | shape               | torch           | shape              |
|-----------------------------------|---------------------|-----------------|--------------------|
| convolution `kernel`              | (kh, kw, in, out)   | `weight`        | (out, in, kh, kw)  |
| Dense `kernel`                    | (in, out)           | `weight`        | (out, in)          |
| `query`, `key`, `value`: `kernel` | (C, heads, key_dim) | `weight`        | (heads*key_dim, C) |
| their `bias`                      | (heads, key_dim)    | `bias`          | (heads*key_dim,)   |
| `attention_output/kernel`         | (heads, key_dim, C) | `output.weight` | (C, heads*key_dim) |
| norm `gamma`                      | (C,)                | `weight`        | (C,)               |
| norm `beta`, any other `bias`     | (C,)                | `bias`          | (C,)               |
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Shaped

Shape = tuple[int, ...]
HEADS = 4
WIDTH = 64
"""Channels of the first and last level; all others are multiples of it."""
TIME_WIDTH = 256


def article_weights(
    channels: int = 1, width: int = WIDTH, time_width: int = TIME_WIDTH
) -> dict[str, Shape]:
    """Every weight of the article's network, in Keras's order: its name, its Keras shape.

    Args:
        channels: of the images.
        width: channels of the first level; the article has 64.
        time_width: numbers in the code of a time step; the article has 256.
    """
    return dict(_network(channels, width, time_width))


def _network(channels: int, w: int, time: int) -> Iterator[tuple[str, Shape]]:
    yield from _double_conv("inc", channels, w, w)
    yield from _down("down1", w, 2 * w, time)
    yield from _self_attention("sa1", 2 * w)
    yield from _down("down2", 2 * w, 4 * w, time)
    yield from _self_attention("sa2", 4 * w)
    yield from _down("down3", 4 * w, 4 * w, time)
    yield from _double_conv("bot1", 4 * w, 8 * w, 8 * w)
    yield from _attention("bot2", 8 * w)
    yield from _double_conv("bot3", 8 * w, 4 * w, 4 * w)
    yield from _up("up1", 8 * w, 2 * w, time)
    yield from _self_attention("sa3", 2 * w)
    yield from _up("up2", 4 * w, w, time)
    yield from _self_attention("sa4", w)
    yield from _up("up3", 2 * w, w, time)
    yield "outc/kernel", (1, 1, w, channels)
    yield "outc/bias", (channels,)


def _double_conv(name: str, inward: int, mid: int, outward: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}/double_conv/0/kernel", (3, 3, inward, mid)
    yield from _norm(f"{name}/double_conv/1", mid)
    yield f"{name}/double_conv/3/kernel", (3, 3, mid, outward)
    yield from _norm(f"{name}/double_conv/4", outward)


def _norm(name: str, width: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}/gamma", (width,)
    yield f"{name}/beta", (width,)


def _dense(name: str, inward: int, outward: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}/kernel", (inward, outward)
    yield f"{name}/bias", (outward,)


def _down(name: str, inward: int, outward: int, time: int) -> Iterator[tuple[str, Shape]]:
    yield from _double_conv(f"{name}/maxpool_conv/1", inward, inward, inward)
    yield from _double_conv(f"{name}/maxpool_conv/2", inward, outward, outward)
    yield from _dense(f"{name}/emb_layer/1", time, outward)


def _up(name: str, inward: int, outward: int, time: int) -> Iterator[tuple[str, Shape]]:
    yield from _double_conv(f"{name}/conv/0", inward, inward, inward)
    yield from _double_conv(f"{name}/conv/1", inward, inward // 2, outward)
    yield from _dense(f"{name}/emb_layer/1", time, outward)


def _attention(name: str, width: int) -> Iterator[tuple[str, Shape]]:
    for part in ("query", "key", "value"):
        yield f"{name}/{part}/kernel", (width, HEADS, width)
        yield f"{name}/{part}/bias", (HEADS, width)
    yield f"{name}/attention_output/kernel", (HEADS, width, width)
    yield f"{name}/attention_output/bias", (width,)


def _self_attention(name: str, width: int) -> Iterator[tuple[str, Shape]]:
    yield from _attention(f"{name}/mha", width)
    yield from _norm(f"{name}/ln", width)
    yield from _norm(f"{name}/ff_self/0", width)
    yield from _dense(f"{name}/ff_self/1", width, width)
    yield from _dense(f"{name}/ff_self/3", width, width)


def torch_name(name: str) -> str:
    """The state-dict name of a Keras weight."""
    path, _, last = name.rpartition("/")
    last = {"kernel": "weight", "gamma": "weight", "bias": "bias", "beta": "bias"}[last]
    return f"{path}/{last}".replace("attention_output", "output").replace("/", ".")


def torch_layout(
    name: str, value: Shaped[np.ndarray, "*keras_shape"]
) -> Shaped[np.ndarray, "*torch_shape"]:
    """A Keras weight's numbers in the layout of the torch parameter `torch_name(name)`."""
    if value.ndim == 4:
        return value.transpose(3, 2, 0, 1)
    if name.endswith("attention_output/kernel"):
        return value.reshape(-1, value.shape[-1]).T
    if name.endswith("kernel"):
        return value.reshape(value.shape[0], -1).T
    return value.reshape(-1)


def keras_layout(
    name: str, value: Shaped[np.ndarray, "*torch_shape"], shape: Shape
) -> Shaped[np.ndarray, "*keras_shape"]:
    """The inverse of `torch_layout`: a torch parameter's numbers as the Keras weight has them.

    Args:
        name: of the Keras weight.
        value: of the torch parameter.
        shape: of the Keras weight.
    """
    if value.ndim == 4:
        return value.transpose(2, 3, 1, 0)
    return (value.T if name.endswith("kernel") else value).reshape(shape)
