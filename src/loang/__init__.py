"""Train, sample, measure and show diffusion models on your own images.

The verbs: `train`, `distill`, `load`, `evaluate` and `compare`; a loaded `Model` samples. All else
lies in the module that is named for it.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loang.api import compare, distill, evaluate, load, train
    from loang.data import Dataset, ImageSpec, open_dataset
    from loang.denoiser import Denoiser
    from loang.errors import LoangError
    from loang.model import Model
    from loang.schedule import Schedule

__version__ = "0.1.0"

# What is named here is imported when it is first asked for: torch takes seconds, --help must not.
_HOMES = {
    "Dataset": "loang.data",
    "Denoiser": "loang.denoiser",
    "ImageSpec": "loang.data",
    "LoangError": "loang.errors",
    "Model": "loang.model",
    "Schedule": "loang.schedule",
    "compare": "loang.api",
    "distill": "loang.api",
    "evaluate": "loang.api",
    "load": "loang.api",
    "open_dataset": "loang.data",
    "train": "loang.api",
}

__all__ = [
    "Dataset",
    "Denoiser",
    "ImageSpec",
    "LoangError",
    "Model",
    "Schedule",
    "__version__",
    "compare",
    "distill",
    "evaluate",
    "load",
    "open_dataset",
    "train",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'loang' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
