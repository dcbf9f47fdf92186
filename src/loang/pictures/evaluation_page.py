"""One page of an evaluation: what it says, samples, suspects beside their originals, the bars."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Shaped
from PIL import Image

from loang.data.spec import ImageSpec
from loang.pictures.charts import COLORS, INK, figure, furnish, save
from loang.pictures.grid import grid, to_display
from loang.pictures.samples import sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OURS, REAL, OTHER = COLORS[0], "#999999", COLORS[1]
PAIRS_IN_A_ROW = 7
MOST_CLASSES = 25  # that a panel has room for
LONGEST = 110  # letters that a line has room for
Point = tuple[float | None, float | None]
"""A value and its standard error, each None where it is not known."""


@dataclass(frozen=True)
class Bars:
    """A panel of bars.

    Args:
        title: of the panel.
        names: of the bars.
        points: of the bars.
        beside: of grey bars behind them; empty for none.
    """

    title: str
    names: Sequence[str]
    points: Sequence[Point]
    beside: Sequence[Point] = ()


@dataclass(frozen=True)
class Curve:
    """A measure by training step.

    Args:
        title: of the panel.
        steps: of training.
        points: at each.
        floor: where real images are; None where that is not known.
    """

    title: str
    steps: Sequence[int]
    points: Sequence[Point]
    floor: float | None


@dataclass(frozen=True)
class Gallery:
    """The images of the page, all of one kind.

    Args:
        samples: the first ones.
        suspects: the samples most like a training image, and
        originals: of each, that image.
        spec: what all of them are.
    """

    samples: Shaped[np.ndarray, "n h w c"]
    suspects: Shaped[np.ndarray, "k h w c"]
    originals: Shaped[np.ndarray, "k h w c"]
    spec: ImageSpec


def evaluation_page(
    path: str | PathLike[str],
    *,
    title: str,
    subtitle: str,
    sentences: Sequence[str],
    gallery: Gallery,
    bars: Sequence[Bars],
    by_class: Bars | None = None,
    curve: Curve | None = None,
) -> None:
    """Draw the page.

    Args:
        path: ends in .png or .svg.
        title: what was measured against what.
        subtitle: how many, and in which space.
        sentences: what the numbers say.
        gallery: the images.
        bars: a small panel each.
        by_class: a wide panel; None where there are no classes.
        curve: a wide panel; None where no checkpoints were scored.

    Raises:
        LoangError: another suffix, or a place that can't be written.
    """
    if by_class is not None and len(by_class.names) > MOST_CLASSES:
        by_class = None
    wide = [panel for panel in (by_class, curve) if panel is not None]
    page = figure(11.0, 8.6 + 2.6 * len(wide))
    heights = [1.7, 4.6, 2.3, *[2.6] * len(wide)]
    rows = np.asarray(page.subfigures(len(heights), 1, height_ratios=heights, hspace=0.0))
    # Text of the figure, not of axes: however long, it moves nothing else.
    rows[0].text(0.015, 0.93, _cut(title), fontsize=15, fontweight="bold", color=INK, va="top")
    rows[0].text(0.015, 0.77, _cut(subtitle), fontsize=10, color=INK, va="top")
    body = "\n".join(
        textwrap.fill(sentence, 140, initial_indent="• ", subsequent_indent="  ")
        for sentence in sentences
    )
    rows[0].text(0.015, 0.62, body, fontsize=9, color=INK, va="top", linespacing=1.35)
    left, right = rows[1].subplots(1, 2, width_ratios=(1, 1))
    _picture(left, sheet(gallery.samples, gallery.spec), "Samples")
    _picture(right, pairs(gallery), "Most like a training image: sample above, original below")
    panels = rows[2].subplots(1, len(bars), squeeze=False)[0]
    for axes, panel in zip(panels, bars, strict=True):
        _bars(axes, panel, upright=False)
    for row, each in zip(rows[3:], wide, strict=True):
        axes = row.subplots()
        if isinstance(each, Bars):
            _bars(axes, each, upright=True)
        else:
            _curve(axes, each)
    save(page, Path(path))


def pairs(gallery: Gallery) -> Image.Image:
    """Samples, each above the training image that is most like it, a few a row."""
    spec, count = gallery.spec, len(gallery.suspects)
    both = np.stack((gallery.suspects, gallery.originals), axis=1)
    # A blank row between pairs tells which image belongs to which.
    shown = to_display(both.reshape(-1, *both.shape[2:]), spec.low, spec.high)
    gap = max(2, shown.shape[1] // 6)
    tall = np.full((count, 2 * shown.shape[1] + gap, *shown.shape[2:]), 255, np.uint8)
    tall[:, : shown.shape[1]] = shown[0::2]
    tall[:, shown.shape[1] : 2 * shown.shape[1]] = shown[1::2]
    return grid(tall, columns=PAIRS_IN_A_ROW)


def _picture(axes: "Axes", image: Image.Image, title: str) -> None:
    furnish(axes, title)
    axes.imshow(image.convert("RGB"), interpolation="nearest")
    axes.axis("off")
    axes.set_anchor("N")


def _bars(axes: "Axes", panel: Bars, *, upright: bool) -> None:
    furnish(axes, panel.title)
    places = np.arange(len(panel.names))
    values, errors = _arrays(panel.points)
    if upright:
        if panel.beside:
            axes.bar(places + 0.2, _arrays(panel.beside)[0], width=0.4, color=REAL)
        shift = -0.2 if panel.beside else 0.0
        axes.bar(places + shift, values, width=0.4, yerr=errors, color=OURS, ecolor=INK)
        axes.set_xticks(places, [_cut(name, 12) for name in panel.names], fontsize=8)
        axes.grid(visible=False, axis="x")
    else:
        colors = [OURS, REAL, OTHER, INK][: len(places)]
        axes.barh(places, values, xerr=errors, color=colors, ecolor=INK, height=0.6)
        axes.set_yticks(places, panel.names, fontsize=8)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        for place, value in zip(places, values, strict=True):
            if np.isfinite(value):
                axes.annotate(
                    f"{value:.3g}",
                    (max(value, 0.0), place),
                    (4, 9),
                    textcoords="offset points",
                    fontsize=8,
                    color=INK,
                )
        axes.margins(x=0.18)


def _curve(axes: "Axes", panel: Curve) -> None:
    furnish(axes, panel.title)
    values, errors = _arrays(panel.points)
    axes.errorbar(panel.steps, values, yerr=errors, marker="o", color=OURS, ecolor=INK)
    if panel.floor is not None:
        axes.axhline(panel.floor, color=REAL, linestyle="--")
        axes.annotate("other real images", (panel.steps[0], panel.floor), fontsize=8, color=INK)
    axes.set_ylim(bottom=0.0)
    axes.set_xlabel("step")


def _cut(text: str, longest: int = LONGEST) -> str:
    """The text, or as much of it as there is room for."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _arrays(points: Sequence[Point]) -> tuple[np.ndarray, np.ndarray]:
    """Values, not a number where there is none; and errors, 0 where there is none."""
    values = [np.nan if value is None else value for value, _ in points]
    errors = [0.0 if error is None or not np.isfinite(error) else error for _, error in points]
    return np.array(values, dtype=np.float64), np.array(errors, dtype=np.float64)
