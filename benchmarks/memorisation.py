"""How well planted copies of training images are counted, and what is mistaken for one.

    python benchmarks/memorisation.py --out memorisation.json
    python benchmarks/memorisation.py --train 400 --held-out 40 --samples 400

Fashion-MNIST. Held-out images stand in for the samples of a model that copies nothing; of them x %
are replaced by training images, changed in one of several ways. In three spaces: pixels as they
are, the features of fashion-v1, and aligned pixels (`image_memorisation`). The second part of the
table has no copies in it: new images, many of them blurred or smooth, of which none should count.
Prints, for each space, the share recovered where all are copies, the largest error over all shares,
and the share with its 95 % interval where a tenth are.
"""

import argparse
import io
import json
import platform
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter

import loang
from loang import device
from loang.data import open_dataset
from loang.metrics import features
from loang.metrics.alignment import nearest_aligned
from loang.metrics.memorisation import OTHERS, Memorisation, Near, judge
from loang.metrics.neighbours import nearest

PERCENT = (0, 1, 2, 5, 10, 20, 30, 50, 75, 100)
Pixels = np.ndarray  # n x h x w x c, uint8


def grey(values: np.ndarray) -> Pixels:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def noisy(x: Pixels, deviation: float) -> Pixels:
    generator = np.random.Generator(np.random.Philox(17))
    return grey(x + generator.normal(0, deviation, x.shape))


def through_pillow(x: Pixels, change: Callable[[Image.Image], Image.Image]) -> Pixels:
    return np.stack([np.asarray(change(Image.fromarray(each[..., 0])))[..., None] for each in x])


def blurred(x: Pixels, radius: float) -> Pixels:
    return through_pillow(x, lambda image: image.filter(ImageFilter.GaussianBlur(radius)))


def compressed(x: Pixels, quality: int) -> Pixels:
    def jpeg(image: Image.Image) -> Image.Image:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality)
        return Image.open(file)

    return through_pillow(x, jpeg)


def shifted(x: Pixels) -> Pixels:
    """By a pixel, a quarter of them to each side; black comes in."""
    moved = np.zeros_like(x)
    moved[0::4, 1:], moved[1::4, :-1] = x[0::4, :-1], x[1::4, 1:]
    moved[2::4, :, 1:], moved[3::4, :, :-1] = x[2::4, :, :-1], x[3::4, :, 1:]
    return moved


def projected(x: Pixels, others: Pixels, components: int) -> Pixels:
    """What is left of images in the leading principal components of others."""
    flat = others.reshape(len(others), -1).astype(float)
    centre = flat.mean(axis=0)
    basis = np.linalg.eigh(np.cov((flat - centre).T))[1][:, -components:]
    left = (x.reshape(len(x), -1) - centre) @ basis @ basis.T + centre
    return grey(left).reshape(x.shape)


COPIES: dict[str, Callable[[Pixels], Pixels]] = {
    "exact": lambda x: x,
    "noise of 2 grey levels": lambda x: noisy(x, 2),
    "noise of 8 grey levels": lambda x: noisy(x, 8),
    "shifted by a pixel": shifted,
    "blurred, 0.5 pixels": lambda x: blurred(x, 0.5),
    "blurred, 0.8 pixels": lambda x: blurred(x, 0.8),
    "JPEG, quality 75": lambda x: compressed(x, 75),
    "JPEG, quality 30": lambda x: compressed(x, 30),
    "a tenth darker": lambda x: grey(0.9 * x),
    "mirrored": lambda x: x[:, :, ::-1],
}


def new_images(x: Pixels, others: Pixels, train: Pixels) -> dict[str, Pixels]:
    """Of held-out images x, none a copy."""
    a = train[: len(x)].astype(float)
    b = np.roll(a, 1, axis=0)
    return {
        "real": x,
        "averages of two held-out images": grey((x.astype(float) + others[: len(x)]) / 2),
        "averages of two training images": grey((a + b) / 2),
        "20 principal components": projected(x, others, 20),
        "60 principal components": projected(x, others, 60),
        "150 principal components": projected(x, others, 150),
        "blurred, 0.8 pixels": blurred(x, 0.8),
        "blurred, 1.5 pixels": blurred(x, 1.5),
        "noise of 20 grey levels": noisy(x, 20),
    }


