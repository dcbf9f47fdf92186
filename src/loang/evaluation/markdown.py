"""report.md: everything that was found, in words and tables."""

from collections.abc import Iterable, Sequence

from loang.evaluation import bits
from loang.evaluation.report import Report, Space
from loang.evaluation.table import BY_NAME, Cell
from loang.evaluation.words import (
    heads,
    measured,
    notes,
    number,
    percent,
    recorded,
    rows,
    sampled,
    sentences,
)
from loang.likelihood import Likelihood
from loang.metrics.classes import FEWEST


def markdown(report: Report, page: str | None = None) -> str:
    """The report as a Markdown page.

    Args:
        report: what was found.
        page: the name of its picture, lying beside it; None where there is none.
    """
    subject, data = report.subject, report.data
    parts = [f"# {subject['name']}, against {data['name']}", "", *_bullets(sentences(report))]
    if page:
        parts += ["", f"![samples, neighbours, measures]({page})"]
    for space in report.spaces:
        parts += ["", *_space(space)]
    parts += ["", *_copies(report)]
    if report.classes is not None:
        parts += ["", *_classes(report)]
    if report.likelihood is not None:
        parts += ["", *_likelihood(report.likelihood)]
    if report.history:
        parts += ["", *_history(report)]
    parts += ["", "## How this was measured", "", *_bullets(_how(report))]
    return "\n".join(parts) + "\n"


def _space(space: Space) -> list[str]:
    lines = [f"## In {space.name}", "", *table(["", *heads(space)], rows(space)), ""]
    lines.append("± one standard error. What is beside the samples stands in their place.")
    if said := notes(space):
        lines += ["", *_bullets(said)]
    return lines


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
    titles = ["judged by", "copies", "95 % interval", "flagged", "of held-out images"]
    return ["## Copies of training images", "", *table(titles, found_in), *doubts]


def _classes(report: Report) -> list[str]:
    classes = report.classes
    assert classes is not None
    lines = ["## Classes", ""]
    count = report.subject["images"]
    for title, ours, real in (
        (
            f"seen as the class that was asked for, by {classes.seen_by}",
            classes.accuracy,
            classes.real_accuracy,
        ),
        (
            f"classifier accuracy score, of one that learned from {count:,} images alone",
            classes.score,
            classes.real_score,
        ),
    ):
        if ours is not None and ours.estimate is None:
            lines.append(f"- {title}: {ours.note}")
        elif ours is not None:
            lines.append(f"- {title}: {measured(ours)}; real images: {measured(real)}")
    apart = classes.apart
    lines.append(
        f"- shares of classes apart by {measured(Cell(apart.distance))};"
        f" by chance {number(apart.floor)} (p = {apart.p_value:.2g})"
    )
    titles = ["class", "share seen", "of real images"]
    columns = [
        classes.names,
        [percent(share) for share in classes.shares],
        [percent(share) for share in classes.real_shares],
    ]
    if classes.asked:
        titles += ["samples asked for", "seen as asked"]
        columns.append([f"{count:,}" for count in classes.asked])
        columns.append([measured(cell) for cell in classes.by_class])
    distances = report.space.by_class
    if distances:
        titles += ["Fréchet distance", "as many other real images"]
        columns += [[measured(cell) for cell in each] for each in zip(*distances, strict=True)]
    lines += ["", *table(titles, zip(*columns, strict=True))]
    if any(ours.note for ours, _ in distances):
        enough = BY_NAME["frechet"].enough(report.space.dimension)
        lines += [
            "",
            f"Fréchet distances of fewer than {FEWEST} images are left out. Of fewer than"
            f" {enough:,} they are too large: compare each with that beside it, not with others.",
        ]
    return lines


def _likelihood(found: Likelihood) -> list[str]:
    lines = ["## Likelihood of held-out images", "", *table(bits.HEADS, bits.rows(found))]
    return [*lines, "", *_bullets(bits.notes(found))]


def _history(report: Report) -> list[str]:
    points = [
        [f"{point['step']:,}", f"{point['training_images']:,}"]
        + [recorded(point[name]) for name in ("frechet", "kid", "precision", "recall")]
        for point in report.history
    ]
    titles = ["step", "images seen", "Fréchet distance", "KID", "precision", "recall"]
    floor = report.space.columns["floor"].cells
    points.append(
        ["other real images", "–"]
        + [measured(floor[name]) for name in ("frechet", "kid", "precision", "recall")]
    )
    count = f"{report.history[0]['images']:,} samples of each checkpoint's averaged weights."
    return ["## By training step", "", *table(titles, points), "", count]


def _how(report: Report) -> Iterable[str]:
    subject, data, made = report.subject, report.data, report.provenance
    if way := sampled(report):
        facts = subject["facts"]
        yield (
            f"samples: {way}, seed {subject['seed']}, drawn on {subject['drawn_on']}; weights"
            f" {subject['weights'][:16]}, of {facts.get('steps', 0):,} training steps"
        )
    elif "path" in subject:
        yield (
            f"samples: {subject['path']}, scaled and cropped to the real images' size and brought"
            f" to their channels where they had others; {subject['fingerprint'][:16]}"
        )
    shape = data["images"]
    yield (
        f"real images: {data['name']}, {shape['height']}x{shape['width']}, {shape['channels']}"
        f" channel{'s' * (shape['channels'] != 1)}; {data['fingerprint'][:16]}"
    )
    yield (
        f"reference: {data['reference']:,} training images; floor:"
        f" {data['floor_held_out']:,} held-out images"
        + (f" and {data['floor_train']:,} training images" if data["floor_train"] else "")
        + f"; copies looked for among {data['searched_for_copies']:,} training images"
    )
    for space in report.spaces:
        yield f"{space.name}: {space.preprocessing}; {space.dimension} numbers; {space.digest[:16]}"
    yield from report.notices
    yield (
        f"loang {made['loang']}, torch {made['torch']}, seed {made['seed']}, measured on"
        f" {made['hardware']}, {made['date']}"
    )
    if made["command"]:
        yield f"`{made['command']}`"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table."""
    lines = (heads, ["---"] * len(heads), *rows)
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def _bullets(lines: Iterable[str]) -> list[str]:
    return [f"- {line}" for line in lines]
