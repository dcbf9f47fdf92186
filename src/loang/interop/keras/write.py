"""A `.keras` file that any Keras 3 opens, and beside it a script that samples with it.

What Keras has no place for, how the model is sampled and what loang knows of it, lies in the same
file as `loang.json`; Keras passes it over, and `loang import keras` reads it (back.py).
"""

import io
import json
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from loang import model_file
from loang.errors import LoangError
from loang.extras import require
from loang.files import check_folder, replacing
from loang.interop.bare_network import Answers, BareNetwork, check_difference, difference
from loang.interop.departure import put_script
from loang.interop.keras import walk
from loang.interop.keras.build import Built, build
from loang.interop.keras.parts import PURPOSE
from loang.model import Model

SUFFIX = ".keras"
SCRIPT = "sample_with_keras.py"
MEMBER = "loang.json"
CONFIG, WEIGHTS = "config.json", "model.weights.h5"
"""Keras's own names of what is in the file."""
_NEWER = {"quantization_config", "input_axes", "output_axes", "ragged"}
"""What a config of Keras 3.15 says of layers, and one of 3.6 can't read."""
_CALLED = {
    "Conv2D": "conv2d",
    "Dense": "dense",
    "Embedding": "embedding",
    "GroupNormalization": "group_normalization",
    "LayerNormalization": "layer_normalization",
}
"""What Keras calls the layers of a class among its weights, counted from the second on."""


def write(model: Model, out: Path, *, steps: int | None = None) -> tuple[Path, Path | None]:
    """Write the model for Keras; returns the files: the model's, and the script's.

    Another file of the script's name is left as it is; None stands for the script then.

    Args:
        model: from `loang.load`.
        out: ends in .keras; what stands there is replaced.
        steps: of the walk that the script takes; None takes the model's own (walk.py).

    Raises:
        LoangError: the name does not end so, the place can't be written, Keras is not there, the
            network can't be said in Keras, or does not answer the same there, or the walk can't
            have so many steps.
    """
    if out.suffix != SUFFIX:
        raise LoangError(
            f"Keras reads no model from a file named {out.name}.", f"End its name in {SUFFIX}."
        )
    check_folder(out.parent)
    numbers = walk.numbers(model.denoiser, walk.chosen(model, steps))
    built = build(model.denoiser, model.spec)
    _check_function(built, model)
    about = model_file.describe(model.settings, model.spec, model.facts)
    about |= {"weights": places(built), "walk": numbers}
    with replacing(out) as beside:
        built.model.save(beside)
        with zipfile.ZipFile(beside) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        _check_places(members[WEIGHTS], built, about["weights"])
        members[CONFIG] = json.dumps(for_older(json.loads(members[CONFIG]))).encode("utf-8")
        members[MEMBER] = json.dumps(about).encode("utf-8")
        with zipfile.ZipFile(beside, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
    text = resources(__package__).joinpath("script.py").read_text(encoding="utf-8")
    return out, put_script(out.with_name(SCRIPT), text)


def places(built: Built) -> dict[str, str]:
    """Where each weight lies in Keras's file of weights, by its torch name.

    Keras files a layer under its class and its number among those, whatever its own name is.
    """
    counts: Counter[str] = Counter()
    folders: dict[int, str] = {}
    for layer in built.model.layers:
        kind = _CALLED.get(type(layer).__name__)
        if kind is not None:
            folders[id(layer)] = f"layers/{kind}" + f"_{counts[kind]}" * (counts[kind] > 0)
            counts[kind] += 1
    return {
        name: f"{folders[id(layer)]}/vars/{number}" for name, (layer, number) in built.homes.items()
    }


def for_older(config: Any) -> Any:
    """A config of Keras's without what its older versions can't read and newer ones don't need.

    That is settings that set nothing, and the names of operations, which are looked up by the
    name that stands beside their config.
    """
    if isinstance(config, list):
        return [for_older(each) for each in config]
    if not isinstance(config, dict):
        return config
    if str(config.get("module")).startswith("keras.src.ops"):
        own = {key: value for key, value in config["config"].items() if key != "name"}
        config = config | {"config": own}
    return {
        key: for_older(value)
        for key, value in config.items()
        if not (key in _NEWER and value in (None, False))
    }


def _check_function(built: Built, model: Model) -> None:
    """Whether Keras answers as torch does.

    Raises:
        LoangError: it does not.
    """
    reference = BareNetwork(model.denoiser)
    shapes = {each.name: tuple(each.shape[1:]) for each in built.model.inputs}

    def answers(inputs: Sequence[Tensor]) -> Answers:
        told = dict(zip(reference.inputs, inputs, strict=True))
        told["t"] = told.pop("condition")
        if "augmentation" in shapes:
            told["augmentation"] = torch.zeros(len(inputs[0]), *shapes["augmentation"])
        last = {
            name: (each.movedim(1, -1) if each.ndim == 4 else each).numpy()
            for name, each in told.items()
        }
        answer = torch.from_numpy(np.array(built.model.predict_on_batch(last))).movedim(-1, 1)
        if not reference.variance:
            return (answer,)
        prediction, variance = answer.chunk(2, dim=1)
        return prediction, (variance + 1) / 2

    found = difference(answers, reference, model)
    check_difference(found, "float32", f"Keras and {built.back_end}")


def _check_places(content: bytes, built: Built, where: Mapping[str, str]) -> None:
    """Whether every weight lies where the file says, to the last bit.

    Raises:
        LoangError: this version of Keras files them elsewhere.
    """
    h5py = require("h5py", extra="keras", purpose=PURPOSE)
    with h5py.File(io.BytesIO(content), "r") as stored:
        for name, (layer, number) in built.homes.items():
            found: Any = stored.get(where[name])
            own = layer.get_weights()[number]
            if found is None or not np.array_equal(np.asarray(found), own):
                raise LoangError(
                    "This version of Keras files the weights of a model as loang does not know.",
                    "Install one that it knows: pip install 'keras>=3.6,<3.16'.",
                )
