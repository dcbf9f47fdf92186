"""From a model to files: a sheet of samples, single images or an array, and the walk to them."""

import contextlib
import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from jaxtyping import Shaped

from loang import files, helping, pictures, samplers, walking
from loang.config import SamplingSettings
from loang.data.spec import ImageSpec
from loang.errors import LoangError
from loang.identity import samples_name
from loang.model import Model
from loang.pictures.single import save_stack
from loang.sampling import Asked, check_count, check_seed, given, option
from loang.streaming import Array, Singles, Stream

SHEETS = (".png", ".webp")
STACKS = (".tif", ".tiff")


def sampling(
    model: Model, *, guide: Model | None = None, **asked: Unpack[Asked]
) -> SamplingSettings:
    """The model's own way of sampling, with what is asked in its place.

    Args:
        model: from `loang.load`.
        guide: a worse model that is to guide it.
        **asked: sampler, steps, guidance and more: see `loang.sampling.Asked`.

    Raises:
        LoangError: there is no such sampler, it does not know what is asked of it, the number of
            steps can't be, a distilled model has learnt no such walk, or the model can't be
            guided so.
    """
    wishes, schedule = given(asked), model.denoiser.schedule
    values = model.settings.sampling.model_dump() | wishes
    own = model.settings.sampling.steps
    if "spacing" in wishes or wishes.get("steps", own) != own:
        values["levels"] = None
    steps = values.pop("steps")  # may be any number until the schedule has seen it
    settings = SamplingSettings(**values).model_copy(update={"steps": steps})
    count = len(walking.levels_of(settings, schedule)) - 1
    if settings.levels is not None:
        settings = settings.model_copy(update={"steps": count})
    settings = walking.chosen(settings, schedule)
    _check_options(settings.sampler, wishes)
    walking.check_walk(model.settings, schedule, settings)
    if settings.guidance == 1:
        idle = ["guide"] if guide else []
        idle += [key for key in ("guidance_interval", "guidance_rescale") if wishes.get(key)]
        if idle:
            raise LoangError(
                f"Without guidance {option(idle[0])} does nothing.", "Add --guidance 1.5, say."
            )
    model.check_guidance(settings, guide)
    return settings


def _check_options(sampler: str, wishes: Mapping[str, Any]) -> None:
    """Whether the sampler knows what is asked of it."""
    for key in ("eta", "variance", "churn", "tolerance"):
        if key in wishes and key not in samplers.METHODS[sampler].options:
            knowing = [name for name, each in samplers.METHODS.items() if key in each.options]
            raise LoangError(
                f"The sampler {sampler} knows no {option(key)}.",
                f"Leave it away, or take --sampler {' or '.join(knowing)}.",
            )


