"""Samples by class: is each of the class that was asked for, does any class lack, is each good?"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, Int, Shaped

from loang.data.images import Images
from loang.data.resize import resize
from loang.data.scaling import to_model
from loang.data.spec import ImageSpec
from loang.metrics.estimate import Estimate, share
from loang.metrics.features.encoder import Encoder, EncoderSettings, fresh, fuse
from loang.metrics.features.learn import OnStep, Recipe, learn_classes

FEWEST = 50
"""Images of a class, on either side, from which on `by_class` measures it."""
SIDE = 32
"""Larger images are shrunk to this many pixels a side before a classifier learns from them."""
_DRAWS = 2000
_PIECE = 1000
_WIDTHS = (16, 32, 64)
_RECIPE = Recipe(images=20_000, batch=64, average=0.98, shift=0, mirror=False)


@dataclass(frozen=True)
class LabelAccuracy:
    """How often a classifier sees a sample as the class that was asked for.

    Its own mistakes are in it: beside it belongs the same number for real held-out images.

    Args:
        whole: over all samples.
        classes: over those of each class; None for a class that nobody asked for.
    """

    whole: Estimate
    classes: tuple[Estimate | None, ...]


@dataclass(frozen=True)
class ClassDistance:
    """How far the shares of classes lie apart.

    Args:
        distance: half the sum of the differences of shares (total variation), 0..1: the share of
            samples that would have to be of another class.
        floor: what chance alone gives on average for as many images of equal shares.
        p_value: how often chance alone gives this distance or more.
    """

    distance: Estimate
    floor: float
    p_value: float


def label_accuracy(
    predicted: Int[np.ndarray, " n"], labels: Int[np.ndarray, " n"], classes: int
) -> LabelAccuracy:
    """Predicted classes against those that were asked for.

    Raises:
        ValueError: no samples, or a label outside 0..classes-1.
    """
    _check(predicted, classes)
    _check(labels, classes)
    right = predicted == labels
    asked = np.bincount(labels, minlength=classes)
    met = np.bincount(labels[right], minlength=classes)
    return LabelAccuracy(
        whole=share(int(right.sum()), len(right)),
        classes=tuple(
            share(int(hits), int(count)) if count else None
            for hits, count in zip(met, asked, strict=True)
        ),
    )


def class_shares(
    predicted: Int[np.ndarray, " n"], classes: int
) -> Float64[np.ndarray, " {classes}"]:
    """The share of images in each class; they sum to 1.

    Raises:
        ValueError: no images, or a class outside 0..classes-1.
    """
    _check(predicted, classes)
    return np.bincount(predicted, minlength=classes) / len(predicted)


def class_distance(
    samples: Int[np.ndarray, " n"], reference: Int[np.ndarray, " m"], classes: int
) -> ClassDistance:
    """Between the classes of samples and of real images, both as the same classifier sees them.

    Error, floor and p-value are those of multinomial draws: the first of the shares as they are,
    the others of the shares of both together.

    Raises:
        ValueError: no images, or a class outside 0..classes-1.
    """
    ours, theirs = class_shares(samples, classes), class_shares(reference, classes)
    n, m = len(samples), len(reference)
    generator = np.random.Generator(np.random.Philox(0))

    def drawn(p: Float[np.ndarray, " c"], q: Float[np.ndarray, " c"]) -> Float[np.ndarray, " r"]:
        a = generator.multinomial(n, p, _DRAWS) / n
        b = generator.multinomial(m, q, _DRAWS) / m
        return np.abs(a - b).sum(axis=1) / 2

    value = float(np.abs(ours - theirs).sum() / 2)
    together = (n * ours + m * theirs) / (n + m)
    by_chance = drawn(together, together)
    reached = int((by_chance >= value - 1e-12).sum())
    return ClassDistance(
        distance=Estimate(value, float(drawn(ours, theirs).std()), within=(0.0, 1.0)),
        floor=float(by_chance.mean()),
        p_value=(reached + 1) / (_DRAWS + 1),
    )


def by_class(
    measure: Callable[[Float[np.ndarray, "n d"], Float[np.ndarray, "m d"]], Estimate],
    samples: Float[np.ndarray, "n d"],
    sample_labels: Int[np.ndarray, " n"],
    reference: Float[np.ndarray, "m d"],
    reference_labels: Int[np.ndarray, " m"],
    classes: int,
    *,
    fewest: int = FEWEST,
) -> list[Estimate | None]:
    """A measure such as `frechet_distance` of each class alone.

    Most measures depend on how many images there are: compare classes only with floors of their
    own.

    Args:
        measure: of two feature arrays.
        samples: features of generated images.
        sample_labels: the class of each.
        reference: features of real images.
        reference_labels: the class of each.
        classes: how many there are.
        fewest: images of a class, on either side, below which its entry is None.

    Raises:
        ValueError: a label outside 0..classes-1, or what the measure raises.
    """
    _check(sample_labels, classes)
    _check(reference_labels, classes)
    measured: list[Estimate | None] = []
    for index in range(classes):
        ours, theirs = samples[sample_labels == index], reference[reference_labels == index]
        enough = min(len(ours), len(theirs)) >= fewest
        measured.append(measure(ours, theirs) if enough else None)
    return measured


def classifier_accuracy_score(
    train_pixels: Shaped[np.ndarray, "n h w c"],
    train_labels: Int[np.ndarray, " n"],
    test_pixels: Shaped[np.ndarray, "m h w c"],
    test_labels: Int[np.ndarray, " m"],
    spec: ImageSpec,
    *,
    seed: int = 0,
    on_step: OnStep | None = None,
) -> Estimate:
    """Ravuri and Vinyals 2019: train a classifier on samples, and count what it gets right.

    Its ceiling is the same call with as many real images in place of the samples. A small network
    sees 20,000 images, repeats counted, however many there are, none larger than 32 pixels a side.
    The error is that of counting the test images; that another seed would have trained another
    classifier is not in it.

    Args:
        train_pixels: samples, in the spec's depth.
        train_labels: the class that was asked for, of each; classes may be missing.
        test_pixels: real images.
        test_labels: the class of each.
        spec: what the images are.
        seed: of the network's first weights, and of the order of images.
        on_step: told (step, steps) after each step of training.

    Raises:
        ValueError: no images, or a negative label.
    """
    classes = max(int(train_labels.max(initial=0)), int(test_labels.max(initial=0))) + 1
    _check(train_labels, classes)
    _check(test_labels, classes)
    images = _small(Images(train_pixels, spec, train_labels))
    encoder = fresh(EncoderSettings(spec.channels, classes, widths=_WIDTHS), seed=seed)
    trained = learn_classes(encoder, images, _RECIPE, seed=seed, on_step=on_step)
    predicted = _classify(fuse(trained), _small(Images(test_pixels, spec)))
    return share(int((predicted == test_labels).sum()), len(test_labels))


def _small(images: Images) -> Images:
    """At most SIDE pixels a side, so that the time is that of small images."""
    height, width = images.spec.height, images.spec.width
    scale = min(1.0, SIDE / max(height, width))
    return resize(images, max(1, round(scale * height)), max(1, round(scale * width)))


def _classify(encoder: Encoder, images: Images) -> Int[np.ndarray, " n"]:
    head = encoder.head
    assert head is not None
    found = []
    with torch.inference_mode():
        for start in range(0, len(images), _PIECE):
            x = to_model(images.pixels[start : start + _PIECE], images.spec)
            found.append(head(encoder(x)).argmax(dim=1).numpy())
    return np.concatenate(found)


def _check(labels: Int[np.ndarray, " n"], classes: int) -> None:
    if len(labels) == 0:
        raise ValueError("no images")
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"labels {labels.min()}..{labels.max()} are not all in 0..{classes - 1}")
