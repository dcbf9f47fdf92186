"""Are there images enough, in all and of each class?"""

import numpy as np

from loang import augment
from loang.config import DataSettings
from loang.doctor.data_images import Numbered
from loang.doctor.data_sight import Sight, counted, named
from loang.doctor.finding import Finding, Table

BY_HEART, FEW = 500, 5000
FEW_OF_A_CLASS = 20
RARER = 50  # times as few as of the largest class
SHOWN = 20  # classes in the table


def examine(images: Numbered) -> Sight:
    """The number of images, and of each class."""
    upright = augment.warning(DataSettings(flips=True), images.spec) is not None
    findings = list(_number(images.learned, upright))
    names = images.spec.class_names
    facts = {"train": images.learned, "held_out": len(images.dataset.validation)}
    train, held_out = images.dataset.train.labels, images.dataset.validation.labels
    if train is None or held_out is None or not names:
        return Sight(tuple(findings), {"number": facts})
    learned = np.bincount(train, minlength=len(names))
    measured = np.bincount(held_out, minlength=len(names))
    largest = int(learned.max())
    few = [i for i in range(len(names)) if learned[i] < FEW_OF_A_CLASS]
    rare = [
        i
        for i in range(len(names))
        if learned[i] >= FEW_OF_A_CLASS and learned[i] * RARER < largest
    ]
    for which, what, verdict in (
        (few, f"fewer than {FEW_OF_A_CLASS} images to learn from", "warning"),
        (rare, f"{RARER} times fewer images than the largest, or less", "note"),
    ):
        if which:
            listed = [f"{names[i]} ({learned[i]:,})" for i in which]
            findings.append(
                Finding(
                    verdict,  # type: ignore[arg-type]
                    "labels",
                    f"{counted(len(which), 'class')} {'has' if len(which) == 1 else 'have'} {what}:"
                    f" {named(listed)}.",
                    "Add images, merge classes, or train with --no-labels; asked for these, a"
                    " model draws copies or other classes.",
                )
            )
    if not few and not rare:
        findings.append(
            Finding(
                "good",
                "labels",
                f"{counted(len(names), 'class')}, each of {_between(int(learned.min()), largest)}"
                " images to learn from.",
            )
        )
    order = np.argsort(-learned, kind="stable")
    shown = order if len(order) <= SHOWN else np.concatenate((order[:10], order[-10:]))
    rows = [[names[i], f"{learned[i]:,}", f"{measured[i]:,}"] for i in shown]
    note = f"The ten largest and the ten smallest of {len(order):,}." if len(order) > SHOWN else ""
    classes = {
        name: {"train": int(a), "held_out": int(b)}
        for name, a, b in zip(names, learned, measured, strict=True)
    }
    table = Table("Classes", ["class", "to learn from", "held out"], rows, note)
    return Sight(tuple(findings), {"number": facts, "classes": classes}, (table,))


def _between(least: int, most: int) -> str:
    return f"{most:,}" if least == most else f"{least:,} to {most:,}"


def _number(count: int, upright: bool) -> tuple[Finding, ...]:
    if count < BY_HEART:
        return (
            Finding(
                "warning",
                "number",
                f"There are {counted(count)} to learn from. So few are learned by heart: samples"
                " will be copies of them.",
                "Add images; or train briefly, best from the weights of a model of more images"
                " (--from MODEL), and look at `loang evaluate`, which counts copies.",
            ),
        )
    if count < FEW:
        return (
            Finding(
                "note",
                "number",
                f"There are {counted(count)} to learn from, which is few: a long training learns"
                " them by heart.",
                (
                    "More images are better than longer training."
                    if upright  # digits and letters: mirrored ones are others
                    else "--set data.flips=true doubles them, if mirrored images are as good."
                )
                + " `loang evaluate` counts copies.",
            ),
        )
    return (Finding("good", "number", f"There are {counted(count)} to learn from."),)
