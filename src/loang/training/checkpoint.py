"""Checkpoints: folders of safetensors and JSON that are whole, or do not exist.

A checkpoint is staged in a hidden sibling, every file flushed, the manifest (names, sizes,
SHA-256) written last, and moved to its place in one rename.
"""

import contextlib
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from loang import untrusted
from loang.errors import LoangError
from loang.files import flush, rename, sha256, write, writing
from loang.tensors import TooLarge, all_finite
from loang.tensors import read as read_tensors
from loang.tensors import save as save_tensors
from loang.training import inspection
from loang.training.folder import CHECKPOINT, MANIFEST, checkpoint_steps

FORMAT = 1
STATE = "state.json"
REPLACED, DELETED, ASIDE = ".replaced", ".deleted", "step-….damaged"


class Damaged(LoangError):
    """A checkpoint is not what was written; the one before it may be."""


@dataclass(frozen=True)
class Checkpoint:
    """All that a run needs to go on.

    Args:
        tensors: by file (`model`, `ema`, `optimizer`) and name.
        state: plain values: step, images, seconds, losses.
        apart: whether these tensors are copies already, in main memory, that nothing changes.
    """

    tensors: Mapping[str, Mapping[str, Tensor]]
    state: Mapping[str, Any]
    apart: bool = False


def size(checkpoint: Checkpoint) -> int:
    """Bytes that it takes on the disk, but for names and plain values."""
    return sum(t.nbytes for tensors in checkpoint.tensors.values() for t in tensors.values())


def snapshot(checkpoint: Checkpoint) -> Checkpoint:
    """A copy in memory of its own: training may go on while it is written.

    In the order of the file already, so that no thread but the one that trains computes.
    """
    if checkpoint.apart:
        return checkpoint

    def copied(tensor: Tensor) -> Tensor:
        return tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)

    tensors = {
        file: {name: copied(tensor) for name, tensor in each.items()}
        for file, each in checkpoint.tensors.items()
    }
    return Checkpoint(tensors, checkpoint.state)


def save(folder: Path, step: int, checkpoint: Checkpoint) -> Path:
    """Write `folder/step-NNNNNNNN`; returns its path. For the one writer of the run alone.

    Raises:
        LoangError: the disk is full, the folder can't be written, or a number is none; what was
            saved before is as it was.
    """
    place = folder / f"{CHECKPOINT}{step:08d}"
    stage = folder / f".{place.name}"
    _refuse_broken(checkpoint, step)
    try:
        with writing(place):
            tidy(folder)
            stage.mkdir(parents=True)
            written = {
                f"{name}.safetensors": save_tensors(stage / f"{name}.safetensors", tensors)
                for name, tensors in checkpoint.tensors.items()
            }
            written[STATE] = write(stage / STATE, [_json(checkpoint.state)])
            manifest = {
                "format": FORMAT,
                "step": step,
                "files": {name: asdict(each) for name, each in written.items()},
            }
            write(stage / MANIFEST, [_json(manifest)])
            flush(stage)
            if place.exists():  # the same step again: never without one of the two
                rename(place, _hidden(place, REPLACED))
            rename(stage, place)
            flush(folder)
    finally:
        with contextlib.suppress(OSError):  # what went wrong is told already
            tidy(folder)
    return place


def tidy(folder: Path) -> None:
    """Remove what a save or a deletion has left that did not come to its end.

    For the one writer of the run alone: what another is just writing looks the same.

    Raises:
        OSError: the system refuses.
    """
    for left in folder.glob(f".{CHECKPOINT}*") if folder.is_dir() else ():
        place = folder / left.name.removeprefix(".").removesuffix(REPLACED)
        if left.name.endswith(REPLACED) and not place.exists():
            rename(left, place)  # its successor never came
        else:
            # What can't be removed, as another program has it open, is only in the way where the
            # next checkpoint would be staged.
            shutil.rmtree(left, ignore_errors=left.name.endswith((REPLACED, DELETED)))


