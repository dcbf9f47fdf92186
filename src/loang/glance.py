"""A model as a notebook shows it: some samples, as far as a few seconds go, and what it is."""

import base64
import contextlib
import html
import time
from collections.abc import Generator
from typing import cast

from loang.data.scaling import to_pixels
from loang.errors import LoangError
from loang.model import Model
from loang.pictures.notebook import sheet_png
from loang.pictures.samples import columns
from loang.samplers import State
from loang.walking import chosen, levels_of

SECONDS = 3.0
"""After which a walk is left where it is."""
MOST_PIXELS = 2**16
"""Of all samples together: eight of 64x64, or one of 256x256, are as many as can be waited for."""


def page(model: Model, seconds: float = SECONDS) -> str:
    """A piece of HTML: a row of samples of seed 0, and a line of words.

    Where the seconds are over before the walk is, the picture is what the denoiser sees by then.
    """
    try:
        picture, said = _drawn(model, seconds)
    except LoangError as error:
        picture, said = "", str(error)
    return f"<div>{picture}<div>{html.escape(_about(model))}<br>{html.escape(said)}</div></div>"


def _drawn(model: Model, seconds: float) -> tuple[str, str]:
    """The picture, and how it was drawn."""
    spec, schedule = model.spec, model.denoiser.schedule
    sampling = chosen(model.settings.sampling, schedule)
    steps = len(levels_of(sampling, schedule)) - 1
    count = max(1, min(columns(spec), MOST_PIXELS // (spec.height * spec.width)))
    began = time.monotonic()
    walk = cast(Generator[State, None, None], model.walk(range(count), sampling=sampling))
    with contextlib.closing(walk):
        for done, state in enumerate(walk):
            last = state
            if done and time.monotonic() - began > seconds:
                break
    if not bool(last.x0.isfinite().all()):
        return "", "What it draws is not all numbers: its weights are too large."
    content = base64.b64encode(sheet_png(to_pixels(last.x0, spec), spec)).decode()
    how = f"{count} samples of seed 0 by {sampling.sampler}"
    way = f"{steps} steps" if last.t == 0 else f"what it sees after {done} of {steps} steps"
    return f'<img alt="samples" src="data:image/png;base64,{content}">', f"{how}, {way}"


def _about(model: Model) -> str:
    spec, settings = model.spec, model.settings
    weights = sum(parameter.numel() for parameter in model.denoiser.parameters())
    classes = f", {len(spec.class_names)} classes" if model.knows_labels else ""
    return (
        f"{spec.described}{classes}; {settings.network.kind}, {weights:,} parameters;"
        f" {model.denoiser.schedule.name} schedule, predicts {settings.denoiser.predicts}"
    )
