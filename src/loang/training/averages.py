"""Snapshots of averages of the weights, kept over a run; and averages of other lengths from them.

Karras et al. 2024 (EDM2), section 3.2: how long an average is best is known only when training is
over, and few snapshots of two lengths are enough to make one of any length then.

averages/step-NNNNNNNN.safetensors   both averages as they were at that step
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from loang import tensors, untrusted
from loang.config.sections import LONGEST, SHORTEST
from loang.errors import LoangError
from loang.files import replacing, writing
from loang.training.ema import MODEL_AVERAGE, Ema, PowerDecay
from loang.training.inspection import LARGEST_COUNT, MOST_STEPS
from loang.training.profiles import NEAR, Profile, fit, reachable

FORMAT = 1
_METADATA = "loang"
_NAME = "step-"
_TYPES = ("F64", "F32", "F16", "BF16")
_ABOUT: Mapping[str, tuple[type, ...]] = {"images": (int,), "seconds": (int, float)}
MOST_LENGTHS = 4
ROUNDED = 0.2
"""Of a type's epsilon: the root mean square of what is rounded away, relative to a value."""
COARSE = 0.01
"""Of the weights' size: the most that may be rounded away of an average."""


@dataclass(frozen=True)
class Average:
    """An average of the weights over a run.

    Args:
        weights: of the network, by name, as they were stored.
        length: relative to the run; None for an average that is of no length.
        error: of its profile, relative; 0 for one that was tracked.
        snapshots: how many files it was made of; 0 for one that was tracked.
        about: step, images and seconds of the run, and what else its last snapshot notes.
    """

    weights: Mapping[str, Tensor]
    length: float | None
    error: float = 0.0
    snapshots: int = 0
    about: Mapping[str, Any] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """For the model file."""
        return {
            "average_length": self.length,
            "average_error": self.error,
            "average_snapshots": self.snapshots,
        }


def held(
    averages: Mapping[str, Ema],
    precision: str,
    whole: Mapping[str, Mapping[str, Tensor]] | None = None,
) -> dict[float, dict[str, Tensor]]:
    """Copies of averages in memory of their own, by length, of the type that they are stored in.

    Args:
        averages: by their file in a checkpoint.
        precision: that type.
        whole: their tensors, by the same files, where they hold parts of these only.
    """
    dtype = getattr(torch, precision)

    def copied(tensor: Tensor) -> Tensor:
        return tensor.to("cpu", dtype, copy=True, memory_format=torch.contiguous_format)

    return {
        each.decay.length: {
            name: copied(tensor) for name, tensor in (whole or {}).get(file, each.tensors).items()
        }
        for file, each in averages.items()
        if file != MODEL_AVERAGE and isinstance(each.decay, PowerDecay)
    }


def size(averages: Mapping[float, Mapping[str, Tensor]]) -> int:
    """Bytes that they take on the disk, but for names."""
    return sum(tensor.nbytes for each in averages.values() for tensor in each.values())


