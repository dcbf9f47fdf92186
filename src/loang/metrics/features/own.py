"""The space own-v1: an encoder learned from the data set's own training images, once, and kept."""

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d
from torch.utils.flop_counter import FlopCounterMode

from loang.data import order
from loang.data.environment import cache_folder
from loang.data.images import Dataset, Images
from loang.data.resize import convert_channels, resize
from loang.data.scaling import to_model, to_pixels
from loang.data.spec import ImageSpec
from loang.errors import LoangError
from loang.files import replacing
from loang.metrics.features.augment import viewed
from loang.metrics.features.encoder import Encoder, EncoderSettings, fresh, fuse
from loang.metrics.features.learn import OnStep, Recipe, learn_classes, learn_views
from loang.metrics.features.network import NetworkFeatures, digest, load, save

NAME = "own-v1"
SEED = 0
MOST_SIDE = 64
WIDE_SIDE = 40
"""Images with a longer side than this are shrunk by 4 in the stem, not by 2."""
WORK = 3e12
"""Multiplications of all forward passes: 45 s of two AVX-512 cores, whatever the images."""
LEAST_SEEN, EPOCHS, LEAST_STEPS = 12_800, 40, 400
PER_CLASS = 10
VALUES = 2**27
HELD_OUT, MATCHED = 2000, 256
ROWS = 256


def own_features(dataset: Dataset, *, on_step: OnStep | None = None) -> NetworkFeatures:
    """64 features that an encoder learned from `dataset.train`, or learns now.

    It becomes a classifier where at least two classes have ten training images each, and learns
    without labels elsewhere. The seed is fixed, so the same data give the same features on the
    same machine. What was learned is kept in loang's cache under the data's fingerprint.

    Args:
        dataset: its validation images tell how good the encoder is, in `about`.
        on_step: called while it learns with (steps done, steps in all).

    Raises:
        LoangError: there is only one training image.
    """
    path = _place(dataset)
    encoder, about = _kept(path, dataset) or _learned(path, dataset, on_step)
    side = shrinking(dataset.spec)
    preprocessing = "the range to [-1, 1]" + (f"; means of {side}x{side} blocks" * (side > 1))

    def prepare(images: Images) -> Float[Tensor, "n c h w"]:
        images = convert_channels(images, dataset.spec.channels)
        images = resize(images, dataset.spec.height, dataset.spec.width)
        return _averaged(images, side)

    return NetworkFeatures(NAME, digest(encoder), preprocessing, encoder, prepare, about)


def is_kept(dataset: Dataset) -> bool:
    """Whether the features of these images have been learned already."""
    return _kept(_place(dataset), dataset) is not None


def _place(dataset: Dataset) -> Path:
    return cache_folder() / "features" / f"own-{dataset.fingerprint[:16]}-v1.safetensors"


