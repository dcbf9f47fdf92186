"""A report in words: numbers with their errors, and the sentences that a person reads first."""

import math
from collections.abc import Mapping
from typing import Any

from loang.evaluation.report import COLUMNS, Report, Space
from loang.evaluation.table import MEASURES, Cell
from loang.likelihood import Likelihood
from loang.metrics.estimate import NORMAL_95, Estimate, difference
from loang.walking import described

ARROWS = {"lower": "↓", "higher": "↑"}
KNOWN = {
    "uniform": "every level alike",
    "pixel histogram": "each pixel's own histogram",
    "pixel Gaussian": "each pixel's own Gaussian",
}
NOTICEABLE = 0.05  # a difference of shares that is worth a sentence


def sentences(report: Report) -> list[str]:
    """What the numbers say, most important first."""
    said = [_distance(report.space), _told_apart(report.space), _balance(report.space)]
    said += [_asked(report), _missing(report)]
    said += [_copying(report), _trained(report)]
    said += [_likely(report.likelihood)]
    return [sentence for sentence in said if sentence]


def number(value: float) -> str:
    """Three significant digits, without an exponent where it can be read without."""
    if not math.isfinite(value):
        return str(value)
    if value == 0 or 1e-4 <= abs(value) < 1e5:
        digits = 2 if value == 0 else max(0, 2 - math.floor(math.log10(abs(value))))
        return f"{value:,.{digits}f}"
    return f"{value:.2e}"


def measured(cell: Cell | None) -> str:
    """A value with its error, to the digit that the error leaves; a dash where there is none."""
    if cell is None or cell.estimate is None:
        return "–"
    value, error = cell.estimate.value, cell.estimate.error
    if error is None or error <= 0 or not math.isfinite(error):
        return number(value)
    digits = max(0, 1 - math.floor(math.log10(error)))
    if digits > 6:
        return f"{value:.2e} ± {error:.0e}"
    return f"{round(value, digits) + 0.0:,.{digits}f} ± {error:.{digits}f}"  # + 0.0: never -0


def percent(value: float) -> str:
    """A share as a percentage; with decimals where it is small."""
    if 0 < value < 0.001:
        return f"{100 * value:.1g} %"
    return f"{100 * value:.1f} %" if 0 < value < 0.1 else f"{100 * value:.0f} %"


def _estimate(space: Space, column: str, name: str) -> Estimate | None:
    return space.columns[column].cells[name].estimate


def _value(space: Space, column: str, name: str) -> float | None:
    found = _estimate(space, column, name)
    return None if found is None else found.value


def _distance(space: Space) -> str | None:
    ours, floor, ceiling = (
        _estimate(space, column, "frechet") for column in ("samples", "floor", "gaussian")
    )
    if ours is None or floor is None or ceiling is None:
        return None
    said = (
        f"Fréchet distance {measured(Cell(ours))}"
        f" ({space.name}, {space.columns['samples'].count:,} samples);"
        f" {space.columns['floor'].count:,} other real images are at {measured(Cell(floor))},"
        f" images of the pixel Gaussian at {measured(Cell(ceiling))}"
    )
    far, telling = _beyond_chance(ours, floor), _beyond_chance(ceiling, floor)
    if not far and not telling:
        return f"{said}: so few images can't tell good from bad by this distance."
    if not far:
        return f"{said}: no farther than real images are from one another, as far as this can tell."
    if ours.value >= ceiling.value:
        return f"{said}: farther than real images and the pixel Gaussian, which knows no shapes."
    if not telling:
        return f"{said}: farther than real images are from one another."
    way = (ours.value - floor.value) / (ceiling.value - floor.value)
    return f"{said}: {percent(way)} of the way from real to that."


def _beyond_chance(farther: Estimate, nearer: Estimate) -> bool:
    """Whether one distance is larger than another by more than chance explains."""
    apart = difference(farther, nearer)
    return apart.value > NORMAL_95 * (apart.error or 0.0)


def _told_apart(space: Space) -> str | None:
    ours, floor = _value(space, "samples", "two_sample"), _value(space, "floor", "two_sample")
    if ours is None:
        return None
    beside = "" if floor is None else f" (real from real: {percent(floor)})"
    return (
        f"A small classifier tells samples from real images in {percent(ours)} of cases{beside};"
        " 50 % is a coin's."
    )


