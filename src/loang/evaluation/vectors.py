"""Feature vectors of real images, kept between evaluations: they cost more than the measures."""

import contextlib
import hashlib
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Int64

from loang import tensors
from loang.data.environment import cache_folder
from loang.data.images import Images
from loang.errors import LoangError
from loang.files import replacing
from loang.metrics.features import Features

MOST_BYTES = 2**26  # of one file in the cache
_NAME = "features"


def vectors(
    features: Features,
    images: Images,
    fingerprint: str,
    part: str,
    rows: Int64[np.ndarray, " k"] | None = None,
) -> Float32[np.ndarray, "k d"]:
    """The feature vectors of real images, from the cache where they are there.

    Args:
        features: the space.
        images: a part of a data set.
        fingerprint: of the data set.
        part: which part: "train" or "held-out".
        rows: which images; None takes all. Only whole parts are kept in the cache.
    """
    # The same images can be shown in the range of one model, and in that of another.
    seen = f"{fingerprint}\n{images.spec.low!r} {images.spec.high!r}"
    place = _place(features, seen, part)
    kept = _read(place, (len(images), features.dimension))
    if kept is not None:
        return kept if rows is None else kept[rows]
    if rows is not None and len(rows) < len(images):
        return features(images[rows], images.spec)
    made = features(images.pixels, images.spec)
    if made.nbytes <= MOST_BYTES:
        with contextlib.suppress(LoangError), replacing(place) as beside:
            tensors.save(beside, {_NAME: torch.from_numpy(made)})
    return made if rows is None else made[rows]


def _place(features: Features, seen: str, part: str) -> Path:
    key = f"{features.name}\n{features.digest}\n{features.preprocessing}\n{seen}\n{part}"
    name = hashlib.sha256(key.encode()).hexdigest()[:24]
    return cache_folder() / "features" / f"{features.name}-{name}.safetensors"


def _read(place: Path, shape: tuple[int, int]) -> Float32[np.ndarray, "n d"] | None:
    try:
        stored = tensors.look(place)
        if dict(stored.shapes) != {_NAME: shape} or stored.types[_NAME] != "F32":
            return None
        return stored.read()[_NAME].numpy()
    except (OSError, ValueError):
        return None
