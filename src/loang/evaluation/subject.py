"""What is measured: a model's samples, or images that any tool has made."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from loang.data import open_dataset
from loang.data.download import Progress
from loang.data.fingerprint import fingerprint
from loang.data.images import Dataset, Images
from loang.data.spec import ImageSpec
from loang.evaluation.units import brought
from loang.files import MODEL
from loang.hub.address import is_hub
from loang.training.folder import CONFIG


@dataclass(frozen=True)
class Subject:
    """Images to measure.

    Args:
        name: what a person calls them.
        images: with labels where it is known which class each should be, numbered as the real
            images' classes are.
        about: where they come from; plain values for JSON.
        notices: sentences that the person should read.
    """

    name: str
    images: Images
    about: Mapping[str, Any] = field(default_factory=dict)
    notices: tuple[str, ...] = ()


def is_model(path: Path) -> bool:
    """Whether a path is a run's folder, a model file or a model of the hub, rather than images."""
    if path.suffix == ".safetensors" or is_hub(path):
        return True
    return (path / MODEL).is_file() or (path / CONFIG).is_file()


def name_of(path: Path) -> str:
    """What a run or a file is called."""
    if is_hub(path):
        return path.as_posix()
    whole = path.resolve()
    return whole.name if path.is_dir() else whole.stem


def open_images(path: Path, dataset: Dataset, on_progress: Progress | None = None) -> Subject:
    """All images of a folder or an array file, brought to size, channels and depth of real ones.

    Their values are taken in the units of the real images' values: see `units.brought`.

    Raises:
        LoangError: there are none, or they can't be read.
    """
    spec = dataset.spec
    own = open_dataset(
        path, size=(spec.height, spec.width), channels=spec.channels, on_progress=on_progress
    )
    # Their own range is of no matter: their values are in the units of the real images'.
    notices = [notice for notice in own.notices if not notice.endswith("taken as their range.")]
    parts = [own.train, own.validation]
    if not own.apart:  # both hold all, if all are alike
        parts, notices = [own.train], [f"All images of {path} are the same."]
    pixels = np.concatenate([part.pixels for part in parts])
    labels = None
    if own.train.labels is not None and spec.class_names:
        numbers = _numbers(own.spec.class_names, spec.class_names)
        if numbers is None:
            notices.append(
                f"The classes of {path} are not those of {dataset.name}, and are left aside."
            )
        else:
            given = [part.labels for part in parts if part.labels is not None]
            labels = numbers[np.concatenate(given)]
    pixels, told = brought(pixels, own.spec, spec, str(path))
    images = Images(pixels, _named(spec, labels), labels)
    about = {"kind": "images", "path": str(path), "fingerprint": fingerprint(images)}
    return Subject(name_of(path), images, about, (*notices, *told))


def _numbers(own: tuple[str, ...], real: tuple[str, ...]) -> Int64[np.ndarray, " classes"] | None:
    """The number among the real classes of each own class, by name or as a plain number."""
    known = {_plain(name): number for number, name in enumerate(real)}
    found = [known.get(_plain(name)) for name in own]
    if any(number is None for number in found):
        found = []
        for name in own:
            with contextlib.suppress(ValueError):
                found.append(int(name))
        if len(found) != len(own) or not all(0 <= n < len(real) for n in found if n is not None):
            return None
    return np.array(found, dtype=np.int64)


def _plain(name: str) -> str:
    """A class's name as a folder's: `T-shirt/top` can't be one."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def _named(spec: ImageSpec, labels: Int64[np.ndarray, " n"] | None) -> ImageSpec:
    """The spec, with class names only where there are labels."""
    return spec if labels is not None else replace(spec, class_names=())
