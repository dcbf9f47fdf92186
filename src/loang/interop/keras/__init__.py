"""Keras and TensorFlow: what the article's code saves, read as data; and models for Keras."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loang.interop.keras.article import read

__all__ = ["read"]

# The names of weights need numpy alone: torch is imported when something is read.
_HOMES = {"read": "loang.interop.keras.article"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'loang.interop.keras' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