class Snapshots:
    """The snapshots in a run's folder.

    Args:
        folder: of the files; it need not exist.
        shapes: of the network's weights, by name.
    """

    def __init__(self, folder: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.folder = folder
        self.shapes = shapes

    def path(self, step: int) -> Path:
        """Of the file of a step."""
        return self.folder / f"{_NAME}{step:08d}.safetensors"

    def steps(self) -> list[int]:
        """Of the files there, rising."""
        found = self.folder.glob(f"{_NAME}*.safetensors") if self.folder.is_dir() else ()
        names = (path.stem.removeprefix(_NAME) for path in found)
        digits = (name for name in names if name.isascii() and name.isdigit())
        return sorted(int(name) for name in digits if name == f"{int(name):08d}")

    def cut(self, above: int) -> None:
        """Remove those of later steps: the run goes on from this one, perhaps in another way.

        Raises:
            LoangError: they can't be removed.
        """
        for step in self.steps():
            if step > above:
                with writing(self.path(step)):
                    self.path(step).unlink(missing_ok=True)

    def write(
        self,
        averages: Mapping[float, Mapping[str, Tensor]],
        about: Mapping[str, Any],
    ) -> None:
        """Write the snapshot of a step: whole, or not at all.

        Args:
            averages: weights by name, by the average's length.
            about: step, images, seconds; plain values for JSON.

        Raises:
            LoangError: the disk is full, or the folder can't be written.
        """
        values = {
            f"{number}/{name}": weight
            for number, weights in enumerate(averages.values())
            for name, weight in weights.items()
        }
        text = json.dumps({**about, "format": FORMAT, "lengths": list(averages)})
        with replacing(self.path(about["step"])) as beside:
            tensors.save(beside, values, {_METADATA: text})

    def average(self, length: float) -> Average:
        """The average of that length at the last snapshot's step.

        Args:
            length: the standard deviation of its profile, as a share of the run.

        Raises:
            LoangError: there are no snapshots, one is damaged, or they can't represent the length,
                or not in the precision that they are stored in.
        """
        if not SHORTEST <= length < LONGEST:
            raise LoangError(
                f"An average of length {length:g} can't be made of any snapshots.",
                f"Ask for a length from {SHORTEST:g} to less than {LONGEST:g}, such as 0.08.",
            )
        about = self._all()
        steps, stored = _profiles(about)
        shares, error = fit(stored, Profile(steps[-1], length))
        if error > NEAR:
            _refuse(length, stored)
        # In float64: shares of either sign cancel.
        total = {
            name: torch.zeros(shape, dtype=torch.float64) for name, shape in self.shapes.items()
        }
        place, rounded = 0, 0.0
        for each in about:
            read = self._read(each["step"])
            for key, weight in read.items():
                number, _, name = key.partition("/")
                total[name].add_(weight, alpha=float(shares[place + int(number)]))
            end = place + len(each["lengths"])
            coarsest = max(torch.finfo(weight.dtype).eps for weight in read.values())
            rounded += float((shares[place:end] ** 2).sum()) * (ROUNDED * coarsest) ** 2
            place = end
        if rounded > COARSE**2:
            raise LoangError(
                f"Of an average of length {length:g} what the snapshots have rounded away is"
                f" {rounded**0.5:.1%}: it takes large shares of them, of either sign.",
                "Ask for a longer one, or train with --set ema.snapshot_precision=float32.",
            )
        weights = {name: weight.float() for name, weight in total.items()}
        return Average(weights, length, error, len(steps), about[-1])

    def reach(self) -> tuple[float, float] | None:
        """The shortest and the longest length that can be made; None for none.

        Raises:
            LoangError: there are no snapshots, or one is damaged.
        """
        _, stored = _profiles(self._all())
        return reachable(stored, stored[-1].step)

    def _all(self) -> list[dict[str, Any]]:
        """What each file says of itself."""
        steps = self.steps()
        if not steps:
            raise LoangError(
                f"There are no snapshots of averages in {self.folder}.",
                "Train with --set ema.snapshots=32, which keeps them.",
            )
        return [self._about(step) for step in steps]

    def _about(self, step: int) -> dict[str, Any]:
        """What a file says of itself, checked; nothing of it is read but its header."""
        path = self.path(step)
        try:
            stored = tensors.look(path)
            about = untrusted.parse_json(stored.metadata.get(_METADATA, "{}"))
            if about.get("format") != FORMAT or about.get("step") != step:
                raise ValueError("it is no snapshot of that step")
            lengths = about.get("lengths")
            if not isinstance(lengths, list) or not 0 < len(lengths) <= MOST_LENGTHS:
                raise ValueError("it does not say which averages it holds")
            if not all(type(each) is float and SHORTEST <= each < LONGEST for each in lengths):
                raise ValueError(f"its averages are of no length from {SHORTEST:g} to {LONGEST:g}")
            if not 0 < step <= MOST_STEPS:
                raise ValueError("its step can't be")
            for name, kinds in _ABOUT.items():
                value = about.get(name)
                # Not isinstance: JSON's true would pass for 1.
                if type(value) not in kinds or not 0 <= float(value or 0) < LARGEST_COUNT:
                    raise ValueError(f"its {name} are {untrusted.shown(value)}")
            expected = {
                f"{number}/{name}": shape
                for number in range(len(lengths))
                for name, shape in self.shapes.items()
            }
            if dict(stored.shapes) != expected or not set(stored.types.values()) <= set(_TYPES):
                raise ValueError("its weights are not those of the run's network")
        except (OSError, ValueError) as error:
            raise _damaged(path, error) from error
        return about

    def _read(self, step: int) -> dict[str, Tensor]:
        path = self.path(step)
        try:
            found = tensors.read(path)
            if not all(tensors.all_finite(weight) for weight in found.values()):
                raise ValueError("some of its weights are no numbers")
        except (OSError, ValueError) as error:
            raise _damaged(path, error) from error
        return found


def _profiles(about: Sequence[Mapping[str, Any]]) -> tuple[list[int], list[Profile]]:
    """The steps of files, and the profiles that they hold, one after another."""
    stored = [Profile(each["step"], length) for each in about for length in each["lengths"]]
    return [each["step"] for each in about], stored


def _refuse(length: float, stored: Sequence[Profile]) -> NoReturn:
    """An average that can't be made of these, with those that can."""
    limits = reachable(stored, stored[-1].step)
    files = len({each.step for each in stored})
    reach = "none is" if limits is None else f"lengths of {limits[0]:.3f} to {limits[1]:.3f} are"
    raise LoangError(
        f"An average of length {length:g} can't be made of the {files} snapshot"
        f"{'s' * (files != 1)} of this run to {NEAR:.0%}.",
        f"Within their reach {reach}; more snapshots reach further (--set ema.snapshots=64).",
    )


def _damaged(path: Path, error: Exception) -> LoangError:
    return LoangError(
        f"The snapshot {path} can't be read: {str(error).rstrip('.')}.",
        "Move it away: averages are made of the others then.",
    )
