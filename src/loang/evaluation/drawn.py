"""Samples of a model for measuring, drawn in parts that are kept, so that they can be gone on with.

Sample i is the same whatever else is drawn, so a part on the disk is as good as a new one.
"""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64, Shaped

from loang import helping
from loang.config import SamplingSettings
from loang.data.images import Images
from loang.data.places.npy import map_npy
from loang.files import replacing
from loang.identity import samples_name
from loang.model import Model
from loang.shares import labels_like

PART = 256  # images a file

OnStep = Callable[[int, int], None]


def draw(
    model: Model,
    count: int,
    folder: Path | None,
    *,
    seed: int,
    sampling: SamplingSettings,
    shares: Float[np.ndarray, " classes"] | None = None,
    batch: int = 64,
    guide: Model | None = None,
    on_step: OnStep | None = None,
) -> Images:
    """The samples number 0..count-1 of a model, with the labels that were asked of it.

    Args:
        model: what draws them.
        count: how many; 1 or more.
        folder: parts are kept in a subfolder named for all that decides a sample; None keeps none.
        seed: of the noise.
        sampling: sampler and steps.
        shares: of the classes, for a model that knows them; None takes them equal.
        batch: how many are drawn at once.
        guide: a worse model that guides it.
        on_step: called with (images done, images in all).

    Raises:
        LoangError: the disk is full, or the folder can't be written.
    """
    labels = None
    if model.knows_labels:
        classes = len(model.spec.class_names)
        labels = labels_like(np.ones(classes) if shares is None else shares, count)
    place = None
    if folder:
        decided = None if shares is None else [float(share) for share in shares]
        place = folder / samples_name(model, seed, sampling, decided, guide)
    parts = []
    for first in range(0, count, PART):
        wanted = min(PART, count - first)
        kept = _read(place, first, model)[:wanted]
        if len(kept) < wanted:
            more = _draw(
                model,
                range(first + len(kept), first + wanted),
                seed=seed,
                sampling=sampling,
                labels=labels,
                batch=batch,
                guide=guide,
                on_step=_from(on_step, first + len(kept), count),
            )
            kept = np.concatenate([kept, more])
            if place:
                with replacing(_part(place, first)) as beside, beside.open("wb") as file:
                    np.save(file, kept, allow_pickle=False)
        parts.append(kept)
    return Images(np.concatenate(parts), model.spec, labels)


def _draw(
    model: Model,
    numbers: range,
    *,
    seed: int,
    sampling: SamplingSettings,
    labels: Int64[np.ndarray, " n"] | None,
    batch: int,
    guide: Model | None,
    on_step: OnStep | None,
) -> Shaped[np.ndarray, "k h w c"]:
    chosen = None if labels is None else torch.from_numpy(labels[numbers.start : numbers.stop])
    return helping.sample(
        model,
        len(numbers),
        seed=seed,
        sampling=sampling,
        labels=chosen,
        first=numbers.start,
        batch=min(batch, math.ceil(PART / helping.helpers())),
        guide=guide,
        on_step=on_step,
    )


def _part(place: Path, first: int) -> Path:
    return place / f"{first:08d}.npy"


def _read(place: Path | None, first: int, model: Model) -> Shaped[np.ndarray, "k h w c"]:
    """What is kept of a part; nothing of one that is missing or damaged."""
    spec = model.spec
    shape = (spec.height, spec.width, spec.channels)
    nothing = np.empty((0, *shape), spec.depth)
    if place is None:
        return nothing
    try:
        # Through a map, so that a header decides no memory; then copied, so that it may be cut.
        kept = map_npy(_part(place, first))
    except (OSError, ValueError, EOFError):
        return nothing
    sound = kept.shape[1:] == shape and len(kept) <= PART and kept.dtype == spec.depth
    return np.array(kept) if sound else nothing


def _from(on_step: OnStep | None, done: int, count: int) -> OnStep | None:
    """Progress over all images, told by the steps of one part of them."""
    if on_step is None:
        return None
    part = min(PART - done % PART, count - done)
    return lambda step, total: on_step(done + part * step // total, count)
