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

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OURS, REAL, OTHER = COLORS[0], "#999999", COLORS[1]
PAIRS_IN_A_ROW = 7
MOST_CLASSES = 25  # that a panel has room for
LONGEST, WRAP = 72, 150  # letters that a title has room for, and a line of a sentence
LINE = 0.175  # inches from one line to the next
ACROSS, SMALL = 10, 64  # samples a row where no side is longer than that; else
FEWER = 6
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
        samples: the first ones; the page shows a square of them.
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
    body = [
        line
        for sentence in sentences
        for line in textwrap.wrap(sentence, WRAP, initial_indent="• ", subsequent_indent="  ")
    ]
    head = 0.85 + LINE * len(body)
    heights = [head, 4.6, 2.3, *[2.6] * len(wide)]  # inches
    page = figure(11.0, sum(heights))
    rows = np.asarray(page.subfigures(len(heights), 1, height_ratios=heights, hspace=0.0))
    # Text of the figure, not of axes: however long, it moves nothing else.
    lines = [(title, 0.12, 15), (subtitle, 0.4, 10)]
    lines += [(line, 0.67 + LINE * number, 9) for number, line in enumerate(body)]
    for text, inches, size in lines:
        weight = "bold" if text is title else "normal"
        shown = _cut(text, LONGEST if text is title else WRAP)
        rows[0].text(
            0.015, 1 - inches / head, shown, fontsize=size, fontweight=weight, color=INK, va="top"
        )
    left, right = rows[1].subplots(1, 2, width_ratios=(1, 1))
    _picture(left, _samples(gallery), "Samples")
    _picture(right, pairs(gallery), "Samples most like a training image, which is below")
    panels = rows[2].subplots(1, len(bars), sharey=True, squeeze=False)[0]
    for axes, panel in zip(panels, bars, strict=True):
        _bars(axes, panel, upright=False)
    for row, each in zip(rows[3:], wide, strict=True):
        axes = row.subplots()
        if isinstance(each, Bars):
            _bars(axes, each, upright=True)
        else:
            _curve(axes, each)
    save(page, Path(path))


def _samples(gallery: Gallery) -> Image.Image:
    spec = gallery.spec
    across = ACROSS if max(spec.height, spec.width) <= SMALL else FEWER
    shown = to_display(gallery.samples[: across**2], spec.low, spec.high)
    return grid(shown, columns=across)


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
    axes.set_anchor("NW")


def _bars(axes: "Axes", panel: Bars, *, upright: bool) -> None:
    furnish(axes, panel.title)
    places = np.arange(len(panel.names))
    values, errors = _arrays(panel.points)
    if upright:
        if panel.beside:
            beside, doubts = _arrays(panel.beside)
            axes.bar(places + 0.2, beside, width=0.4, yerr=doubts, color=REAL, ecolor=INK)
        shift = -0.2 if panel.beside else 0.0
        axes.bar(places + shift, values, width=0.4, yerr=errors, color=OURS, ecolor=INK)
        axes.set_xticks(places, [_cut(name, 12) for name in panel.names], fontsize=8)
        axes.set_xlim(-0.6, len(places) - 0.4)
        axes.grid(visible=False, axis="x")
        for place in places[~np.isfinite(values)]:
            _note(axes, "too few", (float(place), 0.0), (-12, 3))
    else:
        colors = [OURS, REAL, OTHER, INK][: len(places)]
        axes.barh(places, values, xerr=errors, color=colors, ecolor=INK, height=0.6)
        axes.set_yticks(places, panel.names, fontsize=9)
        axes.set_ylim(len(places) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        for place, value in zip(places, values, strict=True):
            known = bool(np.isfinite(value))
            at = (max(value, 0.0) if known else 0.0, float(place))
            _note(axes, _short(value) if known else "too few", at, (4, 9))
        axes.margins(x=0.22)


def _curve(axes: "Axes", panel: Curve) -> None:
    from matplotlib.ticker import MaxNLocator

    furnish(axes, panel.title)
    values, errors = _arrays(panel.points)
    axes.errorbar(panel.steps, values, yerr=errors, marker="o", color=OURS, ecolor=INK)
    if panel.floor is not None:
        axes.axhline(panel.floor, color=REAL, linestyle="--")
        _note(axes, "other real images", (float(panel.steps[0]), panel.floor), (0, 4))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(bottom=0.0)
    axes.set_xlabel("step")


def _note(axes: "Axes", text: str, at: tuple[float, float], points: tuple[int, int]) -> None:
    """Small text, so many points to the right of and above a place."""
    axes.annotate(text, at, points, textcoords="offset points", fontsize=8, color=INK)


def _short(value: float) -> str:
    """Three significant digits."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:#.3g}".rstrip(".")


def _cut(text: str, longest: int = LONGEST) -> str:
    """The text, or as much of it as there is room for."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _arrays(points: Sequence[Point]) -> tuple[np.ndarray, np.ndarray]:
    """Values, not a number where there is none; and errors, 0 where there is none."""
    values = [np.nan if value is None else value for value, _ in points]
    errors = [0.0 if error is None or not np.isfinite(error) else error for _, error in points]
    return np.array(values, dtype=np.float64), np.array(errors, dtype=np.float64)