def load_newest(folder: Path) -> tuple[Checkpoint, int, list[str]]:
    """The newest checkpoint that is whole, its step, and what is wrong with newer ones.

    Raises:
        LoangError: there is none; or one may be whole, but can't be read now.
    """
    wrong: list[str] = []
    for step in reversed(checkpoint_steps(folder)):
        place = folder / f"{CHECKPOINT}{step:08d}"
        try:
            return load(place), step, wrong
        except Damaged as error:
            wrong.append(error.problem)
    raise LoangError(
        " ".join([f"There is no whole checkpoint in {folder}.", *wrong]),
        "Start again with --overwrite, or name another folder with --out.",
    )


def load(place: Path) -> Checkpoint:
    """The checkpoint there, every file's size and hash checked, and that they fit together.

    Raises:
        Damaged: a file is missing, cut or changed, or not what a run writes.
        LoangError: it may not be read, does not fit in memory, or is of another format.
    """
    remedy = "Delete this checkpoint, or restore it from a copy."
    try:
        manifest = untrusted.read_json(place / MANIFEST)
        if manifest.get("format") != FORMAT:
            raise LoangError(
                f"{place} has the format {untrusted.shown(manifest.get('format'))};"
                f" this loang reads {FORMAT}.",
                "Use the version of loang that wrote it.",
            )
        # Only what the manifest names is read, so a file put beside the others changes nothing.
        names = inspection.checked_files(manifest, STATE)
        for name, (size, digest) in names.items():
            file = place / name
            if file.stat().st_size != size or sha256(file) != digest:
                raise Damaged(f"{file} is not what was written there.", remedy)
        state = inspection.checked_state(untrusted.read_json(place / STATE))
        files = [place / name for name in sorted(names) if name != STATE]
        tensors = {file.stem: read_tensors(file) for file in files}
        inspection.check_tensors(tensors)
        return Checkpoint(tensors, state)
    except TooLarge as error:
        raise LoangError(
            f"{place} can't be read: {error}.", "Close other programs, or use a larger machine."
        ) from error
    except PermissionError as error:
        raise LoangError(
            f"{place} may not be read: {error.strerror}.", "Give yourself the right to read it."
        ) from error
    except (OSError, ValueError) as error:
        raise Damaged(f"{place} can't be read: {error}.", remedy) from error


def set_aside(folder: Path, above: int) -> None:
    """Rename the checkpoints of later steps: damaged, they would push out whole ones."""
    for step in checkpoint_steps(folder):
        if step > above:
            place = folder / f"{CHECKPOINT}{step:08d}"
            aside = place.with_name(f"{place.name}.damaged")
            with writing(aside):
                shutil.rmtree(aside, ignore_errors=True)
                rename(place, aside)


def rotate(folder: Path, keep: int, spared: Iterable[int] = ()) -> None:
    """Delete all but the newest `keep` checkpoints and those of the steps that are spared."""
    found = checkpoint_steps(folder)
    for step in set(found) - set(found[-max(keep, 1) :]) - set(spared):
        place = folder / f"{CHECKPOINT}{step:08d}"
        # Out of sight first, so that a deletion that is cut short leaves nothing that looks whole.
        with contextlib.suppress(OSError):
            rename(place, _hidden(place, DELETED))
            shutil.rmtree(_hidden(place, DELETED))


def _hidden(place: Path, ending: str) -> Path:
    return place.with_name(f".{place.name}{ending}")


def _json(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, indent=1, allow_nan=False).encode("utf-8")


def _refuse_broken(checkpoint: Checkpoint, step: int) -> None:
    for tensors in checkpoint.tensors.values():
        for name, tensor in tensors.items():
            if not all_finite(tensor):
                raise LoangError(
                    f"The checkpoint of step {step:,} is not written: {name} has values that are"
                    " no numbers.",
                    "Go on from the one before with --resume, with a lower learning rate.",
                )
