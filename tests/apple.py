"""A CPU that has no float64, as Apple's GPU has none: what would fail there fails here.

Tensors that were put on a device, or made there, and all that is computed of them, are there until
they are brought to the processor by `cpu`, `numpy`, `tolist` or a number is read.
"""

import contextlib
import sys

import torch
from torch.overrides import TorchFunctionMode

from loang import random

AWAY = ("numpy", "tolist", "item", "__float__", "__int__", "__bool__")


def tensors(values):
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from tensors(value)
        elif isinstance(value, dict):
            yield from tensors(value.values())


class Apple(TorchFunctionMode):
    """What torch is asked for, with a mark on what is there."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs, name = kwargs or {}, getattr(func, "__name__", "")
        found = func(*args, **kwargs)
        if name in AWAY or name in ("__get__", "__set__"):
            return found
        if name == "cpu" or (name == "to" and "cpu" in (*args[1:2], kwargs.get("device"))):
            return found.clone() if isinstance(found, torch.Tensor) else found
        devices = [each for each in (*args, *kwargs.values()) if isinstance(each, torch.device)]
        if devices or any(getattr(each, "there", False) for each in tensors((args, kwargs))):
            for each in tensors([found]):
                if each.dtype == torch.float64:
                    raise TypeError(f"{name}: this device has no float64")
                each.there = True
        return found


@contextlib.contextmanager
def apple(monkeypatch):
    """Within it, loang computes as on such a device."""
    with monkeypatch.context() as patch:
        for name, module in list(sys.modules.items()):
            if name.startswith("loang.") and hasattr(module, "widest"):
                patch.setattr(module, "widest", lambda device: torch.float32)
        patch.setattr(random, "_widest", lambda device: torch.float32)
        with Apple():
            yield
