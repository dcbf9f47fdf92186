"""Draw images from an ONNX file that loang wrote, with numpy and onnxruntime alone.

    python sample_with_onnx.py model.onnx -n 16 --label 3 --seed 1

It walks along the levels that the file names, guided as it says: by DDIM (Song et al. 2021,
eq. 12), or as a consistency model. The images go to drawn.npy; a picture of them to drawn.png,
where Pillow is installed.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import onnxruntime


def main() -> None:
    """What is asked, the walk, and the files."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", help="the .onnx file")
    parser.add_argument("-n", type=int, default=16, help="how many images")
    parser.add_argument("--label", type=int, help="one class for all; else all in turn")
    parser.add_argument("--seed", type=int, default=0, help="of the noise")
    parser.add_argument("--noise", help="a .npy of standard normal noise, (n, c, h, w), instead")
    parser.add_argument("--out", default="drawn.npy", help="(n, h, w, c), as they were stored")
    asked = parser.parse_args()

    session = onnxruntime.InferenceSession(asked.model, providers=["CPUExecutionProvider"])
    about = json.loads(session.get_modelmeta().custom_metadata_map["loang"])
    network, walk, images = about["network"], about["walk"], about["images"]
    shape = asked.n, images["channels"], images["height"], images["width"]
    normal = np.random.default_rng(asked.seed).standard_normal
    noise = np.load(asked.noise, allow_pickle=False) if asked.noise else normal(shape)
    x, n, classes = noise.astype(np.float32) * walk["start"], len(noise), network["classes"]
    if asked.label is not None and not 0 <= asked.label < classes:
        parser.error(f"--label {asked.label}: there are {classes} classes, from 0 up")
    label = np.arange(n) % max(classes, 1) if asked.label is None else np.full(n, asked.label)

    def clipped(x0: np.ndarray) -> np.ndarray:
        return x0.clip(-1, 1) if network["clip"] else x0

    x0 = np.zeros_like(x)
    for here, there in zip(walk["levels"], walk["levels"][1:], strict=False):
        guided = here["guidance"] != 1  # then each image twice in a batch: with its label, without
        x_t, given = (np.concatenate([each] * (1 + guided)) for each in (x, x0))
        condition = np.full(len(x_t), here["condition"], np.float32)
        inputs = {"x": x_t / here["size"], "condition": condition}
        if "label" in network["inputs"]:
            both = [label, np.full(n, classes)][: 1 + guided]
            inputs["label"] = np.concatenate(both).astype(np.int64)
        if "given" in network["inputs"]:
            inputs["given"] = given
        (prediction,) = session.run(["prediction"], inputs)
        seen = clipped(here["of_x"] * x_t + here["of_prediction"] * prediction)
        x0 = seen[:n]
        if guided:
            x0 = seen[n:] + here["guidance"] * (seen[:n] - seen[n:])
            if share := walk["guidance_rescale"]:
                was, now = (each.std((1, 2, 3), keepdims=True) for each in (seen[:n], x0))
                # An image of one value everywhere has no contrast to put back.
                back = np.divide(was, now, out=np.ones_like(now), where=now > 0)
                x0 = x0 * (share * back + 1 - share)
            x0 = clipped(x0)
        eps = (x - here["signal"] * x0) / here["noise"]
        x = there["signal"] * x0 + here["of_eps"] * eps
        if here["of_fresh"]:
            x = x + here["of_fresh"] * normal(x.shape).astype(np.float32)

    low, high, depth = images["low"], images["high"], images["depth"]
    unit = (x.clip(-1, 1).astype(np.float64).transpose(0, 2, 3, 1) + 1) / 2
    stored = unit * (high - low) + low
    if depth != "float32":  # whole numbers end at 0, even where -1 of the network lies below
        stored, low = np.rint(stored.clip(0)), max(low, 0)
    np.save(asked.out, stored.astype(depth), allow_pickle=False)
    if images["channels"] in (1, 3, 4):
        try:
            from PIL import Image
        except ImportError:
            return
        side = int(np.ceil(n**0.5))
        height, width, channels = stored.shape[1:]
        sheet = np.zeros((-(-n // side) * side, height, width, channels))
        sheet[:n] = (stored - low) / (high - low)
        sheet = sheet.reshape(-1, side, height, width, channels).swapaxes(1, 2)
        sheet = sheet.reshape(-1, side * width, channels)
        sheet = sheet[..., 0] if channels == 1 else sheet
        picture = Image.fromarray((sheet * 255).round().astype(np.uint8))
        picture.save(Path(asked.out).with_suffix(".png"))


if __name__ == "__main__":
    main()
