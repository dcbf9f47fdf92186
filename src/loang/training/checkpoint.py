"""Checkpoints: folders of safetensors and JSON that are whole, or do not exist.

A checkpoint is staged in a hidden sibling, every file flushed, the manifest (names, sizes,
SHA-256) written last, and moved to its place in one rename.
"""

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from loang.errors import LoangError
from loang.files import flush, sha256, writing
from loang.tensors import save as save_tensors
from loang.training.folder import CHECKPOINT, MANIFEST, checkpoint_steps

FORMAT = 1
STATE = "state.json"


@dataclass(frozen=True)
class Checkpoint:
    """All that a run needs to go on.

    Args:
        tensors: by file (`model`, `ema`, `optimizer`) and name.
        state: plain values: step, images, seconds, losses.
    """

    tensors: Mapping[str, Mapping[str, Tensor]]
    state: Mapping[str, Any]


def save(folder: Path, step: int, checkpoint: Checkpoint) -> Path:
    """Write `folder/step-NNNNNNNN`; returns its path.

    Raises:
        LoangError: the disk is full, or the folder can't be written; nothing is lost.
    """
    place = folder / f"{CHECKPOINT}{step:08d}"
    stage = folder / f".{place.name}"
    try:
        with writing(place):
            shutil.rmtree(stage, ignore_errors=True)
            stage.mkdir(parents=True)
            for name, tensors in checkpoint.tensors.items():
                save_tensors(stage / f"{name}.safetensors", tensors)
            (stage / STATE).write_text(json.dumps(checkpoint.state, indent=1), encoding="utf-8")
            files = sorted(stage.iterdir())
            for file in files:
                flush(file)
            manifest = {
                "format": FORMAT,
                "step": step,
                "files": {
                    file.name: {"size": file.stat().st_size, "sha256": sha256(file)}
                    for file in files
                },
            }
            (stage / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
            flush(stage / MANIFEST)
            flush(stage)
            shutil.rmtree(place, ignore_errors=True)
            stage.replace(place)
            flush(folder)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return place


def load_newest(folder: Path) -> tuple[Checkpoint, int, list[str]]:
    """The newest checkpoint that is whole, its step, and what is wrong with newer ones.

    Raises:
        LoangError: there is none.
    """
    wrong: list[str] = []
    for step in reversed(checkpoint_steps(folder)):
        place = folder / f"{CHECKPOINT}{step:08d}"
        try:
            return load(place), step, wrong
        except LoangError as error:
            wrong.append(error.problem)
    raise LoangError(
        " ".join([f"There is no whole checkpoint in {folder}.", *wrong]),
        "Start again with --overwrite, or name another folder with --out.",
    )


def load(place: Path) -> Checkpoint:
    """The checkpoint there, every file's size and hash checked.

    Raises:
        LoangError: a file is missing, cut or changed.
    """
    remedy = "Delete this checkpoint, or restore it from a copy."
    try:
        manifest = json.loads((place / MANIFEST).read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT:
            raise LoangError(
                f"{place} has the format {manifest['format']}; this loang reads {FORMAT}.",
                "Use the version of loang that wrote it.",
            )
        for name, facts in manifest["files"].items():
            file = place / name
            if file.stat().st_size != facts["size"] or sha256(file) != facts["sha256"]:
                raise LoangError(f"{file} is not what was written there.", remedy)
        tensors = {file.stem: load_file(file) for file in sorted(place.glob("*.safetensors"))}
        return Checkpoint(tensors, json.loads((place / STATE).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise LoangError(f"{place} can't be read: {error}.", remedy) from error


def set_aside(folder: Path, above: int) -> None:
    """Rename the checkpoints of later steps: damaged, they would push out whole ones."""
    for step in checkpoint_steps(folder):
        if step > above:
            place = folder / f"{CHECKPOINT}{step:08d}"
            aside = place.with_name(f"{place.name}.damaged")
            with writing(aside):
                shutil.rmtree(aside, ignore_errors=True)
                place.rename(aside)


def rotate(folder: Path, keep: int, best: Iterable[int] = ()) -> None:
    """Delete all but the newest `keep` checkpoints and the best; the newest always stays."""
    found = checkpoint_steps(folder)
    for step in set(found) - set(found[-max(keep, 1) :]) - set(best):
        shutil.rmtree(folder / f"{CHECKPOINT}{step:08d}", ignore_errors=True)
