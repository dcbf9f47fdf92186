"""From a pipeline's folder to a model."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from loang import config, tensors
from loang.build import build_denoiser, weight_shapes
from loang.config import Settings, UNetSettings
from loang.data.spec import ImageSpec
from loang.errors import LoangError
from loang.interop.diffusers import names, network, notes, scheduler
from loang.interop.diffusers.folder import EXACT, NOTES, Pipeline, look, own_model
from loang.interop.diffusers.shift import WEIGHT, shifted
from loang.model import Model
from loang.untrusted import shown

_REAL = ("F64", "F32", "F16", "BF16")


def read(folder: Path, name: str) -> tuple[Model, list[str]]:
    """The model that a pipeline's folder holds, on the CPU.

    Args:
        folder: as diffusers saves one.
        name: what it is called, for what is noted of its origin.

    Returns:
        The model, and sentences on what is done otherwise than in diffusers.

    Raises:
        LoangError: it is none of diffusers', is damaged, or can't be said by loang; says why.
    """
    own = own_model(folder)
    if own is not None:
        return Model.load(own, on="cpu"), []
    pipeline = look(folder)
    kept = notes.read(pipeline)
    said: list[str] = []
    if kept is None:
        if pipeline.notes is not None:
            said.append(f"{NOTES} describes another model than the one in the folder: not read.")
        settings, spec, of_walks = _described(pipeline)
        said.extend(of_walks)
        facts = {"data": f"unknown: imported from diffusers, {shown(name)}"}
    else:
        settings, spec, facts = kept.settings, kept.spec, kept.facts
    try:
        shapes = weight_shapes(settings, spec)
        weights = names.bring(shapes, _weights(pipeline.weights, shapes))
        if kept is not None and settings.schedule.counted_from == 1:
            settings, weights = _turned_back(pipeline, settings, weights)
        denoiser = build_denoiser(settings, spec)
        denoiser.network.load_state_dict(weights)
    except (OSError, ValueError, RuntimeError, OverflowError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise LoangError(
            f"The weights of {folder} are not those of its network, or are damaged: {reason}.",
            "Fetch or save the pipeline again.",
        ) from error
    return Model(denoiser, spec, settings, facts), said


def _described(pipeline: Pipeline) -> tuple[Settings, ImageSpec, tuple[str, ...]]:
    """Settings and images of a model that diffusers alone describes."""
    found = network.read(pipeline.network)
    walk = scheduler.read(pipeline.scheduler, learns_variance=found.answers == 2 * found.channels)
    height, width = found.size
    images = {
        "height": height,
        "width": width,
        "channels": found.channels,
        "class_names": [str(number) for number in range(min(found.classes, 2**17))],
    }
    try:
        spec = ImageSpec.from_dict(images)
    except ValueError as error:
        raise LoangError(
            f"The images of this network can't be: {error}.", "Name another pipeline."
        ) from error
    plain = Settings().to_dict()
    settings = config.load(
        {
            **plain,
            "data": {**plain["data"], "size": [height, width], "channels": found.channels},
            "network": {**plain["network"], **found.settings},
            "schedule": {**plain["schedule"], **walk.schedule},
            "denoiser": {**plain["denoiser"], **walk.denoiser},
            "sampling": {**plain["sampling"], **walk.sampling},
            "training": {**plain["training"], "label_dropout": 0.0},
        }
    )
    return settings, spec, walk.notices


def _weights(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """The weights of a file, by diffusers' current names: just those that a network has.

    Args:
        path: of the file.
        shapes: of loang's weights, by name.

    Raises:
        ValueError: one is missing, one too many, of another shape, or no number.
    """
    stored = tensors.look(path)
    current = {names.current(name): name for name in stored.shapes}
    if len(current) < len(stored.shapes):
        raise ValueError("a weight is there by its old name and by its new one")
    expected = {theirs: pair.shape for pair in names.pairs(shapes) for theirs in pair.theirs}
    odd = sorted(current.keys() ^ expected.keys())
    if odd:
        what = "is missing" if odd[0] in expected else "is one too many"
        raise ValueError(f"the weight {shown(odd[0])} {what}")
    for name, shape in expected.items():
        there, kind = stored.shapes[current[name]], stored.types[current[name]]
        # Ho et al.'s layers that mix channels were kept as convolutions of 1x1 for a while.
        plain = there[: len(shape)] if set(there[len(shape) :]) <= {1} else there
        if plain != shape or kind not in _REAL:
            raise ValueError(f"the weight {name} is not of the shape {shape}, or no real numbers")
    read = stored.read()
    weights = {name: read[current[name]].float().reshape(shape) for name, shape in expected.items()}
    if not all(tensors.all_finite(weight) for weight in weights.values()):
        raise ValueError("some of them are no numbers")
    return weights


def _turned_back(
    pipeline: Pipeline, settings: Settings, weights: dict[str, Tensor]
) -> tuple[Settings, dict[str, Tensor]]:
    """The weights that were turned for diffusers (shift.py), as they were before, to the last bit.

    Where they have been trained on since, they stay turned: then the network counts from 0.
    """
    path = pipeline.folder / EXACT
    if path.exists():
        stored = tensors.look(path)
        if dict(stored.shapes) == {WEIGHT: tuple(weights[WEIGHT].shape)}:
            exact = stored.read()[WEIGHT].float()
            assert isinstance(settings.network, UNetSettings)
            if torch.equal(shifted(exact, settings.network), weights[WEIGHT]):
                return settings, {**weights, WEIGHT: exact}
    schedule = settings.schedule.model_copy(update={"counted_from": 0})
    return settings.model_copy(update={"schedule": schedule}), weights
