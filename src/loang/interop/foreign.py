"""Weights from another tool by name, whichever file they are in: safetensors, or torch's own."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from loang import tensors
from loang.errors import LoangError
from loang.interop import pickled
from loang.interop.program import Described
from loang.untrusted import shown

SAFE = ".safetensors"
DEEPEST = 4
MOST_ENTRIES = 2**18
"""Of dicts within dicts: one that is in many places counts as often."""


@dataclass(frozen=True)
class Foreign:
    """What a file announces; no tensor is read yet.

    Args:
        path: of the file.
        shapes: of its tensors, by name; those of dicts within dicts have both names: `ema.step`.
        plain: its texts and numbers, by name.
        reading: gives the tensors of some names of this file.
    """

    path: Path
    shapes: Mapping[str, tuple[int, ...]]
    plain: Mapping[str, Any]
    reading: Callable[[list[str]], dict[str, Tensor]]

    def read(self, names: Mapping[str, str]) -> dict[str, Tensor]:
        """Tensors as float32, by other names.

        Args:
            names: the new name of each tensor that is read, by the one in this file.

        Raises:
            LoangError: they can't be read, are too large, or are not all numbers.
        """
        with pickled.refused(self.path):
            found = self.reading(list(names))
            read = {new: found[old].to(torch.float32).contiguous() for old, new in names.items()}
            odd = next((name for name in read if not tensors.all_finite(read[name])), None)
            if odd is not None:
                raise ValueError(f"the weight {shown(odd)} is not all numbers")
        return read


def look(path: Path) -> Foreign:
    """What a file announces.

    Raises:
        LoangError: it is neither, is damaged, or goes beyond the limits on such files.
    """
    with pickled.refused(path):
        if path.suffix.lower() == SAFE:
            stored = tensors.look(path)

            def reading(names: list[str]) -> dict[str, Tensor]:
                all_of_them = stored.read()
                return {name: all_of_them[name] for name in names}

            return Foreign(path, stored.shapes, stored.metadata, reading)
        found = pickled.look(path)
        described: dict[str, Described] = {}
        plain: dict[str, Any] = {}
        for count, (name, value) in enumerate(_entries(found.content)):
            if count > MOST_ENTRIES or len(described) > tensors.MOST_TENSORS:
                raise ValueError("it has too many tensors, or too many of anything else")
            if isinstance(value, Described):
                described[name] = value
            elif isinstance(value, str | int | float):
                plain[name] = value

        def chosen(names: list[str]) -> dict[str, Tensor]:
            return found.read({name: described[name] for name in names})

        return Foreign(path, {k: each.shape for k, each in described.items()}, plain, chosen)


def _entries(content: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Names and values of dicts within dicts; lists hold nothing that anybody asks for."""
    if not isinstance(content, dict):
        raise ValueError("it holds no names of weights")
    for key, value in content.items():
        name = f"{prefix}{key}"
        if len(name) > tensors.LONGEST_NAME:
            raise ValueError("a name in it is too long")
        yield name, value
        if isinstance(value, dict) and prefix.count(".") < DEEPEST:
            yield from _entries(value, f"{name}.")


def missing(path: Path, what: str, whose: str) -> LoangError:
    """Said of a file that is not what a command reads."""
    return LoangError(f"{path} holds no {what}.", f"Name a file that {whose} saved.")
