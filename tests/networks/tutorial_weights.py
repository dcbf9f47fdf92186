"""Test values for the weights of the article's U-Net, and inputs for it.

In numpy alone, because two sides that never meet need it: the script that runs the article's
architecture in Keras (`scripts/make_tutorial_reference.py`), and the tests. Names, shapes and
layouts are those of `loang.interop.keras.names`.

**Values** follow from the name: uniform numbers from the raw words of a Philox stream keyed by
it. numpy promises that raw words stay as they are, which it does not of `Generator.normal`.
"""

import hashlib
import math

import numpy as np

from loang.interop.keras.names import Shape, article_weights


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