def _balance(space: Space) -> str | None:
    """Whether samples fall short in looking real, or in variety."""
    lacks: dict[str, float] = {}
    for name in ("precision", "recall"):
        ours, floor = _value(space, "samples", name), _value(space, "floor", name)
        if ours is None or floor is None:
            return None
        lacks[name] = floor - ours
    looks, varies = lacks["precision"], lacks["recall"]
    if max(looks, varies) < NOTICEABLE:
        return "They look as real, and vary as much, as real images do, as far as this can tell."
    if looks > varies + NOTICEABLE:
        return "They fall short in looking real (precision) more than in variety (recall)."
    if varies > looks + NOTICEABLE:
        return "They fall short in variety (recall) more than in looking real (precision)."
    return "They fall short in looking real (precision) and in variety (recall) alike."


def _asked(report: Report) -> str | None:
    classes = report.classes
    if classes is None or classes.accuracy is None or classes.accuracy.estimate is None:
        return None
    real = classes.real_accuracy
    beside = (
        ""
        if real is None or real.estimate is None
        else f" (of real images: {percent(real.estimate.value)})"
    )
    return (
        f"{percent(classes.accuracy.estimate.value)} of samples are seen as the class that was"
        f" asked for{beside}."
    )


def _missing(report: Report) -> str | None:
    """Classes that are drawn less than a fifth as often as they are real."""
    classes = report.classes
    if classes is None:
        return None
    rare = [
        name
        for name, share, real in zip(
            classes.names, classes.shares, classes.real_shares, strict=True
        )
        if real > 0.01 and share < real / 5
    ]
    return f"Nearly missing: {', '.join(rare)}." if rare else None


def _copying(report: Report) -> str:
    """The strongest sign of copying, or that there is none."""
    few = report.data["held_out_images"]
    known = {name: found for name, found in report.copies.items() if found.calibrated}
    if not known:
        return (
            "Whether training images are copied can't be told: there are too few held-out images"
            f" to compare with ({few:,})."
        )
    name, found = max(known.items(), key=lambda item: item[1].interval[0])
    low, high = found.interval
    if low > 0:
        return (
            f"About {percent(found.share.value)} of the samples ({percent(low)} to"
            f" {percent(high)}) are copies of training images, judged by {name}."
        )
    most = max(each.interval[1] for each in known.values())
    return f"No sign that training images are copied: at most {percent(most)} of the samples."


def _trained(report: Report) -> str | None:
    """How the distance went while the model was trained."""
    if len(report.history) < 2:
        return None
    first, last = report.history[0], report.history[-1]
    return (
        f"From step {first['step']:,} to step {last['step']:,} of training the Fréchet distance"
        f" went from {recorded(first['frechet'])} to {recorded(last['frechet'])}."
    )


def _likely(found: Likelihood | None) -> str | None:
    """How many bits a held-out image takes, and what it takes without a model."""
    if found is None:
        return None
    given = " given its class" if found.about["given_labels"] else ""
    score = found.bound or found.flow
    if score is None:
        return None
    if found.bound is None:
        return (
            f"The log-density of a held-out image{given}, its sign turned, is"
            f" {measured(Cell(score.bits))} bits a value in its own units. Real numbers have no"
            " bits of their own: compare it with other models of these images only."
        )
    best = min(found.baselines, key=lambda name: found.baselines[name])
    return (
        f"A held-out image{given} takes at most {measured(Cell(score.bits))} bits a value"
        f" ({KNOWN[best]}: {found.baselines[best]:.2f})."
    )


def sampled(report: Report) -> str | None:
    """How samples were drawn; None for images that are just there."""
    asked = report.subject.get("sampling")
    if asked is None:
        return None
    return described(asked) + (" by another model" if report.subject.get("guide") else "")


def heads(space: Space) -> list[str]:
    """The columns of a space's table."""
    return [f"{COLUMNS[name]} ({column.count:,})" for name, column in space.columns.items()]


def rows(space: Space) -> list[list[str]]:
    """The rows of a space's table, one a measure."""
    columns = space.columns.values()
    return [
        [f"{measure.title} {ARROWS[measure.better]}"]
        + [measured(column.cells[measure.name]) for column in columns]
        for measure in MEASURES
    ]


def notes(space: Space) -> list[str]:
    """Which measures are left out for want of images, or are of few."""
    found: dict[str, list[str]] = {}
    for measure in MEASURES:
        if note := space.columns["samples"].cells[measure.name].note:
            found.setdefault(note, []).append(measure.title)
    return [f"{', '.join(titles)}: {note}." for note, titles in found.items()]


def recorded(values: Mapping[str, Any]) -> str:
    """A cell of a checkpoint's column, which is kept as plain values."""
    if values.get("value") is None:
        return "–"
    return measured(Cell(Estimate(values["value"], values.get("error"))))
