"""The page of `loang doctor RUN`: a network's error by noise level, beside simpler guesses."""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from loang.pictures.charts import COLORS, DASHES, INK, figure, furnish, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BAND = 2.0  # standard errors to either side
STYLE = {
    "network": (COLORS[0], DASHES[0], 2.4),
    "raw": (COLORS[5], DASHES[1], 1.8),
    "training": (COLORS[2], DASHES[2], 2.0),
    "gaussian": (COLORS[1], DASHES[3], 1.8),
    "plain": ("#999999", DASHES[4], 1.8),
}
SHADE = "#f3f1e7"
TOP, BOTTOM = 8.0, 0.02  # ratios beyond which nothing more is seen of a curve


@dataclass(frozen=True)
class Curve:
    """A mean by noise level.

    Args:
        name: which of "network", "raw", "training", "gaussian" and "plain" it is.
        label: what the legend calls it.
        values: at each level; None where it is not known.
        errors: of each, standard errors or None.
    """

    name: str
    label: str
    values: Sequence[float | None]
    errors: Sequence[float | None]


def doctor_page(
    path: str | PathLike[str],
    *,
    title: str,
    log_snr: Sequence[float],
    errors: Sequence[Curve],
    ratios: Sequence[Curve],
    decided: Sequence[float] = (),
) -> None:
    """Draw errors above, and their ratio to the Gaussian's below, from faint noise to pure noise.

    Args:
        path: ends in .png or .svg.
        title: of the page.
        log_snr: of each level.
        errors: mean squared errors of x_0.
        ratios: of these to the Gaussian's; empty where there is none to compare with.
        decided: log-SNR of the levels where shapes are decided, which are shaded.

    Raises:
        LoangError: another suffix, or a place that can't be written.
    """
    page = figure(9.0, 7.6 if ratios else 5.0)
    panels = page.subplots(2 if ratios else 1, 1, sharex=True, squeeze=False)[:, 0]
    page.suptitle(title, fontsize=14, fontweight="bold", color=INK, x=0.015, ha="left")
    upper = panels[0]
    furnish(upper, "Error of the image that is seen in the noise (bands: two standard errors)")
    upper.set_ylabel("mean squared error of $x_0$")
    _draw(upper, log_snr, errors)
    upper.set_yscale("log")
    if ratios:
        lower = panels[1]
        furnish(lower, "The same, in units of the Gaussian's error: below 1 it knows more")
        lower.set_ylabel("error / Gaussian's")
        _draw(lower, log_snr, ratios)
        lower.axhline(1.0, color=STYLE["gaussian"][0], linestyle=DASHES[3], linewidth=1.8)
        _plain_ratios(lower, ratios)
    step = (max(log_snr) - min(log_snr)) / max(2 * (len(log_snr) - 1), 1)
    for axes in panels:
        if decided:
            ends = max(decided) + step, min(decided) - step
            axes.axvspan(*ends, color=SHADE, zorder=0, label="_shapes")
    if decided:
        middle = (max(decided) + min(decided)) / 2
        upper.annotate(
            "where shapes are decided",
            (middle, 0.02),
            xycoords=("data", "axes fraction"),
            ha="center",
            fontsize=8.5,
            color="#8a8466",
        )
    panels[0].set_xlim(max(log_snr) + step, min(log_snr) - step)
    panels[-1].set_xlabel("log-SNR: faint noise at the left, almost nothing but noise at the right")
    upper.legend(frameon=False, loc="upper left", handlelength=3.2, labelcolor=INK, fontsize=9)
    save(page, Path(path))


def _draw(axes: "Axes", log_snr: Sequence[float], curves: Sequence[Curve]) -> None:
    for curve in curves:
        color, dashes, width = STYLE[curve.name]
        x = np.asarray(log_snr, dtype=np.float64)
        y = np.array([np.nan if v is None else v for v in curve.values], dtype=np.float64)
        reach = BAND * np.array([0.0 if e is None else e for e in curve.errors])
        # A logarithmic axis has no room for 0 and less.
        low = np.maximum(y - reach, y * 0.05)
        axes.fill_between(x, low, y + reach, color=color, alpha=0.18, linewidth=0)
        axes.plot(
            x,
            y,
            color=color,
            linestyle=dashes,
            linewidth=width,
            marker="o",
            markersize=3.5,
            label=curve.label,
        )


def _plain_ratios(axes: "Axes", ratios: Sequence[Curve]) -> None:
    """A logarithmic axis labelled 0.5, 1, 2, which holds every curve as far as is useful."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    known = [v for curve in ratios for v in curve.values if v is not None and v > 0]
    low, high = min([*known, 0.8]), max([*known, 1.25])
    axes.set_yscale("log")
    axes.set_ylim(max(low / 1.2, BOTTOM), min(high * 1.2, TOP))
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 7.0, 8.0, 9.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
