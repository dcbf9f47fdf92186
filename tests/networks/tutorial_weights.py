"""The weights of the article's U-Net: their names and shapes, their torch twins, test values.

All in one place, in numpy alone, because two sides that never meet need it: the script that runs
the article's architecture in Keras (`scripts/make_tutorial_reference.py`), and the tests.

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

**Values** follow from the name: uniform numbers from the raw words of a Philox stream keyed by
it. numpy promises that raw words stay as they are, which it does not of `Generator.normal`.
"""

import hashlib
import math
from collections.abc import Iterator

import numpy as np

Shape = tuple[int, ...]
HEADS = 4


def article_weights(channels: int = 1) -> dict[str, Shape]:
    """Every weight of the article's network, in Keras's order: its name, its Keras shape."""
    return dict(_network(channels))


def _network(channels: int) -> Iterator[tuple[str, Shape]]:
    yield from _double_conv("inc", channels, 64, 64)
    yield from _down("down1", 64, 128)
    yield from _self_attention("sa1", 128)
    yield from _down("down2", 128, 256)
    yield from _self_attention("sa2", 256)
    yield from _down("down3", 256, 256)
    yield from _double_conv("bot1", 256, 512, 512)
    yield from _attention("bot2", 512)
    yield from _double_conv("bot3", 512, 256, 256)
    yield from _up("up1", 512, 128)
    yield from _self_attention("sa3", 128)
    yield from _up("up2", 256, 64)
    yield from _self_attention("sa4", 64)
    yield from _up("up3", 128, 64)
    yield "outc/kernel", (1, 1, 64, channels)
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


def _down(name: str, inward: int, outward: int) -> Iterator[tuple[str, Shape]]:
    yield from _double_conv(f"{name}/maxpool_conv/1", inward, inward, inward)
    yield from _double_conv(f"{name}/maxpool_conv/2", inward, outward, outward)
    yield from _dense(f"{name}/emb_layer/1", 256, outward)


def _up(name: str, inward: int, outward: int) -> Iterator[tuple[str, Shape]]:
    yield from _double_conv(f"{name}/conv/0", inward, inward, inward)
    yield from _double_conv(f"{name}/conv/1", inward, inward // 2, outward)
    yield from _dense(f"{name}/emb_layer/1", 256, outward)


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


def torch_layout(name: str, value: np.ndarray) -> np.ndarray:
    """A Keras weight's numbers in the layout of the torch parameter `torch_name(name)`."""
    if value.ndim == 4:
        return value.transpose(3, 2, 0, 1)
    if name.endswith("attention_output/kernel"):
        return value.reshape(-1, value.shape[-1]).T
    if name.endswith("kernel"):
        return value.reshape(value.shape[0], -1).T
    return value.reshape(-1)


def article_values(channels: int = 1) -> dict[str, np.ndarray]:
    """Test values for every Keras weight, float32.

    Kernels are drawn for their fan-in; biases, offsets and scales away from 0 and 1, or an error
    in them would not be seen. Convolutions, and what a block hands on, are small, so that the
    epsilon of the next norm counts; what enters a GELU is large, so that its form counts; queries
    and keys are large, so that attention is far from a plain average.
    """
    return {name: _value(name, shape) for name, shape in article_weights(channels).items()}


def _value(name: str, shape: Shape) -> np.ndarray:
    numbers = uniform(name, shape)
    if name.endswith("gamma"):
        middle = 0.5 if name.endswith("double_conv/4/gamma") else 1.5
        return np.float32(middle) + np.float32(middle / 3) * numbers
    if name.endswith(("bias", "beta")):
        return np.float32(0.2) * numbers
    of_attention = len(shape) == 3 and not name.endswith("attention_output/kernel")
    fan_in = shape[0] if of_attention else math.prod(shape[:-1])
    gain = 0.2 if len(shape) == 4 else 1.5 if "/query/" in name or "/key/" in name else 1.0
    return np.float32(gain * math.sqrt(3 / fan_in)) * numbers


def uniform(name: str, shape: Shape) -> np.ndarray:
    """Float32 numbers in [-1, 1) that depend on the name and the shape, and on nothing else."""
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "little")
    words = np.random.Philox(key=key).random_raw(math.prod(shape))
    # 24 bits are what a float32 holds exactly.
    return ((words >> 40).astype(np.float32) * np.float32(2**-23) - np.float32(1)).reshape(shape)


def inputs() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The cases of the reference: name -> images (N, C, H, W), float32; time steps (N,), int64."""
    return {
        "grey": (uniform("grey", (2, 1, 32, 32)), np.array([1, 500])),
        "colour": (uniform("colour", (1, 3, 16, 24)), np.array([123])),
    }
