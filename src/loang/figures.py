"""The tutorial's figures: schedules, an image as it is noised, and the walk back."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from loang import pictures, process, random
from loang.build import build_schedule
from loang.config import ScheduleSettings, Settings
from loang.data import Dataset
from loang.data.scaling import to_model, to_pixels
from loang.errors import LoangError
from loang.model import Model

COLUMNS = 11
SHOWN: tuple[tuple[Literal["linear", "scaled-linear", "cosine", "sigmoid"], bool], ...] = (
    ("linear", False),
    ("scaled-linear", False),
    ("cosine", False),
    ("sigmoid", False),
    ("linear", True),
)
"""The schedules of the figure, and whether with zero terminal SNR."""


def schedule_figure(out: Path, steps: int = 1000) -> None:
    """The article's figures 3-5, for all schedules side by side, and their log-SNR.

    Raises:
        LoangError: fewer than 2 steps, or a suffix that charts are not written to.
    """
    if steps < 2:
        raise LoangError(f"A schedule of {steps} steps is none.", "Ask for --steps 2 or more.")
    made = [
        build_schedule(ScheduleSettings(kind=kind, steps=steps, zero_terminal_snr=zero))
        for kind, zero in SHOWN
    ]
    every = torch.arange(steps + 1)
    alpha_bar = {each.name: each.signal(every).square().numpy() for each in made}
    pictures.schedule_chart(alpha_bar, out)


def noising_figure(
    dataset: Dataset, settings: Settings, out: Path, index: int = 0, seed: int = 0
) -> None:
    """One image at t = 0, T/10, ... T, with the same noise at each: the article's figure 7.

    Of a schedule of real time, at the levels of a walk; what is larger than an image is shrunk.

    Raises:
        LoangError: there is no image of that number.
    """
    if not 0 <= index < len(dataset.train):
        raise LoangError(
            f"{dataset.name} has no image number {index}.",
            f"They count from 0 to {len(dataset.train) - 1}.",
        )
    of = build_schedule(settings.schedule)
    t = torch.tensor(of.levels(min(COLUMNS - 1, of.most_steps))[::-1])
    x0 = to_model(dataset.train[np.array([index])], dataset.spec).expand(len(t), -1, -1, -1)
    eps = random.normal(
        dataset.spec.shape, seed=seed, purpose="figure", step=0, indices=torch.tensor([index])
    ).expand_as(x0)
    x_t = process.diffuse(of, x0, t, eps)
    x_t = x_t / process.like(of.size(t), x_t)
    spec = dataset.spec
    shown = pictures.to_display(to_pixels(x_t, spec), spec.low, spec.high)
    captions = [caption(time) for time in t.tolist()]
    pictures.save_image(pictures.captioned_rows([shown], column_captions=captions), out)


def denoising_figure(model: Model, out: Path, seed: int = 0, label: str | None = None) -> None:
    """The walk from T to 0 as a strip: x_t, and below it the image that the denoiser sees in it.

    Raises:
        LoangError: the model knows no such class.
    """
    index = None if label is None else model.class_index(label)
    walk = list(model.walk([0], seed=seed, labels=model.labels([0], index)))
    chosen = [walk[i] for i in levels(len(walk) - 1)]
    spec = model.spec
    noisy, seen = (
        pictures.to_display(to_pixels(torch.cat(images), spec), spec.low, spec.high)
        for images in ([state.x for state in chosen], [state.x0 for state in chosen])
    )
    captions = [caption(state.t) for state in chosen]
    picture = pictures.captioned_rows(
        [noisy, seen], column_captions=captions, row_captions=["x_t", "predicted x_0"]
    )
    pictures.save_image(picture, out)


def levels(last: int) -> Sequence[int]:
    """0, a tenth, two tenths ... of `last`: eleven numbers, fewer where it is small."""
    count = min(COLUMNS, last + 1)
    return [round(last * i / max(count - 1, 1)) for i in range(count)]


def caption(t: float) -> str:
    """A time in a few digits; a whole one in full."""
    return f"t = {int(t)}" if t == int(t) else f"t = {t:.3g}"
