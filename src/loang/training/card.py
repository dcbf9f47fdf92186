"""The card that a run leaves beside its model: what it is, its numbers, how to use it."""

import re
from collections.abc import Mapping
from typing import Any

from loang.config import Settings
from loang.model import Model
from loang.schedule import Discrete
from loang.training.budget import duration
from loang.training.folder import RunFolder
from loang.walking import levels_of


def text(model: Model, folder: RunFolder) -> str:
    """The card, in Markdown."""
    settings = model.settings
    return f"""# {folder.path.name}

A diffusion model, made by `{verb(settings)}` (preset `{settings.preset}`).

![samples]({folder.grid.name})

{table(model)}

{losses(model)} They say whether training goes on well, not how good the samples are.

```
loang sample {folder.path.name} -n 100 --out samples
```

`{folder.model.name}` is the one file to keep. `{folder.walk.name}` shows how the samples came from
noise, `{folder.chart.name}` the losses, `{folder.log.name}` every number, `{folder.config.name}`
every setting.
"""


def table(model: Model) -> str:
    """What the model is and where it comes from, as a table of Markdown.

    What its facts don't say, those of a model that another tool has made, is left out.
    """
    facts, spec, settings = model.facts, model.spec, model.settings
    sampling, schedule = settings.sampling, model.denoiser.schedule
    steps = sampling.steps if sampling.levels is None else len(levels_of(sampling, schedule)) - 1
    weights = sum(parameter.numel() for parameter in model.denoiser.parameters())
    classes = f", of {len(spec.class_names)} classes" if spec.class_names else ""
    rows = {
        "images": f"{spec.height}x{spec.width}, {spec.channels} channel(s), {spec.depth}{classes}",
        "data": _data(facts),
        "network": f"{settings.network.kind}, {weights:,} parameters",
        "predicts": f"{settings.denoiser.predicts}, {schedule.name} schedule, T = {schedule.T:g}",
        "trained": _trained(facts),
        "asked for": facts.get("lengths"),
        "started from": facts.get("started_from"),
        **_last_losses(facts),
        **({"average": _average(facts)} if "average_length" in facts else {}),
        "sampled with": f"{sampling.sampler}, {steps} step{'s' * (steps != 1)}"
        + _led(sampling.guidance, sampling.guidance_interval)
        + _chosen(facts),
        **({"teacher guided by": _guided(settings)} if settings.distilled else {}),
        **_strength(facts),
        "made by": _versions(facts),
    }
    lines = [f"| {name} | {_cell(value)} |" for name, value in rows.items() if value]
    return "\n".join(["| | |", "|---|---|", *lines])


def _cell(text: str) -> str:
    """A text, which may be a stranger's, as one cell of a table: one line, and no mark-up."""
    return re.sub(
        r"[|\[\]<>`#]", "?", "".join(sign if sign.isprintable() else "?" for sign in text)
    )


def _data(facts: Mapping[str, Any]) -> str | None:
    if not _known(facts, "data", "training_images", "validation_images"):
        return facts.get("data")
    return (
        f"{facts['data']}: {facts['training_images']:,} for training,"
        f" {facts['validation_images']:,} held out"
    )


def _trained(facts: Mapping[str, Any]) -> str | None:
    if not _known(facts, "steps", "images", "seconds", "hardware"):
        return None
    return (
        f"{facts['steps']:,} steps, {facts['images']:,} images,"
        f" {duration(facts['seconds'])}, on {facts['hardware']}"
    )


def _last_losses(facts: Mapping[str, Any]) -> dict[str, str]:
    if not {"loss", "validation_loss"} <= facts.keys():
        return {}
    which = "averaged weights"
    if facts.get("label_strength", 1) != 1:
        which += ", labels as they were learnt"
    return {
        "training loss": _number(facts["loss"]),
        "validation loss": f"{_number(facts['validation_loss'])} ({which})",
    }


def _versions(facts: Mapping[str, Any]) -> str | None:
    if not _known(facts, "loang", "torch"):
        return None
    return f"loang {facts['loang']}, torch {facts['torch']}"


def _known(facts: Mapping[str, Any], *names: str) -> bool:
    return all(facts.get(name) is not None for name in names)


def verb(settings: Settings) -> str:
    """The command that makes such a model."""
    return "loang distill" if settings.training.objective == "consistency" else "loang train"


def losses(model: Model) -> str:
    """What its losses are."""
    settings = model.settings
    predicts, levels = settings.denoiser.predicts, settings.training.levels
    if settings.distilled:
        return (
            f"The losses are mean squared errors of {predicts}, between the leaps that this model"
            f" makes and where its teacher leads.{_matched(settings)}"
        )
    if levels == "importance":  # the losses are brought back to what all times would give
        levels = "uniform"
    held = "uniform" if isinstance(model.denoiser.schedule, Discrete) else levels
    return (
        f"The losses are mean squared errors of the predicted {predicts}, without weights, over\n"
        f"{levels} times in training and {held} times in validation."
    )


def _guided(settings: Settings) -> str:
    """How the walk was guided that a student has learnt."""
    chosen = settings.distillation
    said = _led(chosen.guidance, chosen.guidance_interval)
    return said.removeprefix(", guided by ") or "nothing"


def _led(scale: float | None, interval: tuple[float, float] | None) -> str:
    """What is added to a way of sampling, where it is guided."""
    if scale is None or scale == 1:
        return ""
    where = "" if interval is None else " in {:g}:{:g}".format(*interval)
    return f", guided by {scale:g}{where}"


def _chosen(facts: Mapping[str, Any]) -> str:
    """What is added to it, where the guidance was measured."""
    by = facts.get("guidance_chosen_by")
    return f"; the best guidance of several by {by}" if by else ""


def _strength(facts: Mapping[str, Any]) -> Mapping[str, str]:
    """How much a student makes of labels, where that was measured."""
    if not _known(facts, "label_strength"):
        return {}
    by = facts.get("label_strength_chosen_by")
    chosen = f", the best of several by {by}" if by else ""
    return {"strength of the labels": f"{facts['label_strength']:g} of what was learnt{chosen}"}


def _matched(settings: Settings) -> str:
    """What the losses are, where a student's samples are matched by their distribution."""
    share = settings.distillation.matched_from
    if not settings.distillation.matched or share is None:
        return ""
    guidance = settings.distillation.match_guidance
    led = "" if guidance in (None, 1) else f", guided by {guidance:g},"
    return (
        f" From {share:.0%} of training on its samples are\nmatched by their distribution: the"
        f" training loss is then how far apart its teacher{led} and a\nnetwork that learns its"
        " samples see the images in them, and the validation loss, which stays\nthat of the leaps,"
        " may rise."
    )


def _average(facts: Mapping[str, Any]) -> str:
    """Which average of the weights it is, and how that was chosen."""
    length = facts["average_length"]
    said = "the run's own" if length is None else f"of length {length:g} of the run"
    if facts.get("average_snapshots"):
        error = f"{100 * facts['average_error']:.2g} %"
        said += f", made of {facts['average_snapshots']} snapshots (its profile to {error})"
    if facts.get("average_chosen_by"):
        said += f"; the best of several by {facts['average_chosen_by']}"
    return said


def _number(value: Any) -> str:
    return "unknown" if value is None else f"{value:.4f}"
