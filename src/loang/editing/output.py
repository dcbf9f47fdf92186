"""From a model and pictures to files: what the verbs of `loang edit` do."""

from pathlib import Path
from typing import NamedTuple, Unpack

import numpy as np
from jaxtyping import Shaped

from loang import drawing, files, pictures
from loang.config import SamplingSettings
from loang.data.spec import ImageSpec
from loang.editing import denoise as cleaning
from loang.editing import inpaint as filling
from loang.editing import interpolate as joining
from loang.editing import start_from as changing
from loang.editing.asked import Ends, check_apart
from loang.editing.encode import EVALUATIONS
from loang.editing.picture import read, read_with_holes
from loang.editing.walk import OnStep
from loang.errors import LoangError
from loang.model import Model
from loang.pictures.single import save_single, suffix_of
from loang.sampling import Asked, check_seed

FRAME_MS = 120
ANIMATIONS = (".gif",)


class Edited(NamedTuple):
    """What was written, and what a person should know of it."""

    path: Path
    notices: tuple[str, ...]


def sampling(
    model: Model,
    label: str | None,
    resample: int | None = 1,
    noiseless: bool = False,
    **asked: Unpack[Asked],
) -> SamplingSettings:
    """How an edit is sampled: as is asked, else as the model is.

    Args:
        model: from `loang.load`.
        label: that is asked for.
        resample: of `inpaint`; more than 1 takes ddpm and its 50 steps where nobody says else, but
            of a distilled model its own walk.
        noiseless: whether the walk may draw nothing on its way; takes DDIM where nobody says else
            and the model's own walk draws, but of a distilled model its own walk.
        **asked: see `loang.sampling.Asked`.

    Raises:
        LoangError: guidance without a label; or as for `drawing.sampling`.
    """
    if label is None and asked.get("guidance") not in (None, 1):
        raise LoangError(
            "Guidance steers towards a class, and none is asked for.", "Add --label, too."
        )
    repeated = filling.repeats(model, resample) > 1 and not model.settings.distilled
    if repeated and asked.get("sampler") is None:
        most = model.denoiser.schedule.most_steps
        asked["sampler"] = "ddpm" if asked.get("eta") is None else "ddim"
        asked["steps"] = asked.get("steps") or min(filling.STEPS, most)
    if noiseless and asked.get("sampler") is None:
        plain = joining.without_noise(model)
        if plain is not model.settings.sampling:
            asked["sampler"] = plain.sampler
            asked["steps"] = asked.get("steps") or plain.steps
    return drawing.sampling(model, **asked)


def inpaint(
    model: Model,
    picture: Path,
    out: Path,
    *,
    mask: Path | None = None,
    count: int = 8,
    seed: int = 0,
    settings: SamplingSettings | None = None,
    resample: int | None = None,
    jump: int = filling.JUMP,
    label: str | None = None,
    batch: int = 64,
    on_step: OnStep | None = None,
) -> Edited:
    """Fill the holes of a picture; a sheet shows first the picture with its holes in grey.

    See `read_with_holes` and `editing.inpaint` for the arguments and errors;
    `out` is none of the files that are read.
    """
    check_seed(seed)
    drawing.check_place(out, model.spec)
    check_apart(out, picture, mask)
    _check_sheet(count + 1, model.spec, out)
    found, known = read_with_holes(picture, model.spec, model.settings.data, mask)
    filled = filling.inpaint(
        model,
        found.pixels,
        known,
        count,
        seed=seed,
        sampling=settings,
        resample=resample,
        jump=jump,
        label=label,
        batch=batch,
        on_step=on_step,
    )
    grey = (model.spec.low + model.spec.high) / 2
    holes = np.where(known[..., np.newaxis], found.pixels, grey).astype(model.spec.depth)
    return Edited(out, (*found.notices, *_save(filled, model.spec, out, before=holes)))


def start_from(
    model: Model,
    picture: Path,
    out: Path,
    *,
    strength: float = changing.STRENGTH,
    count: int = 8,
    seed: int = 0,
    settings: SamplingSettings | None = None,
    label: str | None = None,
    batch: int = 64,
    on_step: OnStep | None = None,
) -> Edited:
    """Draw pictures like one; a sheet shows that one first.

    See `read` and `editing.start_from` for the arguments and errors;
    `out` is none of the files that are read.
    """
    check_seed(seed)
    drawing.check_place(out, model.spec)
    check_apart(out, picture)
    _check_sheet(count + 1, model.spec, out)
    found = read(picture, model.spec, model.settings.data)
    changed = changing.start_from(
        model,
        found.pixels,
        strength,
        count,
        seed=seed,
        sampling=settings,
        label=label,
        batch=batch,
        on_step=on_step,
    )
    return Edited(out, (*found.notices, *_save(changed, model.spec, out, before=found.pixels)))


