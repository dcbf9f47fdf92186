"""`loang doctor DATA`: a data set, before anything is trained on it."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from loang.config import Settings
from loang.data.download import Progress
from loang.data.images import Dataset
from loang.doctor import data_copies, data_form, data_labels, data_values
from loang.doctor.data_glance import glance
from loang.doctor.data_images import Numbered
from loang.doctor.data_origin import Origin, origin
from loang.doctor.data_plan import Advice, advise
from loang.doctor.data_sight import Marked, Sight, counted
from loang.doctor.finding import Answer, Diagnosis, Finding, sorted_by_weight
from loang.training.asked import Asked, open_images

OnStage = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class DataDiagnosis(Diagnosis):
    """What was found, with the images to look at.

    Args:
        images: all of them.
        marked: those that a person should look at.
    """

    images: Numbered
    marked: tuple[Marked, ...]


def examine(
    name: str,
    settings: Settings,
    asked: Asked | None = None,
    *,
    on_stage: OnStage | None = None,
    on_progress: Progress | None = None,
) -> DataDiagnosis:
    """Examine the images of that name, as `loang train` would open them.

    Args:
        name: as a person gave it.
        settings: of preset quick, with what was asked.
        asked: what was asked, for the command to start with.
        on_stage: told (what, done, in all).
        on_progress: told of a download, and of images read.

    Raises:
        LoangError: they can't be opened.
    """
    told = on_stage or (lambda what, done, total: None)
    # A doctor looks at what is left, however much is bad; `data_form` says how much that is.
    lenient = settings.data.model_copy(update={"unreadable": 1.0})
    dataset = open_images(settings.model_copy(update={"data": lenient}), on_progress)
    told("asking where the images lie", 0, 1)
    whence = origin(name, settings.data, dataset)
    told("trying a training step", 0, 1)
    advice = advise(name, dataset, settings, asked or {})
    images = Numbered(dataset)
    seen = glance(
        images,
        lambda done, total: told("images looked at", done, total),
        padding=_padding(dataset, settings),
    )
    told(f"comparing {counted(len(seen.numbers))} with one another", 0, 1)
    odd = set(seen.numbers[data_values.inverted(seen)].tolist())
    sights: tuple[Sight, ...] = (
        data_form.examine(dataset, settings.data, whence),
        data_labels.examine(images),
        data_values.examine(images, seen),
        data_copies.examine(images, seen, data_copies.nearest(seen), odd),
    )
    command = advice.line([change for sight in sights for change in sight.changes])
    sights = (*sights, _cost(advice, command))
    return DataDiagnosis(
        name,
        "data",
        sorted_by_weight(finding for sight in sights for finding in sight.findings),
        (
            Answer("What will loang do with these images?", _treatment(dataset, settings, whence)),
            Answer("How do I start?", f"{advice.sentences}\n\n  {command}"),
        ),
        {name: value for sight in sights for name, value in sight.facts.items()},
        tuple(table for sight in sights for table in sight.tables),
        images=images,
        marked=tuple(marked for sight in sights for marked in sight.marked),
    )


def _padding(dataset: Dataset, settings: Settings) -> float | None:
    """The value that was added beside images of another shape, if there are any."""
    spec, survey, data = dataset.spec, dataset.survey, settings.data
    sides = [spec.height, spec.width]
    as_they_were = not survey or list(survey["smallest"]) == list(survey["largest"]) == sides
    if data.fit != "pad" or as_they_were:
        return None
    return spec.high if data.background == "white" else spec.low


def _cost(advice: Advice, command: str) -> Sight:
    facts: dict[str, object] = {"command": command}
    findings: tuple[Finding, ...] = ()
    if advice.cost is not None:
        cost = advice.cost
        facts |= {"images_a_second": cost.rate, "memory_bytes": cost.memory}
    if advice.trouble:
        findings = (Finding("wrong", "cost", advice.trouble, "Choose a smaller --size."),)
    elif not advice.fits:
        findings = (
            Finding(
                "warning",
                "cost",
                "Training takes more memory than is free on this machine.",
                "Choose a smaller --size, or add --set training.micro_batch=4.",
            ),
        )
    return Sight(findings, {"start": facts})


def _treatment(dataset: Dataset, settings: Settings, whence: Origin) -> str:
    """In plain words: shape, depth, range and split."""
    spec, data = dataset.spec, settings.data
    kinds = {1: "grey", 3: "colour", 4: "colour with transparency"}
    depths = {"uint8": "8 bits", "uint16": "16 bits", "float32": "real numbers"}
    kind = kinds.get(spec.channels, counted(spec.channels, "channel"))
    resized = dataset.survey.get("different_sizes", 1) > 1 or data.size is not None
    ways = {"crop": "cut", "pad": "padded", "stretch": "stretched"}
    how = f", those of another shape {ways[data.fit]}" if resized else ""
    said = [
        f"It learns from {counted(len(dataset.train))} of {spec.height}x{spec.width} (height x"
        f" width){how}, in {kind}, at {depths[spec.depth]}. The value {spec.low:g} is shown to"
        f" the network as -1 and {spec.high:g} as 1, and samples are written back in the same"
        " way."
    ]
    held = counted(len(dataset.validation))
    if not dataset.apart:
        said.append("The same images both train and validate.")
    elif whence.given:
        said.append(f"{held} {_are(dataset)} held out, as the place itself says.")
    else:
        share = len(dataset.validation) / (len(dataset.train) + len(dataset.validation))
        said.append(
            f"{held} ({math.floor(100 * share + 0.5)} %) {_are(dataset)} held out, chosen by their"
            " content: equal images are never on both sides, and images added later move none."
        )
    if spec.class_names:
        learned = "learned" if data.labels else "left aside"
        said.append(f"The {counted(len(spec.class_names), 'class')} are {learned}.")
    # What was brought to one size, or left out, is a finding of its own.
    told = ("all are brought to", "were left out", "was left out")
    said += [line for line in dataset.notices if not any(words in line for words in told)]
    return " ".join(said)


def _are(dataset: Dataset) -> str:
    return "is" if len(dataset.validation) == 1 else "are"