def shrinking(spec: ImageSpec) -> int:
    """The side of the blocks that are averaged so that no side is longer than 64 pixels."""
    return -(-max(spec.height, spec.width) // MOST_SIDE)


def _kept(path: Path, dataset: Dataset) -> tuple[Encoder, dict[str, Any]] | None:
    """What the cache holds for these data; None where that is nothing, or damaged."""
    try:
        encoder, about = load(path)
    except ValueError:
        return None
    says = (about.get("data"), about.get("digest"), encoder.settings.channels)
    sound = says == (dataset.fingerprint, digest(encoder), dataset.spec.channels)
    return (encoder, about) if sound else None


def _learned(
    path: Path, dataset: Dataset, on_step: OnStep | None
) -> tuple[Encoder, dict[str, Any]]:
    if len(dataset.train) < 2:
        raise LoangError(
            "Features can't be learned from a single training image.",
            "Add images, or choose --features pixels.",
        )
    spec, classes = dataset.spec, _classes(dataset.train)
    side = shrinking(spec)
    rows, columns = -(-spec.height // side), -(-spec.width // side)
    stride = 4 if max(rows, columns) > WIDE_SIDE else 2
    settings = EncoderSettings(spec.channels, classes, stride=stride)
    encoder = fresh(settings, seed=SEED)
    count = len(dataset.train)
    views = 1 if classes else 2
    most = int(WORK / views / multiplications(encoder, rows, columns))
    seen = min(most, max(LEAST_SEEN, EPOCHS * count))
    images = _shrunk(dataset.train, side, seen)
    # Few images are seen in small batches, so that there are a few hundred steps all the same.
    recipe = Recipe(images=seen, batch=min(128, max(16, min(count, seen // LEAST_STEPS))))
    if classes:
        # Classes may differ by left and right alone, as letters and digits do.
        recipe = replace(recipe, mirror=False)
        encoder = learn_classes(encoder, images, recipe, seed=SEED, on_step=on_step)
    else:
        recipe = replace(recipe, rate=2e-3, decay=1e-4)
        encoder = learn_views(encoder, images, recipe, seed=SEED, on_step=on_step)
    encoder = fuse(encoder)
    about = {
        "data": dataset.fingerprint,
        "digest": digest(encoder),
        "learned": "classes" if classes else "views",
        "images": len(images),
        "seen": seen,
        **_success(encoder, dataset.validation, side),
    }
    with contextlib.suppress(LoangError), replacing(path) as beside:  # it is only a cache
        save(beside, encoder, about, torch.float32)
    return encoder, about


def _classes(images: Images) -> int:
    """How many classes can be learned; 0 where fewer than two have enough images."""
    if images.labels is None:
        return 0
    counts = np.bincount(images.labels)
    if (counts >= PER_CLASS).sum() < 2:
        return 0
    return max(len(images.spec.class_names), len(counts))


def multiplications(encoder: Encoder, height: int, width: int) -> float:
    """Of one image's forward pass."""
    encoder.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        encoder(torch.zeros(1, encoder.settings.channels, height, width))
    return counter.get_total_flops() / 2


def _shrunk(images: Images, side: int, seen: int) -> Images:
    """The images to learn from, small, at their depth: as many as are seen and fit in memory."""
    if side == 1:
        return images
    height, width = -(-images.spec.height // side), -(-images.spec.width // side)
    most = min(len(images), seen, VALUES // (height * width * images.spec.channels))
    numbers = np.sort(order.batch(0, min(most, len(images)), len(images), SEED))
    spec = replace(images.spec, height=height, width=width)
    pixels = np.empty((most, height, width, spec.channels), spec.depth)
    for start in range(0, most, ROWS):
        chosen = numbers[start : start + ROWS]
        x = _averaged(Images(images[chosen], images.spec), side)
        pixels[start : start + ROWS] = to_pixels(x, spec)
    return Images(pixels, spec, None if images.labels is None else images.labels[numbers])


def _averaged(images: Images, side: int) -> Float[Tensor, "n c h w"]:
    x = to_model(images.pixels, images.spec)
    return avg_pool2d(x, side, ceil_mode=True, count_include_pad=False) if side > 1 else x


@torch.inference_mode()
def _success(encoder: Encoder, images: Images, side: int) -> dict[str, Any]:
    """How well it does on images that it has not learned from.

    A classifier: the share that it classifies right. Without labels: of the second views of some
    images, the share whose own first view is the nearest among the first views of all of them.
    """
    most = HELD_OUT if encoder.head is not None else MATCHED
    # Evenly spaced, as files are often in the order of their classes.
    numbers = np.unique(np.linspace(0, len(images) - 1, most).round().astype(np.int64))
    x = _averaged(Images(images[numbers], images.spec), side)
    if encoder.head is not None and images.labels is not None:
        scores = torch.cat([encoder.head(encoder(part)) for part in x.split(ROWS)])
        right = scores.argmax(1).numpy() == images.labels[numbers]
        return {"held_out": len(numbers), "accuracy": float(right.mean())}
    first, second = (
        encoder(viewed(x, seed=SEED, step=0, purpose=f"{name} held-out view")) for name in "ab"
    )
    found = torch.cdist(second.double(), first.double()).argmin(1)
    matched = (found == torch.arange(len(found))).double().mean()
    return {"held_out": len(numbers), "matched": float(matched)}
