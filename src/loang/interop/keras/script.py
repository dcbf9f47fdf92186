"""Draw images with a model that `loang export keras` wrote; of loang nothing is needed.

    python sample_with_keras.py model.keras --count 16 --out drawn.png

Needs Keras, numpy and Pillow. Keras computes by TensorFlow, JAX or torch: KERAS_BACKEND=jax.
How the model is sampled is written in its file, as loang.json: a line of numbers for each step.
"""

import argparse
import json
import math
import zipfile
from typing import Any

import keras
import numpy as np
from PIL import Image


def draw(network: Any, about: Any, x: Any, labels: Any, rng: Any) -> Any:
    """From standard normal noise (n, height, width, channels) to images in [-1, 1]."""
    walk, channels = about["walk"], about["images"]["channels"]
    shapes = {each.name: each.shape[1:] for each in network.inputs}

    def see(x: Any, step: Any, label: Any, given: Any) -> Any:
        """The image that the network sees in x."""
        told = {name: np.zeros((len(x), *shape), "float32") for name, shape in shapes.items()}
        told |= {"x": x * step["scale"], "t": np.full(len(x), step["condition"], "float32")}
        told |= {"label": label.astype("int32"), "given": given}
        told = {name: told[name] for name in shapes}
        answer = network.predict(told, batch_size=64, verbose=0)[..., :channels]
        image = step["of_x"] * x + step["of_answer"] * answer
        return image.clip(-1, 1) if walk["clip"] else image

    x, image = x * walk["start"], np.zeros_like(x)
    for step in walk["steps"]:
        given = image
        image = see(x, step, labels, given)
        if step["guided"]:
            own = image
            weak = see(x, step, np.full_like(labels, len(about["images"]["class_names"])), given)
            image = weak + walk["guidance"] * (own - weak)
            if walk["rescale"]:  # some way back to the contrast that it had
                was, now = (each.std((1, 2, 3), keepdims=True) for each in (own, image))
                back = np.divide(was, now, out=np.ones_like(now), where=now > 0)
                image = image * (walk["rescale"] * back + 1 - walk["rescale"])
            image = image.clip(-1, 1) if walk["clip"] else image
        eps = (x - step["signal"] * image) / step["noise"]
        x = step["next_signal"] * image + step["next_noise"] * eps
        if step["fresh"]:
            x = x + step["fresh"] * rng.standard_normal(x.shape, "float32")
    return x


def stored(x: Any, low: float, high: float, depth: str) -> Any:
    """[-1, 1] as the values that the training images had."""
    values = (x.clip(-1, 1).astype("float64") + 1) * ((high - low) / 2) + low
    return (values if depth == "float32" else np.rint(values.clip(0))).astype(depth)


def sheet(pixels: Any, low: float, high: float) -> Any:
    """All images in one picture, row by row; of odd numbers of channels, the first ones."""
    low = low if pixels.dtype == "float32" else max(low, 0)
    grey = np.rint((pixels.astype("float64") - low) * (255 / (high - low))).astype("uint8")
    count, height, width, channels = grey.shape
    columns = math.ceil(count**0.5)
    rows = math.ceil(count / columns)
    page = np.full((rows * columns, height, width, channels), 255, "uint8")
    page[:count] = grey
    page = page.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    page = page.reshape(rows * height, columns * width, channels)
    return Image.fromarray(page[..., :3] if channels >= 3 else page[..., 0])


def main() -> None:
    """Read the model, draw, and write a picture, or the values themselves where OUT is .npy."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a .keras file")
    parser.add_argument("-n", "--count", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--label", help="a class by name or number; all in turn if none is named")
    parser.add_argument("--noise", help="a .npy of standard normal noise, one image a row")
    parser.add_argument("--out", default="drawn.png", help=".png, or .npy for the values")
    asked = parser.parse_args()

    with zipfile.ZipFile(asked.model) as file:
        about = json.loads(file.read("loang.json"))
    images, names = about["images"], about["images"]["class_names"]
    rng = np.random.default_rng(asked.seed)
    shape = asked.count, images["height"], images["width"], images["channels"]
    if asked.noise:
        noise = np.load(asked.noise, allow_pickle=False).astype("float32")
    else:
        noise = rng.standard_normal(shape, "float32")
    labels = np.arange(len(noise)) % max(len(names), 1)
    if asked.label is not None:
        known = {str(number): number for number in range(len(names))}
        known |= {name: number for number, name in enumerate(names)}
        if asked.label not in known:
            parser.error(
                f"there is no class {asked.label!r}: there are {', '.join(names) or 'none'}"
            )
        labels[:] = known[asked.label]

    network = keras.saving.load_model(asked.model, compile=False)
    x = draw(network, about, noise, labels, rng)
    pixels = stored(x, images["low"], images["high"], images["depth"])
    if asked.out.endswith(".npy"):
        np.save(asked.out, pixels, allow_pickle=False)
    else:
        sheet(pixels, images["low"], images["high"]).save(asked.out)
    print(asked.out)


if __name__ == "__main__":
    main()
