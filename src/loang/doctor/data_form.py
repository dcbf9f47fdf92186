"""Are the images whole, large enough, and of one kind? What is done about those that are not."""

import math
from collections.abc import Mapping
from typing import Any

from loang.config import DataSettings
from loang.data.images import Dataset
from loang.doctor.data_origin import LEAST, Origin
from loang.doctor.data_sight import Sight, counted, named
from loang.doctor.finding import Finding, Table
from loang.evaluation.words import percent

LARGE = 64**2  # pixels; what two cores learn within an hour
SIZES = 8  # in the table
Survey = Mapping[str, Any]


def examine(dataset: Dataset, settings: DataSettings, origin: Origin) -> Sight:
    """What the images were before they were brought to one shape."""
    survey = dataset.survey or _of_one_kind(dataset)
    findings = [
        *_left_out(survey, settings, origin),
        *_small(dataset, origin),
        *_mixed(survey, dataset, settings),
        *_large(dataset),
    ]
    if not findings:
        findings = [
            Finding("good", "form", "All images can be read, and are of one size and kind already.")
        ]
    facts = {
        "survey": dict(survey),
        "images": dataset.spec.to_dict(),
        "left_out": list(origin.left_out),
        "enlarged": {place: list(size) for place, size in origin.small.items()},
    }
    bad = survey["left_out"] / survey["of"]
    changes = (f"data.unreadable={_up(bad)}",) if bad > settings.unreadable else ()
    return Sight(tuple(findings), {"form": facts}, (_table(survey),), (), changes)


def _of_one_kind(dataset: Dataset) -> Survey:
    """The survey of a data set that came whole."""
    spec, count = dataset.spec, len(dataset.train) + len(dataset.validation)
    sides = [spec.height, spec.width]
    return {
        "sizes": [[*sides, count]],
        "different_sizes": 1,
        "smallest": sides,
        "largest": sides,
        "channels": {str(spec.channels): count},
        "depths": {spec.depth: count},
        "transparent": 0,
        "left_out": 0,
        "of": count,
    }


def _left_out(survey: Survey, settings: DataSettings, origin: Origin) -> list[Finding]:
    bad, total = survey["left_out"], survey["of"]
    if not bad:
        return []
    which = f": {named(origin.left_out)}" if origin.left_out else ""
    sentence = f"{bad:,} of {counted(total)} can't be used ({percent(bad / total)}){which}."
    if bad > settings.unreadable * total:
        return [
            Finding(
                "wrong",
                "unreadable",
                f"{sentence} `loang train` refuses more than {percent(settings.unreadable)}.",
                f"Mend or remove them, or train with --set data.unreadable={_up(bad / total)},"
                " which leaves them out.",
            )
        ]
    return [Finding("warning", "unreadable", sentence, "They are left out; mend or remove them.")]


def _up(share: float) -> float:
    return min(1.0, math.ceil(share * 100 + 1e-9) / 100)


def _small(dataset: Dataset, origin: Origin) -> list[Finding]:
    spec, small = dataset.spec, origin.small
    if not small:
        return []
    share = len(small) / max(1, origin.looked)
    tiny = sum(min(size) < LEAST for size in small.values())
    if max(spec.height, spec.width) < LEAST:  # as they are, and not for being enlarged
        where = f"All images are of {spec.height}x{spec.width}"
        return [Finding("note", "small", f"{where}: there is little in them to learn.")]
    listed = named(f"{place} ({h}x{w})" for place, (h, w) in small.items())
    part = "" if origin.looked >= dataset.survey["of"] else f" of {origin.looked:,} looked at"
    return [
        Finding(
            "warning" if tiny or share > 0.1 else "note",
            "small",
            f"{counted(len(small))}{part} ({percent(share)})"
            f" {'is' if len(small) == 1 else 'are'} much smaller than the"
            f" {spec.height}x{spec.width} that all are brought to"
            f"{f', {tiny:,} below {LEAST} pixels' if tiny else ''}: {listed}. Enlarged images are"
            " blurred, and samples will be too.",
            "Choose a smaller --size." if share > 0.5 else "Remove them, or take a smaller --size.",
        )
    ]


def _mixed(survey: Survey, dataset: Dataset, settings: DataSettings) -> list[Finding]:
    spec, findings = dataset.spec, list[Finding]()
    to = f"{spec.height}x{spec.width}"
    if survey["different_sizes"] > 1:
        low, high = (f"{h}x{w}" for h, w in (survey["smallest"], survey["largest"]))
        cut = {
            "crop": "the longer side of other shapes is cut at both ends",
            "pad": f"other shapes are padded with {settings.background}",
            "stretch": "other shapes are stretched",
        }[settings.fit]
        findings.append(
            Finding(
                "note",
                "sizes",
                f"There are {survey['different_sizes']:,} sizes, from {low} to {high} (height x"
                f" width): all are brought to {to}, and {cut}.",
                "--size chooses another, --fit another way: crop, pad or stretch. The contact sheet"
                " shows what is left.",
            )
        )
    # Others than these can't become one another, and were left out.
    alike = {1, 3, 4} if spec.channels in (1, 3, 4) else {spec.channels}
    channels = {kind: n for kind, n in survey["channels"].items() if int(kind) in alike}
    if len(channels) > 1:
        kinds = {"1": "grey", "3": "in colour", "4": "in colour and transparent"}
        listed = ", ".join(f"{count:,} {kinds[kind]}" for kind, count in sorted(channels.items()))
        become = {1: "grey", 3: "colour", 4: "colour with transparency"}.get(
            spec.channels, f"images of {spec.channels} channels"
        )
        findings.append(
            Finding(
                "note",
                "modes",
                f"Images are of several kinds ({listed}): all become {become}.",
                "--channels grey, rgb or rgba chooses. A model of colour draws grey images too.",
            )
        )
    if survey["transparent"] and spec.channels != 4:
        findings.append(
            Finding(
                "note",
                "transparent",
                (
                    "1 image knows transparency, and is"
                    if survey["transparent"] == 1
                    else f"{survey['transparent']:,} images know transparency, and are"
                )
                + f" laid on {settings.background}.",
                "--set data.background=black lays them on black; --channels rgba keeps it.",
            )
        )
    return findings


def _large(dataset: Dataset) -> list[Finding]:
    spec = dataset.spec
    if spec.height * spec.width <= LARGE:
        return []
    times = spec.height * spec.width / LARGE
    return [
        Finding(
            "note" if times <= 4 else "warning",
            "large",
            f"{spec.height}x{spec.width} is large: a step takes about {times:.0f} times as long as"
            " with 64x64, and more steps are needed.",
            "Start with --size 64 and see how far it gets.",
        )
    ]


def _table(survey: Survey) -> Table:
    rows = [[f"{h}x{w}", f"{count:,}"] for h, w, count in survey["sizes"][:SIZES]]
    more = survey["different_sizes"] - len(rows)
    (a, b), (c, d) = survey["smallest"], survey["largest"]
    note = f"and {more:,} other sizes, from {a}x{b} to {c}x{d}" if more > 0 else ""
    return Table("Sizes, before anything is changed", ["height x width", "images"], rows, note)
