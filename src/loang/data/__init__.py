"""Where images come from, what they are, and in which order they are read."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loang.data.images import Dataset, Images
    from loang.data.open import open_dataset
    from loang.data.spec import ImageSpec

# Imported when first asked for: some of them need torch, which takes a second.
_HOMES = {
    "Dataset": "loang.data.images",
    "ImageSpec": "loang.data.spec",
    "Images": "loang.data.images",
    "open_dataset": "loang.data.open",
}

__all__ = ["Dataset", "ImageSpec", "Images", "open_dataset"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'loang.data' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
