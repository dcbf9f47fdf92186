"""What the files of a checkpoint must be before a run goes on with them, whoever wrote them."""

import math
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from loang.training.objective import OWN
from loang.untrusted import shown

MOST_FILES = 16
LARGEST_COUNT = 2**53
"""Whole numbers up to here are exact in float64, and no run comes near it."""
MOST_STEPS = 2**32 - 1
"""Of a run: the random numbers of each step are drawn from a counter of 32 bits."""
UNKNOWN_IMAGES = "unknown"
"""The fingerprint in a checkpoint that was brought from another tool: any images are taken."""
MOMENTUM = "momentum"
"""All that Muon knows of a matrix, beside its weights; AdamW knows more of each weight."""
_TENSORS = re.compile(r"[a-z][a-z0-9_-]{0,30}\.safetensors")
_SHA256 = re.compile(r"[0-9a-f]{64}")

_WHOLE, _REAL = (int,), (int, float)
_PROGRESS = {"seconds": _REAL}  # the others are whole
_FACTS: Mapping[str, tuple[type, ...]] = {
    "fingerprint": (str,),
    "best": (dict,),
    "finished": (bool,),
    "loss": (*_REAL, type(None)),
    "loss_sum": _REAL,
    "loss_count": _WHOLE,
    "validation_loss": (*_REAL, type(None)),
    "validation_seconds": _REAL,
    "validations": _WHOLE,
}
_BEST: Mapping[str, tuple[type, ...]] = {"step": _WHOLE, "validation_loss": _REAL}


def checked_files(manifest: Mapping[str, Any], state: str) -> dict[str, tuple[int, str]]:
    """The files that a manifest names, each with its size in bytes and SHA-256.

    Args:
        manifest: as it was read.
        state: the name of the file of plain values, which must be among them.

    Raises:
        ValueError: there are none, too many, or some that a checkpoint never has.
    """
    files = manifest.get("files")
    if not isinstance(files, dict) or not 0 < len(files) <= MOST_FILES or state not in files:
        raise ValueError("its manifest does not say which files it has")
    found = {}
    for name, facts in files.items():
        # A plain name: nothing outside the checkpoint's folder is ever opened for it.
        if name != state and not _TENSORS.fullmatch(name):
            raise ValueError(f"its manifest names {shown(name)}, which is no file of a checkpoint")
        size, digest = (facts.get(key) for key in ("size", "sha256")) if _table(facts) else (0, 0)
        if type(size) is not int or not isinstance(digest, str) or not _SHA256.fullmatch(digest):
            raise ValueError(f"its manifest does not say the size and hash of {name}")
        found[name] = size, digest
    return found


def checked_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """The plain values, of the types and ranges that a run writes, where it has them.

    Raises:
        ValueError: one is not.
    """
    progress, facts = state.get("progress"), state.get("facts", {})
    if not isinstance(progress, dict) or not isinstance(facts, dict):
        raise ValueError("it does not say how far the run was")
    progress = {
        name: _checked(name, value, _PROGRESS.get(name, _WHOLE)) for name, value in progress.items()
    }
    if progress.get("step", 0) > MOST_STEPS:
        raise ValueError(f"a run of {progress['step']:,} steps can't be")
    micro_batch = state.get("micro_batch")
    if micro_batch is not None and _checked("micro_batch", micro_batch, _WHOLE) < 1:
        raise ValueError("its micro_batch is 0")
    known = {name: _checked(name, facts[name], _FACTS[name]) for name in _FACTS if name in facts}
    if best := known.get("best"):
        if best.keys() != _BEST.keys():
            raise ValueError("its best report is not described")
        known["best"] = {name: _checked(name, best[name], _BEST[name]) for name in _BEST}
    kept = {"facts": {**facts, **known}} if "facts" in state else {}
    return {**state, "progress": progress, **kept}


def check_tensors(tensors: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Whether average and optimizer are those of the weights beside them.

    The optimizer walks through memory by the shapes of the weights, and would not notice.

    Raises:
        ValueError: they are not.
    """
    weights = tensors.get("model", {})
    own = tensors.get("objective", {})
    trained = {**weights, **{f"{OWN}{name}": tensor for name, tensor in own.items()}}
    averages = [each for file, each in tensors.items() if file.partition("-")[0] == "ema"]
    for name, tensor in (item for average in averages for item in average.items()):
        if name not in weights or tensor.shape != weights[name].shape:
            raise ValueError(f"its average {shown(name)} is of no weight")
    slots: dict[str, set[str]] = {}
    for path, tensor in tensors.get("optimizer", {}).items():
        name, _, slot = path.rpartition("/")
        shape = () if slot == "step" else trained[name].shape if name in trained else None
        if shape is None or tensor.shape != shape or not tensor.is_floating_point():
            raise ValueError(f"its optimizer's {shown(path)} is of no weight")
        slots.setdefault(name, set()).add(slot)
    if len({frozenset(each) for each in slots.values()} - {frozenset({MOMENTUM})}) > 1:
        raise ValueError("its optimizer does not know the same of each weight")


def _table(value: Any) -> bool:
    return isinstance(value, dict)


def _checked(name: str, value: Any, kinds: tuple[type, ...]) -> Any:
    """The value, a whole number being made real where a real one stands."""
    # Not isinstance: JSON's true would pass for 1.
    if type(value) not in kinds:
        raise ValueError(f"its {shown(name)} is {shown(value)}")
    most = LARGEST_COUNT if type(value) is int else math.inf
    if isinstance(value, int | float) and not 0 <= value < most:
        raise ValueError(f"its {shown(name)} is {value}, which can't be")
    return float(value) if type(value) is int and float in kinds else value
