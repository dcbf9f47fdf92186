"""Rebuild tests/fixtures/tutorial_unet.npz: what the article's architecture computes in Keras 3.

    python -m venv keras-env && keras-env/bin/pip install torch keras numpy h5py jaxtyping
    keras-env/bin/python scripts/make_tutorial_reference.py

It takes half a minute and does not need loang installed: weights and inputs follow from a rule it
shares with the tests (tests/networks/tutorial_weights.py, src/loang/interop/keras/names.py). The
architecture is written here from the layers that the article uses. Those of `tensorflow_addons`,
which ended in May 2024, are stated by what they compute: its GroupNormalization(1) is Keras's with
epsilon 1e-3, its GELU() the tanh approximation.

The fixture holds, for each case, images x (N, C, H, W), time steps t and the output y; and the
versions that computed them. It says nothing of fresh weights, for there Keras 3 left tf.keras:
it counts the fans of an attention kernel another way.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np
from keras import layers

TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path[:0] = [str(TESTS / "networks"), str(TESTS.parent / "src")]
import tutorial_weights as shared  # noqa: E402  (found by path: tests are no package)


class Article:
    """The article's network, for one image size; `weights` are its variables under shared names."""

    def __init__(self, height: int, width: int, channels: int) -> None:
        self.weights: dict[str, keras.Variable] = {}
        image = keras.Input((height, width, channels))
        time = keras.Input((256,))
        self.model = keras.Model([image, time], self._network(image, time, channels))

    def __call__(self, x: np.ndarray, t: np.ndarray) -> np.ndarray:
        """(N, C, H, W) in, the same shape out."""
        frequency = 1.0 / 10000 ** (np.arange(0, 256, 2) / 256)
        angle = t.astype(np.float64)[:, None] * frequency
        code = np.concatenate([np.sin(angle), np.cos(angle)], axis=-1).astype(np.float32)
        y = self.model([np.moveaxis(x, 1, -1), code])
        return np.ascontiguousarray(np.moveaxis(keras.ops.convert_to_numpy(y), -1, 1))

    def _layer(self, name: str, layer: layers.Layer, *inputs):
        """Apply a layer, and note its variables under the article's name."""
        y = layer(*inputs)
        for variable in layer.weights:
            inside = variable.path.removeprefix(layer.name + "/")
            self.weights[f"{name}/{inside}"] = variable
        return y

    def _double_conv(self, name: str, x, width: int, mid: int | None = None, residual=False):
        y = x
        for at, filters in ((0, mid or width), (3, width)):
            conv = layers.Conv2D(filters, 3, padding="same", use_bias=False)
            y = self._layer(f"{name}/double_conv/{at}", conv, y)
            norm = layers.GroupNormalization(groups=1, epsilon=1e-3)
            y = self._layer(f"{name}/double_conv/{at + 1}", norm, y)
            if at == 0:
                y = keras.activations.gelu(y, approximate=True)
        return keras.activations.gelu(x + y, approximate=True) if residual else y

    def _time(self, name: str, x, time, width: int):
        code = self._layer(f"{name}/emb_layer/1", layers.Dense(width), keras.ops.silu(time))
        return x + layers.Reshape((1, 1, width))(code)

    def _down(self, name: str, x, time, inward: int, width: int):
        x = layers.MaxPooling2D(2)(x)
        x = self._double_conv(f"{name}/maxpool_conv/1", x, inward, residual=True)
        x = self._double_conv(f"{name}/maxpool_conv/2", x, width)
        return self._time(name, x, time, width)

    def _up(self, name: str, x, skip, time, inward: int, width: int):
        x = layers.UpSampling2D(2, interpolation="bilinear")(x)
        x = layers.Concatenate(axis=-1)([skip, x])
        x = self._double_conv(f"{name}/conv/0", x, inward, residual=True)
        x = self._double_conv(f"{name}/conv/1", x, width, mid=inward // 2)
        return self._time(name, x, time, width)

    def _self_attention(self, name: str, x, width: int):
        size = x.shape[1:]
        x = layers.Reshape((size[0] * size[1], width))(x)
        y = self._layer(f"{name}/ln", layers.LayerNormalization(epsilon=1e-3), x)
        mha = layers.MultiHeadAttention(num_heads=4, key_dim=width)
        x = x + self._layer(f"{name}/mha", mha, y, y, y)
        y = self._layer(f"{name}/ff_self/0", layers.LayerNormalization(epsilon=1e-3), x)
        y = self._layer(f"{name}/ff_self/1", layers.Dense(width), y)
        y = keras.activations.gelu(y, approximate=True)
        x = x + self._layer(f"{name}/ff_self/3", layers.Dense(width), y)
        return layers.Reshape(size)(x)

    def _network(self, x, time, channels: int):
        full = self._double_conv("inc", x, 64)
        half = self._self_attention("sa1", self._down("down1", full, time, 64, 128), 128)
        quarter = self._self_attention("sa2", self._down("down2", half, time, 128, 256), 256)
        x = self._double_conv("bot1", self._down("down3", quarter, time, 256, 256), 512)
        bottom = layers.MultiHeadAttention(num_heads=4, key_dim=512)
        x = self._double_conv("bot3", self._layer("bot2", bottom, x, x, x), 256)
        x = self._self_attention("sa3", self._up("up1", x, quarter, time, 512, 128), 128)
        x = self._self_attention("sa4", self._up("up2", x, half, time, 256, 64), 64)
        x = self._up("up3", x, full, time, 128, 64)
        return self._layer("outc", layers.Conv2D(channels, 1), x)


def main() -> None:
    fixture: dict[str, np.ndarray] = {
        "versions": np.array(
            [f"keras {keras.__version__}", f"{keras.backend.backend()} {backend_version()}"]
        )
    }
    for case, (x, t) in shared.inputs().items():
        article = Article(*x.shape[2:], channels=x.shape[1])
        values = shared.article_values(x.shape[1])
        found = {name: tuple(weight.shape) for name, weight in article.weights.items()}
        assert found == {name: value.shape for name, value in values.items()}
        for name, value in values.items():
            article.weights[name].assign(value)
        y = article(x, t)
        print(f"{case}: {x.shape}, output in {y.min():.3f}..{y.max():.3f}, std {y.std():.3f}")
        fixture |= {f"{case}_x": x, f"{case}_t": t, f"{case}_y": y}
    target = TESTS / "fixtures" / "tutorial_unet.npz"
    target.parent.mkdir(exist_ok=True)
    np.savez_compressed(target, **fixture)
    print(f"{target.name}: {target.stat().st_size} bytes, {', '.join(fixture['versions'])}")


def backend_version() -> str:
    return sys.modules[keras.backend.backend()].__version__


if __name__ == "__main__":
    main()
