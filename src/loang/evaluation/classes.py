"""What a classifier sees in the samples, what one learns from them, and the classes one by one."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float32, Int

from loang.data.images import Images
from loang.data.places.fashion_mnist import CLASS_NAMES
from loang.evaluation.cast import Cast
from loang.evaluation.report import Classes
from loang.evaluation.table import BY_NAME, Cell
from loang.evaluation.vectors import vectors
from loang.metrics.classes import (
    FEWEST,
    by_class,
    class_distance,
    class_shares,
    classifier_accuracy_score,
    label_accuracy,
)
from loang.metrics.estimate import Estimate
from loang.metrics.features import Features
from loang.metrics.features.fashion import NAME as FASHION
from loang.metrics.frechet import frechet_distance
from loang.metrics.rows import shuffled

FRECHET = replace(BY_NAME["frechet"], least=FEWEST)
LEARNING = 10  # images a class on average, below which nothing can be learnt from them


def look(space: Features, cast: Cast, seed: int) -> Classes | None:
    """Classes of the samples, as a space's classifier sees them; None where there is none.

    Args:
        space: of features; its classifier knows the classes of the real images.
        cast: who plays which part.
        seed: of the classifiers that learn from samples and from real images.
    """
    data = cast.real.dataset
    names = data.spec.class_names
    if not names or (space.name == FASHION and names != CLASS_NAMES):
        return None  # fashion-v1 knows clothes, and would take anything for them
    samples, floor = cast.actors["samples"], cast.actors["floor"]
    seen = space.classify(samples.pixels, samples.spec)
    seen_floor = space.classify(floor.pixels, floor.spec)
    if seen is None or seen_floor is None:
        return None
    each, accuracy = _accuracy(seen, samples.labels, len(names))
    asked: list[int] = []
    if samples.labels is not None:
        asked = np.bincount(samples.labels, minlength=len(names)).tolist()
    _, real_accuracy = _accuracy(seen_floor, floor.labels, len(names))
    score, real_score = _scores(cast, seed)
    return Classes(
        names=names,
        seen_by=space.name,
        shares=class_shares(seen, len(names)).tolist(),
        asked=asked,
        real_shares=class_shares(seen_floor, len(names)).tolist(),
        apart=class_distance(seen, seen_floor, len(names)),
        accuracy=accuracy,
        real_accuracy=real_accuracy,
        by_class=each,
        score=score,
        real_score=real_score,
    )


def distances(
    space: Features, cast: Cast, samples: Float32[np.ndarray, "n d"], seed: int
) -> list[tuple[Cell, Cell]]:
    """The Fréchet distance of each class, and of as many real images of it in their place.

    The floor's images are as many as the samples, but not in each class, and few images are far
    from the reference by their number alone. So held-out images are drawn class by class, and
    training images that the reference does without.

    Args:
        space: of features.
        cast: who plays which part.
        samples: their features.
        seed: of which real images are drawn.

    Returns:
        Nothing where samples or real images have no labels.
    """
    data, own = cast.real.dataset, cast.samples.labels
    train, held_out = data.train, data.validation
    if own is None or train.labels is None or held_out.labels is None:
        return []
    classes, spare = len(data.spec.class_names), cast.real.floor_train
    labels = np.concatenate([held_out.labels, train.labels[spare]])
    order = shuffled(len(labels), seed=seed, purpose="evaluation classes")
    rows = np.concatenate(
        [
            order[labels[order] == index][:count]
            for index, count in enumerate(np.bincount(own, minlength=classes))
        ]
    )
    real = np.concatenate(
        [
            vectors(space, held_out, data.fingerprint, "held-out"),
            vectors(space, train, data.fingerprint, "train", spare),
        ]
    )
    reference = vectors(space, train, data.fingerprint, "train", cast.real.reference)
    reference_labels = train.labels[cast.real.reference]

    def of(found: Float32[np.ndarray, "k d"], asked: Int[np.ndarray, " k"]) -> list[Cell]:
        counts = [np.bincount(which, minlength=classes) for which in (asked, reference_labels)]
        estimates: list[Estimate | None] = [None] * classes
        if len(asked):
            estimates = by_class(
                frechet_distance, found, asked, reference, reference_labels, classes
            )
        return [
            FRECHET.cell(estimate, int(count), space.dimension)
            for estimate, count in zip(estimates, np.minimum(*counts), strict=True)
        ]

    return list(zip(of(samples, own), of(real[rows], labels[rows]), strict=True))


def _accuracy(
    seen: Int[np.ndarray, " n"], asked: Int[np.ndarray, " n"] | None, classes: int
) -> tuple[list[Cell], Cell | None]:
    if asked is None:
        return [], None
    found = label_accuracy(seen, asked, classes)
    return [Cell(each) for each in found.classes], Cell(found.whole)


def _scores(cast: Cast, seed: int) -> tuple[Cell | None, Cell | None]:
    """The classifier accuracy scores of samples, and of as many of the reference's images."""
    data = cast.real.dataset
    samples = cast.actors["samples"]
    if samples.labels is None or data.train.labels is None or data.validation.labels is None:
        return None, None
    least = LEARNING * len(data.spec.class_names)
    if len(samples) < least:
        few = Cell(None, f"needs {least:,} images, not {len(samples):,}")
        return few, few
    rows = cast.real.reference[: len(samples)]
    peers = Images(data.train[rows], data.spec, data.train.labels[rows])

    def score(images: Images) -> Cell:
        assert images.labels is not None
        assert data.validation.labels is not None
        return Cell(
            classifier_accuracy_score(
                images.pixels,
                images.labels,
                data.validation.pixels,
                data.validation.labels,
                data.spec,
                seed=seed,
            )
        )

    return score(samples), score(peers)
