"""From a model to a pipeline's folder."""

import json
from importlib import resources
from pathlib import Path
from typing import Any

from loang import files, model_file, tensors
from loang.config import UNetSettings
from loang.errors import LoangError
from loang.files import MODEL
from loang.interop.arrival import check_free
from loang.interop.diffusers import limits, names, network, scheduler
from loang.interop.diffusers.folder import (
    CONFIG,
    CUSTOM,
    EXACT,
    INDEX,
    NOTES,
    OWN,
    SCHEDULER,
    WEIGHTS,
)
from loang.interop.diffusers.shift import WEIGHT, shifted
from loang.model import Model

VERSION = "0.30.0"
"""Of diffusers, whose keys these are: later ones read them too."""


def write(model: Model, out: Path) -> list[str]:
    """A folder that DDPMPipeline and DDIMPipeline open.

    Args:
        model: of a network and a schedule that diffusers has too.
        out: the folder; it must be new, or empty.

    Returns:
        Sentences on what diffusers does otherwise.

    Raises:
        LoangError: diffusers can't say the model; the folder is not empty; the disk refuses.
    """
    check_free(out)
    spec, settings = model.spec, model.settings
    unet, groups = limits.check(settings, spec, model.denoiser.network)
    assert isinstance(settings.network, UNetSettings)
    weights = {name: weight.detach().cpu().float() for name, weight in unet.state_dict().items()}
    if not all(map(tensors.all_finite, weights.values())):
        raise LoangError(
            "Some of the model's weights are no numbers.", "Take an earlier checkpoint."
        )
    if settings.schedule.counted_from == 1:
        with files.replacing(out / EXACT) as beside:
            tensors.save(beside, {WEIGHT: weights[WEIGHT]})
        weights[WEIGHT] = shifted(weights[WEIGHT], settings.network)
    with files.replacing(out / "unet" / WEIGHTS) as beside:
        tensors.save(beside, names.carry(weights), {"format": "pt"})
    _json(
        out / "unet" / CONFIG,
        network.CLASS,
        network.write(unet, settings.network, spec, groups),
    )
    _json(out / "scheduler" / SCHEDULER, "DDPMScheduler", scheduler.write(settings))
    if model.knows_labels:
        _code(out, "labelled_pipeline.py")
    described = model_file.describe(settings, spec, model.facts)
    files.write_text(out / NOTES, json.dumps(described, indent=2) + "\n")
    _json(
        out / INDEX,
        "DDPMPipeline",
        {"scheduler": ["diffusers", "DDPMScheduler"], "unet": ["diffusers", network.CLASS]},
    )
    return _differences(model)


def write_custom(model: Model, out: Path) -> None:
    """A folder with the model itself, and a pipeline for diffusers that asks loang for its images.

    Args:
        model: any.
        out: the folder; it must be new, or empty.

    Raises:
        LoangError: the folder is not empty; the disk refuses; a weight is no number.
    """
    check_free(out)
    model.save(out / MODEL)
    _code(out, "custom_pipeline.py")
    _json(out / INDEX, OWN, {"model_file": MODEL})


def _differences(model: Model) -> list[str]:
    """What a person should know who samples the model with diffusers' own pipelines."""
    said = []
    if model.knows_labels:
        count = len(model.spec.class_names)
        said.append(
            f"diffusers' own pipelines tell a network no labels; {CUSTOM} beside it does:"
            f" class_labels from 0 to {count - 1}"
            + (f", and {count} for none." if model.denoiser.hides_labels else ".")
        )
    if model.denoiser.clip:
        said.append(
            "DDIMPipeline draws what loang draws if it is given use_clipped_model_output=True."
        )
    if (model.spec.depth, model.spec.low, model.spec.high) != ("uint8", 0.0, 255.0):
        said.append(
            f"diffusers' 0..1 stands for the images' {model.spec.low:g}..{model.spec.high:g}."
        )
    return said


def _code(out: Path, name: str) -> None:
    """A pipeline of loang's, as it stands in the package."""
    code = resources.files("loang.interop.diffusers").joinpath(name)
    files.write_text(out / CUSTOM, code.read_text("utf-8"))


def _json(path: Path, kind: str, values: dict[str, Any]) -> None:
    content = {"_class_name": kind, "_diffusers_version": VERSION, **values}
    files.write_text(path, json.dumps(content, indent=2) + "\n")
