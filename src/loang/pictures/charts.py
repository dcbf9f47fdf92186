"""Two charts: noise schedules side by side, and how a training run went.

Matplotlib is imported when a chart is drawn, and without `pyplot`: there is no global figure, no
display, and `import loang` stays fast.
"""

from collections.abc import Callable, Mapping, Sequence
from math import ceil, isfinite
from numbers import Real
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from loang.files import replacing
from loang.pictures.formats import format_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import Formatter

FORMATS = {".png": "png", ".svg": "svg"}
# Okabe and Ito (2008): told apart with any colour vision; the dashes tell them apart in grey.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES: tuple[Any, ...] = ("-", (0, (6, 2)), (0, (1, 1.2)), (0, (7, 2, 1.5, 2)), (0, (3, 1.5)))
INK, FAINT = "#333333", "#d9d9d9"

Curve = Callable[[Float[np.ndarray, " points"]], Float[np.ndarray, " points"]]
PANELS: tuple[tuple[str, str, Curve], ...] = (
    ("The signal's share of the variance", r"$\bar\alpha_t$", lambda a: a),
    ("Scale of the image", r"$\sqrt{\bar\alpha_t}$", np.sqrt),
    ("Scale of the noise", r"$\sqrt{1-\bar\alpha_t}$", lambda a: np.sqrt(1.0 - a)),
    (
        "Signal-to-noise ratio, natural logarithm",
        r"$\log\,\bar\alpha_t\,/\,(1-\bar\alpha_t)$",
        lambda a: np.log(a) - np.log1p(-a),
    ),
)


def schedule_chart(
    curves: Mapping[str, Float[np.ndarray, " _"]], path: str | PathLike[str]
) -> None:
    """Draw noise schedules on one page: alpha_bar, both scales and the log-SNR against t/T.

    Args:
        curves: a schedule's name to its alpha_bar at t = 0, 1, ..., T (T + 1 values from 1 down
            to 0, T at least 1). Schedules of different T share the page, since time is shown
            as t/T. Where the log-SNR is infinite (alpha_bar of 1 or 0), it is left out.
        path: ends in .png or .svg.

    Raises:
        LoangError: another suffix.
        ValueError: no curves, or one with fewer than two values or with a value outside [0, 1].
    """
    if not curves:
        raise ValueError("there is no schedule to draw")
    for name, alpha_bar in curves.items():
        if len(alpha_bar) < 2 or not np.all((alpha_bar >= 0.0) & (alpha_bar <= 1.0)):
            raise ValueError(f"the alpha_bar of {name!r} is not two or more values in [0, 1]")
    page = figure(9.0, 7.0)
    panels = page.subplots(2, 2, sharex=True).flat
    for axes, (title, formula, of_alpha_bar) in zip(panels, PANELS, strict=True):
        furnish(axes, title)
        axes.set_ylabel(formula, fontsize=12)
        for index, (name, values) in enumerate(curves.items()):
            alpha_bar = values.astype(np.float64)
            with np.errstate(divide="ignore"):  # the log-SNR where alpha_bar is 0 or 1
                y = of_alpha_bar(alpha_bar)
            axes.plot(
                np.linspace(0.0, 1.0, len(alpha_bar)),
                y,
                color=COLORS[index % len(COLORS)],
                linestyle=DASHES[index % len(DASHES)],
                linewidth=2.0,
                label=name,
            )
        axes.set_xlim(0.0, 1.0)
    for axes in page.axes[2:]:
        axes.set_xlabel("time $t\\,/\\,T$")
    page.legend(
        *page.axes[0].get_legend_handles_labels(),
        loc="outside upper center",
        ncols=ceil(len(curves) / ceil(len(curves) / 3)),  # as even as rows of at most three can be
        frameon=False,
        handlelength=3.2,
        labelcolor=INK,
    )
    save(page, Path(path))


