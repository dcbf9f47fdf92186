"""A report in words: the sentences that a person reads first, and report.md."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from loang.evaluation.report import COLUMNS, Report, Space
from loang.evaluation.table import MEASURES, Cell
from loang.metrics.estimate import Estimate

ARROWS = {"lower": "↓", "higher": "↑"}
NOTICEABLE = 0.05  # a difference of shares that is worth a sentence


def sentences(report: Report) -> list[str]:
    """What the numbers say, most important first."""
    said = [_distance(report.space), _told_apart(report.space), _balance(report.space)]
    said += [_asked(report), _missing(report)]
    said.append(_copying(report))
    return [sentence for sentence in said if sentence]


def markdown(report: Report, page: str | None = None) -> str:
    """The report as a Markdown page.

    Args:
        report: what was found.
        page: the name of its picture, lying beside it; None where there is none.
    """
    subject, data = report.subject, report.data
    parts = [f"# {subject['name']}, against {data['name']}", *_bullets(sentences(report))]
    if page:
        parts += ["", f"![samples, neighbours, measures]({page})"]
    for space in report.spaces:
        parts += ["", *_space(space)]
    parts += ["", *_copies(report)]
    if report.classes is not None:
        parts += ["", *_classes(report)]
    if report.history:
        parts += ["", *_history(report)]
    parts += ["", "## How this was measured", "", *_bullets(_how(report))]
    return "\n".join(parts) + "\n"


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
    return f"{value:,.{digits}f} ± {error:.{digits}f}"


def percent(value: float) -> str:
    """A share as a percentage; one decimal where it is small."""
    return f"{100 * value:.1f} %" if 0 < value < 0.1 else f"{100 * value:.0f} %"


def _value(space: Space, column: str, name: str) -> float | None:
    cell = space.columns[column].cells[name] if column in space.columns else None
    return None if cell is None or cell.estimate is None else cell.estimate.value


def _distance(space: Space) -> str | None:
    ours, floor = _value(space, "samples", "frechet"), _value(space, "floor", "frechet")
    ceiling = _value(space, "gaussian", "frechet")
    if ours is None or floor is None or ceiling is None:
        return None
    count = space.columns["samples"].count
    cell = space.columns["samples"].cells["frechet"]
    said = (
        f"Fréchet distance {measured(cell)} ({space.name}, {count:,} samples);"
        f" as many other real images are at {number(floor)},"
        f" images of the pixel Gaussian at {number(ceiling)}"
    )
    if ours <= floor:
        return f"{said}: no farther than real images are from one another."
    if ours >= ceiling:
        return f"{said}: farther than the pixel Gaussian, which knows no shapes at all."
    return f"{said}: {percent((ours - floor) / (ceiling - floor))} of the way from real to that."


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


def _space(space: Space) -> list[str]:
    lines = [f"## In {space.name}", "", *table(["", *heads(space)], rows(space)), ""]
    lines.append("± one standard error. What is beside the samples stands in their place.")
    notes: dict[str, list[str]] = {}
    for measure in MEASURES:
        if note := space.columns["samples"].cells[measure.name].note:
            notes.setdefault(note, []).append(measure.title)
    return [*lines, *(f"{', '.join(titles)}: {note}." for note, titles in notes.items())]


def _copies(report: Report) -> list[str]:
    found_in, doubts = [], []
    for name, found in report.copies.items():
        low, high = found.interval
        flags = f"{found.flagged:,} of {report.subject['images']:,}"
        interval = f"{percent(low)} to {percent(high)}"
        found_in.append(
            [name, percent(found.share.value), interval, flags, percent(found.held_out_rate)]
        )
        if not found.calibrated:
            doubts += ["", f"By {name}: too few held-out images for this to be calibrated."]
    titles = ["judged by", "copies", "95 % interval", "flagged", "rate of new images"]
    return ["## Copies of training images", "", *table(titles, found_in), *doubts]


def _classes(report: Report) -> list[str]:
    classes = report.classes
    assert classes is not None
    lines = ["## Classes", ""]
    for title, ours, real in (
        ("seen as the class that was asked for", classes.accuracy, classes.real_accuracy),
        ("classifier accuracy score", classes.score, classes.real_score),
    ):
        if ours is not None:
            lines.append(f"- {title}: {measured(ours)}; real images: {measured(real)}")
    apart = classes.apart
    lines.append(
        f"- shares of classes apart by {measured(Cell(apart.distance))};"
        f" by chance {number(apart.floor)} (p = {number(apart.p_value)})"
    )
    distances = report.space.by_class
    titles = ["class", "share", "real share", "seen as asked"]
    titles += ["Fréchet distance", "other real images"] if distances else []
    each = []
    for index, name in enumerate(classes.names):
        cells = [name, percent(classes.shares[index]), percent(classes.real_shares[index])]
        cells.append(measured(classes.by_class[index]) if classes.by_class else "–")
        each.append(cells + ([measured(cell) for cell in distances[index]] if distances else []))
    return [*lines, "", *table(titles, each)]


def _history(report: Report) -> list[str]:
    points = [
        [f"{point['step']:,}", f"{point['training_images']:,}"]
        + [_plain(point[name]) for name in ("frechet", "kid", "precision", "recall")]
        for point in report.history
    ]
    titles = ["step", "images seen", "Fréchet distance", "KID", "precision", "recall"]
    count = f"{report.history[0]['images']:,} samples of each checkpoint's averaged weights."
    return ["## By training step", "", *table(titles, points), "", count]


def _plain(values: dict[str, Any]) -> str:
    if values.get("value") is None:
        return "–"
    return measured(Cell(Estimate(values["value"], values.get("error"))))


def _how(report: Report) -> Iterable[str]:
    data, made = report.data, report.provenance
    yield (
        f"reference: {data['reference']:,} training images of {data['name']}; floor:"
        f" {data['floor_held_out']:,} held-out images"
        + (f" and {data['floor_train']:,} training images" if data["floor_train"] else "")
    )
    for space in report.spaces:
        yield f"{space.name}: {space.preprocessing}; {space.dimension} numbers; {space.digest[:16]}"
    yield from report.notices
    yield f"images {data['fingerprint'][:16]}, seed {made['seed']}, {made['date']}"
    yield f"loang {made['loang']}, torch {made['torch']}, on {made['hardware']}"
    yield f"`{made['command']}`"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table."""
    lines = (heads, ["---"] * len(heads), *rows)
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def _bullets(lines: Iterable[str]) -> list[str]:
    return [f"- {line}" for line in lines]