def draw(
    model: Model,
    count: int,
    out: Path,
    *,
    seed: int = 0,
    settings: SamplingSettings | None = None,
    label: str | None = None,
    gif: bool = False,
    every: int | None = None,
    batch: int = 64,
    guide: Model | None = None,
    on_step: Callable[[int, int], None] | None = None,
    on_kept: Callable[[int], object] = lambda done: None,
    on_others: Callable[[int], object] = lambda more: None,
    on_unfinished: Callable[[list[Path]], object] = lambda parts: None,
) -> list[Path]:
    """Draw samples and write them; returns what was written.

    An array and single images are written as they are drawn, so that any number takes the memory of
    a batch, and the same call after an interruption goes on where that stopped (streaming.py). One
    process at a time writes to such a place.

    Args:
        model: from `loang.load`.
        count: how many; 1 or more.
        out: ends in .png or .webp for one sheet of all, in .npy for the array (N, H, W, C), in
            .tif or .tiff for a page each; any other name is a folder for single images, PNG or,
            of real numbers or other channels, TIFF.
        seed: of the noise; the same seed gives the same images.
        settings: sampler and steps; None takes the model's own.
        label: a class by name or number; None takes the classes in turn.
        gif: whether to write the walk from noise as well, beside `out`, ending in .gif; of one
            batch, and of one sheet of samples, at the most.
        every: every so many-th level becomes a frame; None makes about 40 of them.
        batch: how many are drawn at once, by each process of a job (helping.py).
        guide: a worse model of the same images, for autoguidance.
        on_step: called with (steps done, steps in all).
        on_kept: called with the number of samples that are there already, if there are any.
        on_others: called with the number of images in the folder that are numbered beyond these.
        on_unfinished: called with the hidden files that interrupted commands have left beside the
            array, if there are any: each goes on with its own when it is repeated.

    Raises:
        LoangError: there is no such class, or the place can't be written, or another process
            writes there now.
    """
    check_count(count, batch)
    check_seed(seed)
    settings = settings or model.settings.sampling
    index = None if label is None else model.class_index(label)
    check_place(out, model.spec)
    across = pictures.columns(model.spec)
    shown = range(min(count, batch, across * pictures.rows(model.spec)))
    if not is_streamed(out):
        pictures.check_sheet(count, model.spec, out, across)
    if gif:
        pictures.check_sheet(len(shown), model.spec, _beside(out, ".gif"), across)
    draws = partial(
        helping.sample, model, seed=seed, sampling=settings, label=index, batch=batch, guide=guide
    )
    stream: Stream | None = None
    if is_streamed(out):
        name = samples_name(model, seed, settings, guide=guide, label=index)
        folder = _is_folder(out)
        stream = Singles(out, model.spec, name) if folder else Array(out, count, model.spec, name)
    written = [out]
    with contextlib.nullcontext() if stream is None else stream.claimed():
        if gif:
            labels = model.labels(shown, index)
            walk = model.walk(shown, seed=seed, sampling=settings, labels=labels, guide=guide)
            written.append(_beside(out, ".gif"))
            every = every or pictures.spacing(
                len(walking.levels_of(settings, model.denoiser.schedule)) - 1
            )
            pictures.save_walk(model.frames(walk, every), model.spec, written[-1])
        if stream is None:
            save(draws(count, on_step=on_step), model.spec, out)
            return written
        if done := min(stream.done, count):
            on_kept(done)
        at_once = batch * helping.helpers()
        for first in range(done, count, at_once):
            told = on_step and _of_all(on_step, first // at_once, math.ceil(count / at_once))
            stream.put(first, draws(min(at_once, count - first), first=first, on_step=told))
        stream.finish()
        if isinstance(stream, Array) and (parts := stream.unfinished()):
            on_unfinished(parts)
    if isinstance(stream, Singles) and (others := stream.beyond(count)):
        on_others(others)
    return written


def is_streamed(out: Path) -> bool:
    """Whether samples go there as they are drawn: to an array, or a folder of single images."""
    return _is_folder(out) or out.suffix.lower() == ".npy"


def _of_all(
    on_step: Callable[[int, int], None], part: int, parts: int
) -> Callable[[int, int], None]:
    """The steps of one batch as steps of all."""
    return lambda done, total: on_step(part * total + done, parts * total)


def save(pixels: Shaped[np.ndarray, "n h w c"], spec: ImageSpec, out: Path) -> None:
    """Write images to a file or a folder, as `draw` does.

    Raises:
        LoangError: the place can't be written.
    """
    if _is_folder(out):
        pictures.save_singles(pixels, spec, out)
    elif out.suffix.lower() in SHEETS:
        pictures.save_samples(pixels, spec, out)
    elif out.suffix.lower() in STACKS:
        save_stack(pixels, pixels.nbytes, out)
    elif out.suffix.lower() == ".npy":
        with files.replacing(out) as beside, beside.open("wb") as file:
            np.save(file, pixels, allow_pickle=False)


def check_place(out: Path, spec: ImageSpec) -> None:
    """Before minutes are spent on drawing: whether `out` can be written, and can hold them.

    Raises:
        LoangError: it can't.
    """
    suffix = out.suffix.lower()
    with files.writing(out):
        folder = _is_folder(out)
    if folder:
        pictures.check_singles(spec)
        files.check_folder(out)
    elif suffix in (*SHEETS, *STACKS, ".npy"):
        if suffix in STACKS:
            pictures.check_singles(spec)
        files.check_folder(out.parent)
    else:
        raise LoangError(
            f"{out} is no kind of file that samples are written to.",
            "End it in .png, .webp, .tif or .npy, or name a folder for single images.",
        )


def _is_folder(out: Path) -> bool:
    return out.is_dir() or not out.suffix


def _beside(out: Path, suffix: str) -> Path:
    """`samples.gif` stands beside `samples.png`, and beside the folder `samples` too."""
    if out.is_dir():
        whole = out.resolve()  # of `.` too
        return whole.parent / (whole.name + suffix)
    return out.with_suffix(suffix)
