"""What a classifier sees in the samples, and what a classifier learns from them."""

import numpy as np
from jaxtyping import Int

from loang.data.fashion_mnist import CLASS_NAMES
from loang.data.images import Images
from loang.evaluation.cast import Cast
from loang.evaluation.report import Classes
from loang.evaluation.table import Cell
from loang.metrics.classes import (
    class_distance,
    class_shares,
    classifier_accuracy_score,
    label_accuracy,
)
from loang.metrics.features import Features
from loang.metrics.features.fashion import NAME as FASHION

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
    by_class, accuracy = _accuracy(seen, samples.labels, len(names))
    _, real_accuracy = _accuracy(seen_floor, floor.labels, len(names))
    score, real_score = _scores(cast, seed)
    return Classes(
        names=names,
        seen_by=space.name,
        shares=class_shares(seen, len(names)).tolist(),
        real_shares=class_shares(seen_floor, len(names)).tolist(),
        apart=class_distance(seen, seen_floor, len(names)),
        accuracy=accuracy,
        real_accuracy=real_accuracy,
        by_class=by_class,
        score=score,
        real_score=real_score,
    )


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
