"""What a person asks of a run, and the settings that follow. No torch: it answers at once."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict, Unpack

from loang import config, presets
from loang.config import Settings
from loang.data import Dataset, open_dataset
from loang.data.download import Progress
from loang.data.places.shards import path_of
from loang.data.sources import source_of
from loang.errors import LoangError
from loang.training.budget import parse
from loang.training.places import located


class Asked(TypedDict, total=False):
    """What a person may ask of a run; None, or nothing, leaves it to the preset.

    - preset: "quick", "tutorial" or "ddpm-cifar10"; "quick" where nothing is said
    - budget: "5m", "2h30m", "50 epochs" or "1000000 images"
    - size: (height, width) that the images are brought to
    - fit: how images of another shape are brought to that size: "crop", "pad" or "stretch"
    - channels: 1, 3 or 4
    - labels: whether to learn the labels that the images have
    - labels_file: a CSV or JSONL file of them
    - seed: of everything that is random
    - device: "auto", "cpu", "cuda", "cuda:1" or "mps"
    - precision: "auto", "float32" or "bfloat16"
    - changes: `section.key=value` for any setting; they come last
    """

    preset: str | None
    budget: str | None
    size: tuple[int, int] | None
    fit: str | None
    channels: int | None
    labels: bool | None
    labels_file: str | None
    seed: int | None
    device: str | None
    precision: str | None
    changes: Sequence[str]


class AskedOfStudent(TypedDict, total=False):
    """What a person may ask of a distillation; None, or nothing, leaves it to the teacher's.

    - budget: "5m", "2h30m", "50 epochs" or "1000000 images"
    - seed: of everything that is random
    - device: "auto", "cpu", "cuda", "cuda:1" or "mps"
    - precision: "auto", "float32" or "bfloat16"
    - changes: `section.key=value` for any setting; they come last
    """

    budget: str | None
    seed: int | None
    device: str | None
    precision: str | None
    changes: Sequence[str]


# What may differ between the sessions of one run: none of it changes what is learnt.
MAY_DIFFER = {
    "data.source",  # the fingerprint of the images must be the same
    "data.follow_links",
    "data.labels_file",
    "data.image_column",
    "data.label_column",
    "data.unreadable",
    "training.device",
    "training.recompute",
    "training.shard",
    "training.reports",
    "training.validation_share",
    "training.checkpoint_minutes",
    "training.keep",
    "distillation.label_samples",  # measured when all is learnt
}
# What a student learns beside its weights.
WALK = {f"sampling.{key}" for key in ("sampler", "steps", "spacing", "levels", "eta")}
_PLACES = {
    "budget": ("training", "budget"),
    "size": ("data", "size"),
    "fit": ("data", "fit"),
    "channels": ("data", "channels"),
    "labels": ("data", "labels"),
    "labels_file": ("data", "labels_file"),
    "seed": ("training", "seed"),
    "device": ("training", "device"),
    "precision": ("training", "precision"),
}


def resolve(
    data: str | Path | None = None, *, base: Settings | None = None, **asked: Unpack[Asked]
) -> Settings:
    """The settings of a preset, with what a person asked for in their place.

    Args:
        data: the images.
        base: in place of the preset's.
        **asked: what else is asked for.

    Raises:
        LoangError: an unknown preset or key, or a value that can't be.
    """
    base = base or presets.preset(asked.get("preset") or "quick")
    settings = _with(base, data, asked)
    settings = _as_named(settings, asked.get("changes", ()))
    _check_terminal(settings)
    if settings.distilled:
        raise LoangError(
            "training.objective=consistency brings a trained model to few steps, and here is none.",
            "Name one: loang distill MODEL --steps 2. Its run is gone on with by"
            " loang train --resume, without this setting.",
        )
    return settings


def resume(stored: Settings, data: str | Path | None = None, **asked: Unpack[Asked]) -> Settings:
    """The settings of a run, for its next session.

    Raises:
        LoangError: something is asked that would change what is learnt.
    """
    wanted = _as_named(_with(stored, data, asked), asked.get("changes", ()))
    changed = wanted.to_dict()
    # Processes that share the weights can't take fewer images by themselves when memory is short.
    may_differ = MAY_DIFFER | ({"training.micro_batch"} if wanted.training.shard else set())
    if not stored.distilled:  # what a student is taught depends on how much of its time is used
        may_differ |= {"training.budget"}
    learnt = WALK if stored.distilled else ()
    differ = [
        f"{section}.{key} is {value!r}, not {changed[section].get(key)!r}"
        for section, values in stored.to_dict().items()
        if isinstance(values, dict)
        for key, value in values.items()
        if changed[section].get(key) != value
        and f"{section}.{key}" not in may_differ
        and (section not in ("sampling", "evaluation") or f"{section}.{key}" in learnt)
    ]
    if (name := asked.get("preset")) not in (None, stored.preset):
        differ.insert(0, f"preset is {stored.preset!r}, not {name!r}")
    if differ:
        raise LoangError(
            f"A run that is gone on with keeps its settings: {'; '.join(differ)}.",
            "Leave these away, or start another run with --out.",
        )
    return wanted


def _as_named(settings: Settings, changes: Sequence[str]) -> Settings:
    """A preset measures no guidance scales where a person has named one, and not the measuring."""
    changes = [changes] if isinstance(changes, str) else changes
    keys = {change.partition("=")[0].strip() for change in changes}
    named = {f"sampling.{key}" for key in presets.GUIDING}
    if "evaluation.guidance_samples" in keys or not keys & named:
        return settings
    kept = settings.evaluation.model_copy(update={"guidance_samples": 0})
    return settings.model_copy(update={"evaluation": kept})


def _check_terminal(settings: Settings) -> None:
    """Refuse a weight that is 0 where every walk begins; a run that is stored keeps its own.

    Raises:
        LoangError: the schedule ends in pure noise, and the weighting counts nothing there.
    """
    weighting = settings.training.weighting
    if settings.schedule.zero_terminal_snr and weighting in ("eps", "min-snr", "p2"):
        raise LoangError(
            f"training.weighting {weighting} counts nothing at pure noise, where the schedule ends"
            " with schedule.zero_terminal_snr and every walk begins: it would never be learnt.",
            "Take training.weighting=simple or truncated-snr.",
        )


def _with(settings: Settings, data: str | Path | None, asked: Asked) -> Settings:
    values = settings.to_dict()
    if data is not None:
        values["data"]["source"] = str(data)
    for name, (section, key) in _PLACES.items():
        if (value := asked.get(name)) is not None:
            values[section][key] = _plain(value)
    changes = asked.get("changes", ())
    return config.changed(config.load(values), [changes] if isinstance(changes, str) else changes)


def _plain(value: Any) -> Any:
    """Numbers of numpy's, which a person in Python often has, as Python's own."""
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    return value.item() if hasattr(value, "item") else value


def open_images(
    settings: Settings,
    on_progress: Progress | None = None,
    *,
    places: Any = None,
    gone: str | None = None,
) -> Dataset:
    """The images that the settings name, brought to the size and channels that they ask for.

    Args:
        settings: with the images' place as it was typed.
        on_progress: told of a download, and of images read.
        places: where that was, as the run's config.json notes it: see `loang.training.places`.
        gone: what a person can do where there is nothing any more; None for images that were never
            opened.

    Raises:
        LoangError: there are none, or none that can be read; or a length of training that is none.
    """
    # Slips in these should cost no waiting for the images.
    parse(settings.training.budget, 1)
    chosen = located(settings.data, places)
    typed = settings.data.source
    if typed is None or chosen.source is None:
        raise LoangError(
            f"The preset {settings.preset} has no images of its own.",
            "Name a folder of images, a .npy or .npz file, or fashion-mnist.",
        )
    if gone is not None:
        try:
            source_of(chosen.source)
        except LoangError as error:
            raise LoangError(error.problem, gone) from error
    dataset = open_dataset(chosen.source, on_progress=on_progress, **chosen.wishes())
    if dataset.name == chosen.source != typed:  # the name goes into the model file
        return replace(dataset, name=str(path_of(typed)))
    return dataset