def training_chart(records: Sequence[Mapping[str, Any]], path: str | PathLike[str]) -> None:
    """Draw losses and the learning rate of a training run against the images it has seen.

    Args:
        records: what the run reported, in order. Read are the keys `images`, `loss`,
            `validation_loss`, `validation_loss_ema` and `learning_rate`; each record may lack any
            of them, or hold None or a value that is not finite, which is left out. Where no
            record has anything to draw, no file is written.
        path: ends in .png or .svg.

    Raises:
        LoangError: another suffix.
    """
    target = Path(path)
    format_of(target, FORMATS, "charts")
    lines = {
        key: _points(records, key)
        for key in ("loss", "validation_loss", "validation_loss_ema", "learning_rate")
    }
    if all(len(x) == 0 for x, _ in lines.values()):
        return
    rate = lines.pop("learning_rate")
    page = figure(9.0, 5.5)
    if len(rate[0]):
        upper, lower = page.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        furnish(lower, "Learning rate")
        _line(lower, *rate, color=INK, linewidth=1.5, clip_on=False)
        lower.set_ylim(bottom=0.0)
        lower.ticklabel_format(axis="y", style="sci", scilimits=(0, 0), useMathText=True)
    else:
        upper = lower = page.subplots()
    furnish(upper, "Loss")
    upper.set_ylabel("mean squared error")
    _draw_losses(upper, lines)
    lower.set_xlim(left=0.0)
    lower.set_xlabel("images seen")
    lower.xaxis.set_major_formatter(_engineering())
    save(page, target)


def _draw_losses(axes: "Axes", lines: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """The training loss, faint as reported and strong when smoothed, and both validation losses."""
    x, y = lines["loss"]
    smooth = _smoothed(y)
    if smooth is not None:
        axes.plot(x, y, color=COLORS[0], alpha=0.35, linewidth=0.9)
        axes.plot(x, smooth, color=COLORS[0], linewidth=2.0, label="training (smoothed)")
    else:
        _line(axes, x, y, color=COLORS[0], label="training")
    for key, label, color, dashes in (
        ("validation_loss", "validation", COLORS[1], DASHES[1]),
        ("validation_loss_ema", "validation, averaged weights", COLORS[2], DASHES[2]),
    ):
        _line(axes, *lines[key], color=color, linestyle=dashes, label=label)
    everything = np.concatenate([y for _, y in lines.values()])
    if len(everything) and everything.min() > 0.0 and everything.max() > 4.0 * everything.min():
        _plain_log_scale(axes)
    if axes.lines:
        axes.legend(frameon=False, loc="upper right", handlelength=3.2, labelcolor=INK)


def _points(
    records: Sequence[Mapping[str, Any]], key: str
) -> tuple[Float[np.ndarray, " points"], Float[np.ndarray, " points"]]:
    """Images seen and the value of `key`, wherever a record has both as finite numbers."""
    pairs = [(record.get("images"), record.get(key)) for record in records]
    points = np.array(
        [pair for pair in pairs if all(isinstance(v, Real) and isfinite(v) for v in pair)],
        dtype=np.float64,
    ).reshape(-1, 2)
    return points[:, 0], points[:, 1]


def _smoothed(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"] | None:
    """The average of each point and up to 4 % of all points on either side; None for few points.

    Near the start the window is smaller: the loss falls so steeply there that an average over
    many points would lie far above it.
    """
    count = len(values)
    if count < 25:
        return None
    index = np.arange(count)
    reach = np.minimum(index // 4, count // 25)
    first, last = index - reach, np.minimum(index + reach, count - 1)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    return (sums[last + 1] - sums[first]) / (last + 1 - first)


def _line(axes: "Axes", x: np.ndarray, y: np.ndarray, **style: Any) -> None:
    """A line with a dot at each point where there are few of them; nothing where there are none."""
    if len(x):
        axes.plot(x, y, marker="o" if len(x) <= 20 else None, markersize=4.5, **style)


def _plain_log_scale(axes: "Axes") -> None:
    """A logarithmic axis that is labelled 0.05, 0.1, 0.2 rather than in powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def _engineering() -> "Formatter":
    """Numbers as 20k and 1.5M."""
    from matplotlib.ticker import EngFormatter

    return EngFormatter(sep="")


def figure(width: float, height: float) -> "Figure":
    """A page of so many inches that belongs to nobody but its caller."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.08)
    return Figure(figsize=(width, height), dpi=130, layout=layout, facecolor="white")


def furnish(axes: "Axes", title: str) -> None:
    """The look that all panels share: a quiet frame, a faint grid, a title at the left."""
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", color=INK)
    axes.set_axisbelow(True)
    axes.grid(color=FAINT, linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#999999")
    axes.tick_params(colors=INK, labelsize=9, length=3, color="#999999")
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)


def save(figure: "Figure", path: Path) -> None:
    """Write the page in the format that its suffix asks for, whole or not at all."""
    kind = format_of(path, FORMATS, "charts")
    with replacing(path) as beside:
        figure.savefig(beside, format=kind)