def interpolate(
    model: Model,
    ends: Ends,
    out: Path,
    *,
    frames: int = 9,
    evaluations: int = EVALUATIONS,
    settings: SamplingSettings | None = None,
    label: str | None = None,
    on_step: OnStep | None = None,
) -> Edited:
    """From one picture to another, or from one seed's sample to another's.

    Args:
        model: from `loang.load`.
        ends: two files, or two seeds.
        out: ends in .gif for an animation; else as for `drawing.draw`, a sheet being one row.
        frames: how many, the ends with them.
        evaluations: of the network, each way, between pictures.
        settings: of the walk, between seeds.
        label: a class by name or number; None is no class.
        on_step: called with (steps done, steps in all).

    Raises:
        LoangError: see `read`, `between_pictures` and `between_seeds`; or it can't be written, or
            is one of the ends.
    """
    moving = out.suffix.lower() in ANIMATIONS
    if moving:
        files.check_folder(out.parent)
    else:
        drawing.check_place(out, model.spec)
        if _is_sheet(out):
            pictures.check_sheet(frames, model.spec, out, frames)
    one, other = ends
    notices: tuple[str, ...] = ()
    if isinstance(one, Path) and isinstance(other, Path):
        check_apart(out, one, other)
        first, last = (read(path, model.spec, model.settings.data) for path in (one, other))
        notices = (*first.notices, *last.notices)
        pixels, error = joining.between_pictures(
            model, first.pixels, last.pixels, frames, evaluations=evaluations, label=label
        )
        notices = (
            *notices,
            f"The ends are the pictures themselves; what comes back of their latents differs by"
            f" {error:.2g} of the range at the most.",
        )
    else:
        assert isinstance(one, int)
        assert isinstance(other, int)
        check_seed(one)
        check_seed(other)
        pixels = joining.between_seeds(
            model, one, other, frames, sampling=settings, label=label, on_step=on_step
        )
    if moving:
        pictures.save_walk(pixels[:, np.newaxis], model.spec, out, frame_ms=FRAME_MS)
    elif out.suffix.lower() in drawing.SHEETS:
        shown = pictures.to_display(pixels, model.spec.low, model.spec.high)
        pictures.save_image(pictures.grid(shown, columns=frames), out)
    else:
        drawing.save(pixels, model.spec, out)
    return Edited(out, notices)


def denoise(
    model: Model,
    picture: Path,
    out: Path,
    *,
    noise: float | None = None,
    walk: bool = False,
    seed: int = 0,
    settings: SamplingSettings | None = None,
    label: str | None = None,
    on_step: OnStep | None = None,
) -> Edited:
    """Clean a picture of its noise, estimated from the picture where nobody says how much it is.

    See `read` and `editing.denoise` for the arguments and errors;
    `out` is none of the files that are read.
    """
    check_seed(seed)
    drawing.check_place(out, model.spec)
    check_apart(out, picture)
    found = read(picture, model.spec, model.settings.data)
    notices = found.notices
    if noise is None:
        noise = cleaning.estimate_noise(found.pixels, model.spec)
        notices = (
            *notices,
            f"Its noise is estimated at {noise:.3g} of the range; --noise says it better.",
        )
    cleaned = cleaning.denoise(
        model,
        found.pixels,
        noise,
        walk=walk,
        seed=seed,
        sampling=settings,
        label=label,
        on_step=on_step,
    )
    return Edited(out, (*notices, *_save(cleaned[np.newaxis], model.spec, out)))


def _is_sheet(out: Path) -> bool:
    return out.suffix.lower() in drawing.SHEETS and not out.is_dir()


def _columns(count: int) -> int | None:
    """Of a sheet of so many; None is about as many as rows."""
    return count if count <= 10 else None


def _check_sheet(count: int, spec: ImageSpec, out: Path) -> None:
    """Before they are drawn: whether `_save` can write so many there."""
    if _is_sheet(out):
        pictures.check_sheet(count, spec, out, _columns(count))


def _save(
    pixels: Shaped[np.ndarray, "n h w c"],
    spec: ImageSpec,
    out: Path,
    before: Shaped[np.ndarray, "h w c"] | None = None,
) -> tuple[str, ...]:
    """One image as a picture with all of its values, several as a sheet, after the one before."""
    suffix = out.suffix.lower()
    if not _is_sheet(out):
        drawing.save(pixels, spec, out)
        return ()
    if len(pixels) > 1:
        several = pixels if before is None else np.concatenate([before[np.newaxis], pixels])
        shown = pictures.to_display(several, spec.low, spec.high)
        pictures.save_image(pictures.grid(shown, columns=_columns(len(several))), out)
        return ()
    if suffix == suffix_of(spec) == ".png":
        save_single(pixels[0], out)
        return ()
    shown = pictures.to_display(pixels, spec.low, spec.high)
    pictures.save_image(pictures.grid(shown, scale=1), out)
    if spec.depth == "uint8":
        return ()
    return (f"{files.shown(out)} is for the screen; a name in .tif keeps every value.",)
