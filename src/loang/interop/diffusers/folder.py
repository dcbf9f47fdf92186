"""The files of a pipeline's folder, as diffusers lays them out now and did at first."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loang import untrusted
from loang.errors import LoangError
from loang.files import MODEL
from loang.interop.diffusers.network import CLASS
from loang.untrusted import shown

INDEX = "model_index.json"
CONFIG = "config.json"
SCHEDULER = "scheduler_config.json"
WEIGHTS = "diffusion_pytorch_model.safetensors"
PICKLE = "diffusion_pytorch_model.bin"
NOTES = "loang.json"
"""What a model of loang's is, in its own words, beside what diffusers reads."""
EXACT = "loang.safetensors"
"""The weights that were turned for diffusers, as they were."""
CUSTOM = "pipeline.py"
OWN = "LoangPipeline"
"""The class in that file, of pipelines that hold a model of loang's as it is."""
PARTS = {"unet", "scheduler"}
LARGEST = 2**20
"""Bytes of one of these texts."""
FILES = (
    *(INDEX, CONFIG, SCHEDULER, WEIGHTS, NOTES, EXACT),
    *(f"unet/{CONFIG}", f"unet/{WEIGHTS}", f"scheduler/{SCHEDULER}"),
)
"""All that is ever read of a folder."""


@dataclass(frozen=True)
class Pipeline:
    """What a folder holds; no weight is read yet.

    Args:
        folder: of the pipeline.
        network: the configuration of its UNet2DModel.
        scheduler: the configuration of its scheduler.
        weights: the file of the network's weights.
        notes: loang's own description of it, if loang wrote it.
    """

    folder: Path
    network: dict[str, Any]
    scheduler: dict[str, Any]
    weights: Path
    notes: dict[str, Any] | None


def look(folder: Path) -> Pipeline:
    """What a pipeline's folder holds.

    Raises:
        LoangError: it is none of diffusers', of other parts than a network and a scheduler, or
            damaged.
    """
    if (folder / INDEX).exists():
        _check_index(_json(folder / INDEX))
    network = folder / "unet" if (folder / "unet" / CONFIG).exists() else folder
    config = _json(network / CONFIG)
    kind = config.get("_class_name", CLASS)
    if kind != CLASS:
        raise LoangError(
            f"The network of {folder} is of diffusers' class {shown(kind)}, not {CLASS}.",
            f"Name a pipeline of images whose network is a {CLASS}.",
        )
    place = folder / "scheduler" / SCHEDULER
    scheduler = _json(place if place.exists() else folder / SCHEDULER)
    weights = network / WEIGHTS
    if not weights.exists():
        check_weights(str(folder), [path.name for path in network.iterdir()])
    notes = _json(folder / NOTES) if (folder / NOTES).exists() else None
    return Pipeline(folder, config, scheduler, weights, notes)


def own_model(folder: Path) -> Path | None:
    """The file of loang's own, in a folder that `write_custom` wrote.

    Raises:
        LoangError: the folder's index is damaged.
    """
    if not (folder / INDEX).exists() or _json(folder / INDEX).get("_class_name") != OWN:
        return None
    return folder / MODEL


def check_weights(where: str, names: list[str]) -> None:
    """Whether there is a file of weights that can be read as data.

    Raises:
        LoangError: there is none.
    """
    if WEIGHTS in names:
        return
    if PICKLE in names:
        raise LoangError(
            f"The weights of {where} are only there as {PICKLE}, a pickle, which can run code.",
            f"Where you trust it, let diffusers write them as {WEIGHTS}:"
            " DDPMPipeline.from_pretrained(...).save_pretrained(...).",
        )
    raise LoangError(
        f"{where} has no {WEIGHTS}.", "Name the folder of a pipeline that diffusers has saved."
    )


def _check_index(index: dict[str, Any]) -> None:
    """Raises LoangError unless a pipeline has just a network of pixels and a scheduler."""
    parts = {key for key in index if not key.startswith("_")}
    if parts != PARTS:
        odd = sorted(parts ^ PARTS)[0]
        what = "has no" if odd in PARTS else "has a part"
        raise LoangError(
            f"This pipeline {what} {shown(odd)}, and loang's models are of pixels alone: a network"
            " and its schedule.",
            "Name a pipeline of the kind of DDPMPipeline or DDIMPipeline.",
        )


def _json(path: Path) -> dict[str, Any]:
    try:
        return untrusted.read_json(path, largest=LARGEST)
    except FileNotFoundError:
        raise LoangError(
            f"There is no {path.name} in {path.parent}.",
            "Name the folder of a pipeline that diffusers has saved.",
        ) from None
    except (OSError, ValueError) as error:
        raise LoangError(
            f"{path} can't be read: {shown(str(error)).rstrip('.')}.",
            "Fetch or save the pipeline again.",
        ) from error
