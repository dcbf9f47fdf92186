"""From a model to files: a sheet of samples, single images or an array, and the walk to them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from loang import files, pictures
from loang.config import SamplingSettings
from loang.data.spec import ImageSpec
from loang.errors import LoangError
from loang.model import Model
from loang.pictures.single import save_stack

SHEETS = (".png", ".webp")
STACKS = (".tif", ".tiff")


def sampling(
    model: Model,
    sampler: str | None = None,
    steps: int | None = None,
    eta: float | None = None,
    variance: str | None = None,
) -> SamplingSettings:
    """The model's own way of sampling, with what is given in its place.

    Raises:
        LoangError: there is no such sampler, or the number of steps can't be.
    """
    asked = {"sampler": sampler, "steps": steps, "eta": eta, "variance": variance}
    given = {key: value for key, value in asked.items() if value is not None}
    values = model.settings.sampling.model_dump() | given
    most = model.denoiser.schedule.most_steps
    if not 1 <= values["steps"] <= most:
        raise LoangError(
            f"This model can't be sampled in {values['steps']} steps.",
            f"Its schedule has {most}: choose --steps from 1 to {most}.",
        )
    try:
        return SamplingSettings(**values)
    except ValueError:
        raise LoangError(
            "There is no way of sampling by "
            + ", ".join(f"{key} {value}" for key, value in given.items())
            + ".",
            "Samplers are ddim (with eta 0 to 1) and ddpm (variance fixed-small or fixed-large).",
        ) from None


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
    on_step: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Draw samples and write them; returns what was written.

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
        batch: how many are drawn at once.
        on_step: called with (steps done, steps in all).

    Raises:
        LoangError: there is no such class, or the place can't be written.
    """
    if count < 1 or batch < 1:
        raise LoangError(f"{min(count, batch)} images can't be drawn.", "Ask for 1 or more.")
    if not 0 <= seed < 2**63:
        raise LoangError(f"The seed {seed} is out of range.", "Choose one from 0 to 2**63 - 1.")
    settings = settings or model.settings.sampling
    index = None if label is None else model.class_index(label)
    _check_place(out, model.spec)
    written = [out]
    if gif:
        shown = range(min(count, batch, pictures.columns(model.spec) * pictures.rows(model.spec)))
        walk = model.walk(shown, seed=seed, sampling=settings, labels=model.labels(shown, index))
        written.append(_beside(out, ".gif"))
        every = every or pictures.spacing(settings.steps)
        pictures.save_walk(model.frames(walk, every), model.spec, written[-1])
    pixels = model.sample(
        count, seed=seed, sampling=settings, label=index, batch=batch, on_step=on_step
    )
    if _is_folder(out):
        pictures.save_singles(pixels, model.spec, out)
    elif out.suffix.lower() in SHEETS:
        pictures.save_samples(pixels, model.spec, out)
    elif out.suffix.lower() in STACKS:
        save_stack(pixels, pixels.nbytes, out)
    elif out.suffix.lower() == ".npy":
        with files.replacing(out) as beside, beside.open("wb") as file:
            np.save(file, pixels, allow_pickle=False)
    return written


def _check_place(out: Path, spec: ImageSpec) -> None:
    """Before minutes are spent on drawing: whether `out` can be written, and can hold them."""
    suffix = out.suffix.lower()
    if _is_folder(out):
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
