"""The file of a model: weights as safetensors, and in its metadata, as JSON, all else.

A file may come from anybody, and from any older version of loang.
"""

import contextlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from loang import config, tensors, untrusted
from loang.build import build_denoiser, weight_shapes
from loang.config import Settings
from loang.data.spec import ImageSpec
from loang.denoiser import Denoiser
from loang.errors import LoangError
from loang.files import replacing

FORMAT = 1
"""Raised where older files can no longer be read as they are; `read` then mends each older one.

A file of each format lies in tests/fixtures/models, and the tests read all of them.
"""
_METADATA = "loang"
LOOKS = 3
"""At a file that is replaced while it is read, as a run that trains replaces its own."""
_WEIGHTS = ("F64", "F32", "F16", "BF16")
_FACTS: dict[type | tuple[type, ...], tuple[str, ...]] = {
    str: (
        *("loang", "torch", "data", "fingerprint", "hardware", "weights"),
        *("lengths", "started_from"),
        *("average_chosen_by", "guidance_chosen_by", "label_strength_chosen_by"),
    ),
    int: ("training_images", "validation_images", "steps", "images", "average_snapshots"),
    (int, float): (
        *("seconds", "loss", "validation_loss"),
        *("average_length", "average_error", "average_score"),
        *("guidance_set", "label_strength"),
    ),
}
"""Of what type these facts are, where a model has them."""


def write(
    path: Path,
    weights: Mapping[str, Tensor],
    settings: Settings,
    spec: ImageSpec,
    facts: Mapping[str, Any],
) -> None:
    """Whole, or not at all.

    Raises:
        LoangError: the disk is full, the place can't be written, or a weight is not finite.
    """
    if not _finite(weights):
        raise LoangError(
            f"{path} is not written: some of the model's weights are no numbers.",
            "Go on from a checkpoint with `loang train --resume`, or train again with a lower"
            " learning rate.",
        )
    about = json.dumps(describe(settings, spec, facts))
    with replacing(path) as beside:
        tensors.save(beside, weights, {_METADATA: about})


def describe(settings: Settings, spec: ImageSpec, facts: Mapping[str, Any]) -> dict[str, Any]:
    """All of a model but its weights, in plain values for JSON."""
    return {
        "format": FORMAT,
        "settings": settings.to_dict(),
        "images": spec.to_dict(),
        "facts": {name: _plain(value) for name, value in facts.items()},
    }


def understand(about: Mapping[str, Any], path: Path) -> tuple[Settings, ImageSpec, dict[str, Any]]:
    """The inverse of `describe`, for values that may come from anybody.

    Args:
        about: what a file says.
        path: of the file, for the message.

    Raises:
        ValueError: they describe no model.
        LoangError: they are of another format.
    """
    if about.get("format") != FORMAT:
        raise LoangError(
            f"{path} has the format {untrusted.shown(about.get('format'))};"
            f" this loang reads {FORMAT}.",
            "Use the version of loang that wrote it.",
        )
    spec = ImageSpec.from_dict(about.get("images"))
    return config.load(about.get("settings")), spec, _checked_facts(about.get("facts"))


def read(path: Path) -> tuple[Denoiser, ImageSpec, Settings, dict[str, Any]]:
    """What `write` was given, the weights in their denoiser, on the CPU.

    Raises:
        LoangError: the file is not one of loang's, is damaged, or does not fit in memory.
    """
    try:
        for _ in range(LOOKS - 1):
            with contextlib.suppress(tensors.Changed):
                return _read(path)
        return _read(path)
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise LoangError(
            f"{path} is not a model of loang's, or is damaged: {reason}.",
            "Name another file, or make this one again.",
        ) from error


def _read(path: Path) -> tuple[Denoiser, ImageSpec, Settings, dict[str, Any]]:
    stored = tensors.look(path)
    if _METADATA not in stored.metadata:
        raise ValueError("it says nothing of a model")
    about = untrusted.parse_json(stored.metadata[_METADATA])
    settings, spec, facts = understand(about, path)
    # Before anything is built: a few words can describe a network of any size.
    _check_weights(stored, weight_shapes(settings, spec))
    denoiser = build_denoiser(settings, spec)
    weights = stored.read()
    if not _finite(weights):
        raise ValueError("some of its weights are no numbers")
    denoiser.network.load_state_dict(weights)
    return denoiser, spec, settings, facts


def _check_weights(stored: tensors.Stored, expected: Mapping[str, tuple[int, ...]]) -> None:
    """Raises ValueError unless a file holds just the weights that its settings describe."""
    odd = sorted(stored.shapes.keys() ^ expected.keys())
    if odd:
        what = "is missing" if odd[0] in expected else "is one too many"
        raise ValueError(f"the weight {untrusted.shown(odd[0])} {what}")
    for name, shape in expected.items():
        if stored.shapes[name] != shape or stored.types[name] not in _WEIGHTS:
            raise ValueError(f"the weight {name} is not of the shape {shape}, or no real numbers")


def _checked_facts(facts: Any) -> dict[str, Any]:
    """Facts from a file, of the types that `write` was given."""
    if not isinstance(facts, dict):
        raise ValueError("its facts are no object with keys")
    for kinds, names in _FACTS.items():
        for name in names:
            value = facts.get(name)
            # JSON's true would pass for 1.
            if value is not None and (isinstance(value, bool) or not isinstance(value, kinds)):
                raise ValueError(f"its fact {name} is {untrusted.shown(value)}")
    return facts


def _finite(weights: Mapping[str, Tensor]) -> bool:
    return all(tensors.all_finite(weight.detach().cpu()) for weight in weights.values())


def _plain(value: Any) -> Any:
    """A fact for JSON, which has no NaN and no infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
