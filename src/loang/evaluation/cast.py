"""Who plays which part: samples, and in their place real images, a pixel Gaussian, and noise."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from loang import random
from loang.data.images import Dataset, Images
from loang.data.scaling import to_model, to_pixels
from loang.data.spec import ImageSpec
from loang.errors import LoangError
from loang.metrics.rows import shuffled

REFERENCE = 10_000  # images at the most
ROWS = 1024  # images looked at at once
LEAST = 2  # a variance needs two
SEARCHED = 100_000  # training images, at the most, among which originals of copies are looked for
VALUES = 2**24  # pixels at once, 64 MB in single precision
GAUSSIAN = 4000  # images that the pixel Gaussian is made of, at the most,
GAUSSIAN_PRODUCTS = 2e12  # multiplications that drawing it may take,
GAUSSIAN_VALUES = 2**27  # and pixels of those images


@dataclass(frozen=True)
class Real:
    """Which real images play which part.

    Args:
        reference: row numbers of `dataset.train` that everything is measured against.
        floor_train: row numbers of `dataset.train`, none of the reference's, and
        floor_held_out: of `dataset.validation`: real images in the place of samples. A model
            that is as good as the data itself measures as they do.
        dataset: where they are from.
    """

    dataset: Dataset
    reference: Int64[np.ndarray, " m"]
    floor_train: Int64[np.ndarray, " a"]
    floor_held_out: Int64[np.ndarray, " b"]

    @property
    def floor(self) -> Images:
        """The images of the floor, held-out ones first."""
        train, held_out = self.dataset.train, self.dataset.validation
        pixels = np.concatenate([held_out[self.floor_held_out], train[self.floor_train]])
        labels = None
        if train.labels is not None and held_out.labels is not None:
            labels = np.concatenate(
                [held_out.labels[self.floor_held_out], train.labels[self.floor_train]]
            )
        return Images(pixels, train.spec, labels)


def choose(dataset: Dataset, count: int, seed: int) -> Real:
    """Reference and floor for `count` samples.

    The floor takes held-out images. Where they are fewer than the samples, training images that
    the reference then does without fill it up, up to half of them: the smaller the sample, the
    larger the floor, so a floor of fewer images would be unfair to the model.

    Raises:
        LoangError: there are too few images to measure against.
    """
    train, held_out = len(dataset.train), len(dataset.validation)
    if train < LEAST or train + held_out <= 2 or not dataset.apart:
        raise LoangError(
            f"{dataset.name} has too few images to measure against"
            f" ({train:,} to learn from, {held_out:,} held out).",
            "Name a data set of at least a few dozen different images.",
        )
    pieces = (dataset.train[start : start + ROWS] for start in range(0, train, ROWS))
    if all((piece == dataset.train[:1]).all() for piece in pieces):
        raise LoangError(
            f"All {train:,} training images of {dataset.name} are the same.",
            "Nothing can be measured against a single image: name another data set.",
        )
    order = shuffled(train, seed=seed, purpose="evaluation reference")
    from_held_out = shuffled(held_out, seed=seed, purpose="evaluation floor")[:count]
    short = min(count - len(from_held_out), train // 2)
    rest = min(train - short, REFERENCE)
    return Real(dataset, order[:rest], order[train - short :], from_held_out)


def gaussian(images: Images, count: int, seed: int) -> Images:
    """Images of a normal distribution with the pixels' own mean and covariance.

    What a model must beat: it knows how any two pixels go together, and nothing else. Drawn as
    mean + Xᵀz / sqrt(m - 1) with the m centred images X and z ~ N(0, I), which has the covariance
    of those images exactly (4,000 at the most), and needs no d x d matrix.
    """
    size = int(np.prod(images.spec.shape))
    most = int(min(GAUSSIAN, GAUSSIAN_PRODUCTS / (count * size), GAUSSIAN_VALUES / size))
    # Not the first: a folder's images lie class by class.
    rows = shuffled(len(images), seed=seed, purpose="evaluation gaussian images")
    x = to_model(images[np.sort(rows[: max(most, LEAST)])], images.spec).flatten(1)
    mean = x.mean(0)
    x -= mean
    x /= max(len(x) - 1, 1) ** 0.5

    def drawn(indices: Tensor) -> Float[Tensor, "n c h w"]:
        z = random.normal(
            (len(x),), seed=seed, purpose="evaluation gaussian", step=0, indices=indices
        )
        return (z @ x + mean).unflatten(1, images.spec.shape)

    parts = _indices(count, max(size, len(x)))
    return _images(images.spec, (drawn(indices) for indices in parts))


def noise(spec: ImageSpec, count: int, seed: int) -> Images:
    """Standard normal noise in the network's range: where every walk starts."""
    return _images(
        spec,
        (
            random.normal(
                spec.shape, seed=seed, purpose="evaluation noise", step=0, indices=indices
            )
            for indices in _indices(count, int(np.prod(spec.shape)))
        ),
    )


@dataclass(frozen=True)
class Cast:
    """Who plays which part: samples, and in their place real images, a Gaussian, noise.

    Args:
        samples: what is measured.
        real: which real images are reference and floor.
        actors: images by the name of their column, all measured against the reference.
        searched: row numbers of the training images that copies may have come from.
    """

    samples: Images
    real: Real
    actors: Mapping[str, Images]
    searched: Int64[np.ndarray, " s"]

    @classmethod
    def of(cls, samples: Images, dataset: Dataset, seed: int) -> "Cast":
        """The parts, for that many samples."""
        chosen = choose(dataset, len(samples), seed)
        actors = {
            "samples": samples,
            "floor": chosen.floor,
            "gaussian": gaussian(dataset.train, len(samples), seed),
            "noise": noise(dataset.spec, len(samples), seed),
        }
        everything = shuffled(len(dataset.train), seed=seed, purpose="evaluation search")
        return cls(samples, chosen, actors, np.sort(everything[:SEARCHED]))

    def about(self) -> dict[str, Any]:
        """Names and numbers of the real images, for the report."""
        data = self.real.dataset
        return {
            "name": Path(data.name).name or data.name,
            "source": data.name,
            "fingerprint": data.fingerprint,
            "images": data.spec.to_dict(),
            "training_images": len(data.train),
            "held_out_images": len(data.validation),
            "reference": len(self.real.reference),
            "floor_held_out": len(self.real.floor_held_out),
            "floor_train": len(self.real.floor_train),
            "searched_for_copies": len(self.searched),
        }


def _indices(count: int, size: int) -> Iterator[Tensor]:
    rows = max(1, VALUES // (4 * size))  # random numbers take four times the room
    for start in range(0, count, rows):
        yield torch.arange(start, min(start + rows, count))


def _images(spec: ImageSpec, parts: Iterator[Float[Tensor, "n c h w"]]) -> Images:
    pixels = np.concatenate([to_pixels(part, spec) for part in parts])
    return Images(pixels, replace(spec, class_names=()))
