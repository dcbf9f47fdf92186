"""What `loang export keras` wrote, taken back: the same weights and settings, to the last bit.

The file is read as data, an archive of JSON and HDF5, and without Keras.
"""

import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from loang import build, model_file, tensors, untrusted, zipped
from loang.config import Settings
from loang.data.spec import ImageSpec
from loang.denoiser import Denoiser
from loang.errors import LoangError
from loang.interop.keras.archive import LARGEST_LIST
from loang.interop.keras.hdf5 import Hdf5
from loang.interop.keras.parts import keras_layout, torch_layout
from loang.interop.keras.write import MEMBER, WEIGHTS
from loang.model import Model

OVERHEAD = 2**20, 2**13
"""Bytes that Keras's HDF5 takes beside the numbers: at most so many, and so many a weight."""
_RANDOM = "/seed_generator/"
"""In the path of what Keras keeps of a dropout's random numbers, which are no weights."""


def is_own(path: Path) -> bool:
    """Whether a file looks like one that `loang export keras` wrote, which `read` takes."""
    try:
        with zipped.opened(path, most=LARGEST_LIST) as archive:
            return MEMBER in archive.namelist()
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile, struct.error):
        return False


def read(path: Path) -> Model:
    """The model that was exported, on the CPU; the file may come from anybody.

    Raises:
        LoangError: it is no such file, is damaged, or does not fit in memory.
    """
    try:
        with zipped.opened(path, most=LARGEST_LIST) as archive:
            text = _member(archive, path, MEMBER, untrusted.LARGEST_JSON).decode("utf-8")
            about = untrusted.parse_json(text)
            settings, spec, facts = model_file.understand(about, path)
            # Before anything is built: a few words can describe a network of any size.
            shapes = build.weight_shapes(settings, spec)
            numbers = sum(4 * torch.Size(shape).numel() for shape in shapes.values())
            most = numbers + OVERHEAD[0] + OVERHEAD[1] * len(shapes)
            stored = Hdf5.of(_member(archive, path, WEIGHTS, most))
        modules = _modules(settings, spec)
        places = _checked(about.get("weights"), stored, shapes, modules)
        denoiser = build.build_denoiser(settings, spec)
        _fill(denoiser, stored, places, modules)
    except (
        *(OSError, ValueError, RuntimeError, NotImplementedError, EOFError),
        *(zipfile.BadZipFile, struct.error),
    ) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise LoangError(
            f"{path} is not what loang wrote for Keras, or is damaged: {reason}.",
            "Name another file, or export the model again.",
        ) from error
    return Model(denoiser, spec, settings, facts)


def _member(archive: zipfile.ZipFile, path: Path, name: str, most: int) -> bytes:
    """A file within the file. Keras packs none, so none is larger than what holds it."""
    if name not in archive.namelist():
        raise ValueError(f"it has no {name}")
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"its {name} is packed, which Keras does not do")
    size = untrusted.plain_size(path, largest=tensors.LARGEST_FILE)
    if info.file_size > min(most, size):
        raise ValueError(f"its {name} has {info.file_size:,} bytes, more than it can have")
    with archive.open(info) as file:
        return file.read(info.file_size)


def _modules(settings: Settings, spec: ImageSpec) -> dict[str, nn.Module]:
    """The module of each weight, without memory for any."""
    with torch.device("meta"):
        network = build.build_network(settings, spec)
    return {name: network.get_submodule(name.rpartition(".")[0]) for name in network.state_dict()}


def _checked(
    places: Any,
    stored: Hdf5,
    shapes: Mapping[str, tuple[int, ...]],
    modules: Mapping[str, nn.Module],
) -> dict[str, str]:
    """Where each weight lies, if there are just those that the settings describe."""
    if not isinstance(places, dict) or not all(isinstance(v, str) for v in places.values()):
        raise ValueError("it does not say where its weights are")
    if odd := sorted(places.keys() ^ shapes.keys()):
        what = "is missing" if odd[0] in shapes else "is one too many"
        raise ValueError(f"the weight {untrusted.shown(odd[0])} {what}")
    left = {each for each in stored.arrays if _RANDOM not in f"/{each}"}
    for name, shape in shapes.items():
        place = places[name]
        if place not in left:
            raise ValueError(f"the weight {name} is missing, or is another one as well")
        left.remove(place)
        array = stored.arrays[place]
        # An array of one number, seen as one of this shape: no memory is asked for.
        wanted = keras_layout(modules[name], np.broadcast_to(np.float32(0), shape)).shape
        if array.shape != wanted or array.kind != "<f4":
            raise ValueError(f"the weight {name} is not of the shape {wanted}, or not float32")
    if left:
        raise ValueError(f"the array {untrusted.shown(min(left))} is one too many")
    return places


def _fill(
    denoiser: Denoiser,
    stored: Hdf5,
    places: Mapping[str, str],
    modules: Mapping[str, nn.Module],
) -> None:
    weights: dict[str, Tensor] = {}
    for name, place in places.items():
        value = np.array(torch_layout(modules[name], stored.read(place)), order="C")
        weights[name] = torch.from_numpy(value)
        if not tensors.all_finite(weights[name]):
            raise ValueError(f"the weight {name} is not all numbers")
    denoiser.network.load_state_dict(weights)
