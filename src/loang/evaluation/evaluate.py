"""From images to a report: features, the table with its floor and ceilings, classes, copies."""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32

import loang
from loang import device
from loang.data.images import Dataset
from loang.errors import LoangError
from loang.evaluation.cast import LEAST, Cast
from loang.evaluation.classes import distances, look
from loang.evaluation.report import SUSPECTS, Report, Space
from loang.evaluation.subject import Subject
from loang.evaluation.table import Cell, column
from loang.evaluation.vectors import vectors
from loang.metrics.features import Features
from loang.metrics.memorisation import Memorisation, image_memorisation, memorisation
from loang.pictures.evaluation_page import Gallery

ALIGNED = "aligned pixels"
SHOWN = 100  # samples, at the most

OnStage = Callable[[str, int, int], None]
Vectors = Float32[np.ndarray, "n d"]


def evaluate(
    subject: Subject,
    dataset: Dataset,
    *,
    spaces: Sequence[Features],
    seed: int = 0,
    command: str = "",
    history: Sequence[Mapping[str, Any]] = (),
    on_stage: OnStage | None = None,
) -> Report:
    """Measure images against real ones.

    Args:
        subject: what is measured; 2 or more images.
        dataset: the real images; training ones are the reference, held-out ones the floor.
        spaces: to measure in; the report's sentences speak of the first.
        seed: of which real images play which part, and of all else that is drawn.
        command: what the person typed, for the report.
        history: of a run's checkpoints, to be shown with the rest.
        on_stage: told (what, done, in all).

    Raises:
        LoangError: too few images, or images that a space can't see.
    """
    start = time.monotonic()
    tell = on_stage or (lambda what, done, total: None)
    if len(subject.images) < LEAST:
        raise LoangError(
            f"{subject.name} holds too few images to measure ({len(subject.images)}).",
            "A distance needs at least 2, and a useful one some hundreds.",
        )
    cast = Cast.of(subject.images, dataset, seed)
    found, classes, copies = [], None, dict[str, Memorisation]()
    for position, space in enumerate(spaces):
        tell(f"measuring in {space.name}", position, len(spaces))
        samples = space(cast.samples.pixels, cast.samples.spec)
        by_class: list[tuple[Cell, Cell]] = []
        if position == 0:
            by_class = distances(space, cast, samples, seed)
            copies[space.name] = _copies(space, cast, samples)
            classes = look(space, cast, seed)
        found.append(_measure(space, cast, samples, by_class, seed))
    tell("looking for copies", 0, 1)
    copies[ALIGNED] = image_memorisation(
        cast.samples, dataset.train, dataset.validation, searched=cast.searched
    )
    tell("looking for copies", 1, 1)
    return Report(
        subject={"name": subject.name, "images": len(subject.images), **subject.about},
        data=cast.about(),
        spaces=found,
        copies=copies,
        classes=classes,
        provenance={
            "loang": loang.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "hardware": device.describe(torch.device("cpu"), None),
            "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "command": command,
            "seed": seed,
            "seconds": round(time.monotonic() - start, 1),
        },
        notices=[*dataset.notices, *subject.notices],
        gallery=_gallery(cast, copies[ALIGNED]),
        history=history,
    )


def _measure(
    space: Features,
    cast: Cast,
    samples: Vectors,
    by_class: Sequence[tuple[Cell, Cell]],
    seed: int,
) -> Space:
    """The table of one feature space: all actors against the reference."""
    data = cast.real.dataset
    reference = vectors(space, data.train, data.fingerprint, "train", cast.real.reference)
    seen = {
        name: samples if name == "samples" else space(images.pixels, images.spec)
        for name, images in cast.actors.items()
    }
    return Space(
        space.name,
        space.digest,
        space.preprocessing,
        space.dimension,
        space.about,
        {name: column(of, reference, seed) for name, of in seen.items()},
        by_class,
    )


def _copies(space: Features, cast: Cast, samples: Vectors) -> Memorisation:
    """Which samples are copies of training images, as far as a feature space sees it."""
    data = cast.real.dataset
    return memorisation(
        samples,
        vectors(space, data.train, data.fingerprint, "train", cast.searched),
        vectors(space, data.validation, data.fingerprint, "held-out"),
    )


def _gallery(cast: Cast, copies: Memorisation) -> Gallery:
    data, samples = cast.real.dataset, cast.samples
    worst = copies.order[:SUSPECTS]
    return Gallery(
        samples.pixels[:SHOWN],
        samples.pixels[worst],
        data.train[cast.searched[copies.neighbours[worst]]],
        data.spec,
    )
