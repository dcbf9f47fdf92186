"""Where the images of a run lie, wherever it is gone on with or measured.

The settings keep a place as it was typed, and travel with the model file. What it meant, as an
absolute path, stands in the run's config.json alone: it would tell others of somebody's folders.
"""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loang.config import DataSettings
from loang.data.places.shards import path_of
from loang.data.sources import Source, source_of
from loang.errors import LoangError
from loang.training.folder import RunFolder

PLACES = "places"
"""Their key in config.json: a mapping to absolute paths."""
KEYS = "source", "labels_file"


def meant(data: DataSettings) -> dict[str, str]:
    """The absolute paths behind what was typed relative to the present folder."""
    found = {}
    for key in KEYS:
        typed = getattr(data, key)
        if typed is None or path_of(typed).is_absolute():
            continue
        absolute = _absolute(typed)
        # `fashion-mnist` is no path, even beside a folder of that name.
        is_path = Path(absolute).exists() if key == "labels_file" else _is_path(typed, absolute)
        if is_path:
            found[key] = absolute
    return found


def located(data: DataSettings, places: Any) -> DataSettings:
    """With absolute paths in place of those typed, as far as something lies there still.

    Args:
        data: as typed.
        places: what config.json notes; it may come from anybody.
    """
    if not isinstance(places, Mapping):
        return data
    found = {}
    for key in KEYS:
        place = places.get(key)
        if (
            getattr(data, key) is None
            or not isinstance(place, str)
            or not Path(place).is_absolute()
        ):
            continue
        with contextlib.suppress(OSError, ValueError):
            if kind_of(place) is not None if key == "source" else Path(place).is_file():
                found[key] = place
    return data.model_copy(update=found)


def not_named_anew(
    places: Any, stored: DataSettings, now: DataSettings, named: tuple[object, object]
) -> dict[str, Any]:
    """Of the places that config.json notes, those that still hold.

    Args:
        places: as noted.
        stored: of the run.
        now: of its next session.
        named: the source and the file of labels that a person has just named, or None.
    """
    return {
        key: places[key]
        for key, name in zip(KEYS, named, strict=True)
        if isinstance(places, Mapping)
        and key in places
        and name is None
        and getattr(now, key) == getattr(stored, key)
    }


def beside(path: Path, data: DataSettings) -> Any:
    """The places that the config.json of a run notes, for its folder or its model file.

    Args:
        path: of the folder or file.
        data: of the model; another model's places are none of its own.
    """
    with contextlib.suppress(LoangError, OSError):
        settings, about = RunFolder(path if path.is_dir() else path.parent).read_config()
        if (settings.data.source, settings.data.labels_file) == (data.source, data.labels_file):
            return about.get(PLACES)
    return None


def is_same(name: str, other: str | None) -> bool:
    """Whether two names are of one place."""
    if other is None or name == other:
        return name == other
    return os.path.realpath(path_of(name)) == os.path.realpath(path_of(other))


def kind_of(name: str | None) -> Source | None:
    """The kind of source that a name is of; None where there is nothing of that name."""
    try:
        return None if name is None else source_of(name)
    except LoangError:
        return None


def _absolute(typed: str) -> str:
    return os.path.abspath(path_of(typed))  # noqa: PTH100 (a link stays the link that was named)


def _is_path(typed: str, absolute: str) -> bool:
    kind = kind_of(typed)
    return kind is not None and kind is kind_of(absolute)