def mixed(copies: Near, fresh: Near, percent: int) -> Near:
    k = round(len(fresh[0]) * percent / 100)
    return (
        np.concatenate((copies[0][:k], fresh[0][k:])),
        np.concatenate((copies[1][:k], fresh[1][k:])),
    )


def plain(found: Memorisation) -> dict[str, object]:
    return {"share": found.share.value, "interval": found.interval, "flagged": found.flagged}


def told(found: dict[int, Memorisation]) -> str:
    """All copies, the largest error in points, and a tenth with its interval."""
    worst = max(abs(100 * each.share.value - percent) for percent, each in found.items())
    low, high = found[10].interval
    tenth = f"{100 * found[10].share.value:.1f} ({100 * low:.1f}..{100 * high:.1f})"
    return f"{100 * found[100].share.value:.1f} · {worst:.1f} · {tenth}"


def said(found: Memorisation) -> str:
    low, high = found.interval
    return f"{100 * found.share.value:.1f} ({100 * low:.1f}..{100 * high:.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--train", type=int, default=60_000)
    parser.add_argument("--held-out", type=int, default=5000)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, metavar="FILE")
    asked = parser.parse_args()
    if asked.held_out + asked.samples > 8000 or asked.samples > min(asked.train, 1000):
        parser.error("at most 1,000 samples, no more than training images, 8,000 with held-out")

    dataset = open_dataset("fashion-mnist")
    generator = np.random.Generator(np.random.Philox(asked.seed))
    train = dataset.train[generator.permutation(len(dataset.train))[: asked.train]]
    fresh = dataset.validation[generator.permutation(len(dataset.validation))]
    held_out, others, x = fresh[: asked.held_out], fresh[8000:9000], fresh[9000:]
    x, sources = x[: asked.samples], train[: asked.samples]

    space = features.named("fashion-v1", dataset)
    flat = train.reshape(len(train), -1).astype(np.float32)
    seen = space(train, dataset.spec)
    k = OTHERS + 1
    spaces: dict[str, Callable[[Pixels], Near]] = {
        "pixels": lambda p: nearest(p.reshape(len(p), -1).astype(np.float32), flat, k),
        space.name: lambda p: nearest(space(p, dataset.spec), seen, k),
        "aligned pixels": lambda p: nearest_aligned(p, train, k),
    }
    planted = {name: change(sources) for name, change in COPIES.items()}
    new = new_images(x, others, train)
    every = [held_out, *planted.values(), *new.values()]
    cuts = np.cumsum([len(part) for part in every])[:-1]
    results: dict[str, dict[str, dict[int, Memorisation] | Memorisation]] = {}
    for name, find in spaces.items():
        distances, indices = find(np.concatenate(every))
        parts = zip(np.split(distances, cuts), np.split(indices, cuts), strict=True)
        calibration, *rest = parts
        near = dict(zip([*planted, *(f"new: {each}" for each in new)], rest, strict=True))
        results[name] = {
            kind: judge(one, calibration)
            if kind.startswith("new: ")
            else {p: judge(mixed(one, near["new: real"], p), calibration) for p in PERCENT}
            for kind, one in near.items()
        }
    print(f"| copies | {' | '.join(spaces)} |\n|---" + "|---" * len(spaces) + "|")
    for kind in COPIES:
        print(f"| {kind} | {' | '.join(told(results[name][kind]) for name in spaces)} |")
    for kind in new:
        print(f"| new: {kind} | {' | '.join(said(results[s][f'new: {kind}']) for s in spaces)} |")
    if asked.out is not None:
        content = {
            "command": " ".join(["python", *sys.argv]),
            "date": str(date.today()),
            "hardware": device.describe(torch.device("cpu"), None),
            "versions": {
                "loang": loang.__version__,
                "torch": torch.__version__,
                "numpy": np.__version__,
                "python": platform.python_version(),
            },
            "seed": asked.seed,
            "train": len(train),
            "held_out": len(held_out),
            "samples": len(x),
            "features": {"name": space.name, "digest": space.digest},
            "results": {
                name: {
                    kind: plain(found)
                    if isinstance(found, Memorisation)
                    else {percent: plain(each) for percent, each in found.items()}
                    for kind, found in kinds.items()
                }
                for name, kinds in results.items()
            },
        }
        asked.out.write_text(json.dumps(content, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
