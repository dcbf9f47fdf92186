"""Train the feature network fashion-v1 that ships in the package.

    python scripts/train_fashion_features.py [FOLDER] [--images N] [--seed N] [--out FILE]

FOLDER holds Fashion-MNIST's four original files; without it they are looked for where loang looks.
The network learns from the 60,000 training images alone. The 10,000 test images are used once, in
the end, for the accuracy in the file's metadata. Two cores with AVX-512 need about nine minutes.
Another processor or version of torch adds numbers up in another order, so it makes other weights
of about the same accuracy: that is another file, and a version of its own.
"""

import argparse
import datetime
import platform
import time
from pathlib import Path

import numpy as np
import torch
from rich.progress import Progress

from loang.data.places.fashion_mnist import SHAPES, load
from loang.device import autocast_type, describe
from loang.files import replacing, sha256
from loang.metrics.features import network
from loang.metrics.features.encoder import Encoder, EncoderSettings, fresh, fuse
from loang.metrics.features.fashion import ASSET, NAME, PREPROCESSING, prepare
from loang.metrics.features.learn import CPU, Recipe, learn_classes

ASSETS = Path(__file__).resolve().parent.parent / "src" / "loang" / "assets"


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the feature network fashion-v1.")
    parser.add_argument("folder", nargs="?", type=Path, help="the four original files")
    parser.add_argument("--images", type=int, default=1_080_000, help="training images seen")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and augmentation")
    parser.add_argument("--out", type=Path, default=ASSETS / ASSET, help="what to write")
    arguments = parser.parse_args()
    dataset = load(arguments.folder)
    if (len(dataset.train), len(dataset.validation)) != (SHAPES[0][0], SHAPES[2][0]):
        raise SystemExit("All 70,000 images are needed: " + " ".join(dataset.notices))

    encoder = fresh(EncoderSettings(channels=1, classes=10), seed=arguments.seed)
    recipe = Recipe(images=arguments.images)
    begun = time.monotonic()
    with Progress() as progress:
        bar = progress.add_task("training")
        encoder = learn_classes(
            encoder,
            dataset.train,
            recipe,
            seed=arguments.seed,
            on_step=lambda done, total: progress.update(bar, completed=done, total=total),
        )
    seconds = time.monotonic() - begun
    encoder = rounded(fuse(encoder))

    features = network.NetworkFeatures(NAME, "", PREPROCESSING, encoder, prepare)
    test = dataset.validation
    begun = time.monotonic()
    classes = features.classify(test.pixels, test.spec)
    rate = len(test) / (time.monotonic() - begun)
    accuracy = float(np.mean(classes == test.labels))
    about = {
        "name": NAME,
        "what": "a classifier of Fashion-MNIST; its features are what the head sees",
        "licence": "MIT",
        "trained_on": "Fashion-MNIST's 60,000 training images (MIT, Zalando SE), nothing else",
        "command": f"python scripts/train_fashion_features.py --images {arguments.images} "
        f"--seed {arguments.seed}",
        "seed": arguments.seed,
        "images_seen": recipe.steps * recipe.batch,
        "seconds": round(seconds),
        "machine": f"{platform.machine()}, {describe(CPU, autocast_type(CPU))}",
        "torch": torch.__version__,
        "date": datetime.date.today().isoformat(),
        "parameters": sum(value.numel() for value in encoder.parameters()),
        "test_images": len(test),
        "test_accuracy": accuracy,
    }
    with replacing(arguments.out) as beside:
        network.save(beside, encoder, about, torch.float16)
    print(f"{accuracy:.2%} of the test images right; {rate:,.0f} images/s; {seconds:.0f} s")
    print(f"{arguments.out.stat().st_size:,} bytes, SHA-256 {sha256(arguments.out)}")
    print(f"This digest belongs into DIGEST of {network.__name__.replace('network', 'fashion')}.")


def rounded(encoder: Encoder) -> Encoder:
    """The weights as the file will have them, so that what is measured is what ships."""
    encoder.load_state_dict({name: v.half().float() for name, v in encoder.state_dict().items()})
    return encoder


if __name__ == "__main__":
    main()
