"""A model's card on the hub: what it is, how it was made, what was measured, how it is used.

Metadata, in YAML, as the hub wants it: https://github.com/huggingface/hub-docs (modelcard.md).
"""

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from loang.data.places.hub import is_hub, parse
from loang.errors import LoangError
from loang.evaluation.markdown import table
from loang.evaluation.report import COLUMNS
from loang.evaluation.table import MEASURES
from loang.evaluation.words import ARROWS, recorded
from loang.extras import require
from loang.interop.hub.command import command
from loang.interop.hub.contents import EVALUATION, Contents, data_known
from loang.training import card as run_card
from loang.untrusted import shown

TASK = "unconditional-image-generation"
BEGIN = "<!-- loang push writes from here ... -->"
END = "<!-- ... to here anew each time; text before and after it stays -->"
INDEXED = ("frechet", "kid", "precision", "recall")
"""The measures that stand in the metadata; the table has all."""
FILES: Mapping[str, str] = {
    "model.safetensors": "the model, weights and settings: the one file that is needed",
    "config.json": "the settings of its run",
    "samples.png": "samples",
    "walk.gif": "how they came from noise",
    "training.png": "the losses",
    f"{EVALUATION}/report.md": "the evaluation",
    f"{EVALUATION}/report.json": "every number of it",
    f"{EVALUATION}/report.png": "the page to look at",
}
"""All that a push may send beside the card, and what it is."""
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,63}")


def metadata(contents: Contents, repo: str, license: str | None = None) -> dict[str, Any]:
    """What the hub reads of a card: plain values for YAML.

    Args:
        contents: of the run.
        repo: owner/name.
        license: of the model, by the hub's name of it ("mit"); None says nothing of it.

    Raises:
        LoangError: huggingface_hub is missing, or the licence is no such name.
    """
    cards = require("huggingface_hub.repocard_data", extra="hub", purpose="for a model's card")
    if license is not None and not _LICENSE.fullmatch(license):
        raise LoangError(
            f"{license!r} is no name of a licence that the hub knows.",
            "Write one as the hub does: mit, apache-2.0, cc-by-4.0, other.",
        )
    name = repo.partition("/")[2]
    model = contents.model
    tags = ["diffusion", "loang", model.settings.denoiser.predicts + "-prediction"]
    if model.knows_labels:
        tags.append("class-conditional")
    if model.settings.distilled:
        tags.append("distilled")
    data = _data_sets(contents)
    return dict(
        cards.ModelCardData(
            license=license,
            library_name="loang",
            pipeline_tag=TASK,
            tags=tags,
            datasets=data or None,
            model_name=name if contents.report else None,
            eval_results=_results(cards, contents, data) or None,
        ).to_dict()
    )


def text(contents: Contents, repo: str, license: str | None, revision: str | None = None) -> str:
    """The card without its metadata, in Markdown, between `BEGIN` and `END`."""
    model, names = contents.model, contents.names
    settings, spec = model.settings, model.spec
    trained = "hardware" in model.facts
    made = (
        f"made by `{run_card.verb(settings)}` (preset `{settings.preset}`)"
        if trained
        else "brought to loang from elsewhere"
    )
    address = f"hub:{repo}" + (f"@{revision}" if revision else "")
    parts = [f"# {repo.partition('/')[2]}", f"A diffusion model of images, {made}."]
    if "samples.png" in names:
        parts.append("![samples](samples.png)")
    parts += [
        "## Use it",
        f'```\npip install "loang[hub]"\nloang sample {address} -n 100 --out samples.png\n```',
        f'```python\nimport loang\n\nimages = loang.load("{address}").sample(64)  # (64,'
        f" {spec.height}, {spec.width}, {spec.channels}), {spec.depth}\n```",
        "## What it is",
        run_card.table(model),
    ]
    if spec.class_names:
        parts.append(f"Classes: {spec.listed}.")
    if trained:
        parts.append(
            f"{run_card.losses(model)} They say whether training went on well, not how good the"
            " samples are."
        )
    parts += ["## How good it is", *_measured(contents), "## How it was made", *_made(contents)]
    parts += ["## Licence", _licence(contents, license), "## What is here", _files(names)]
    return contents.private.text("\n\n".join([BEGIN, *parts, END]) + "\n")


def _data_sets(contents: Contents) -> list[str]:
    """The data as the hub names it."""
    source = contents.model.settings.data.source
    if known := data_known(contents.model.settings):
        return [known[0]]
    return [parse(source).repo] if source is not None and is_hub(source) else []


def _results(cards: Any, contents: Contents, data: list[str]) -> list[Any]:
    """The measures as the hub's model index has them; each names its floor."""
    report = contents.report
    if report is None:
        return []
    with _understood():
        space, real = report["spaces"][0], report["data"]
        ours, floor = space["columns"]["samples"], space["columns"]["floor"]
        return [
            cards.EvalResult(
                task_type=TASK,
                dataset_type=data[0] if data else "other",
                dataset_name=real["name"],
                metric_type=measure.name,
                metric_value=ours[measure.name]["value"],
                metric_name=f"{measure.title} in {space['name']}, of {ours['images']:,} samples"
                f" (other real images: {recorded(floor[measure.name])})",
                metric_args={
                    "error": ours[measure.name].get("error"),
                    "floor": floor[measure.name]["value"],
                    "floor_error": floor[measure.name].get("error"),
                    "better": measure.better,
                    "samples": ours["images"],
                    "floor_images": floor["images"],
                    "feature_space": space["name"],
                    "feature_space_digest": space["digest"],
                },
            )
            for measure in MEASURES
            if measure.name in INDEXED and ours[measure.name]["value"] is not None
        ]


def _measured(contents: Contents) -> list[str]:
    """The evaluation in words and a table; or that there was none."""
    report = contents.report
    if report is None:
        return ["Not evaluated: `loang evaluate` measures it, beside its floor."]
    with _understood():
        space, made = report["spaces"][0], report["provenance"]
        columns = [name for name in COLUMNS if name in space["columns"]]
        heads = [f"{COLUMNS[name]} ({space['columns'][name]['images']:,})" for name in columns]
        rows = [
            [f"{measure.title} {ARROWS[measure.better]}"]
            + [recorded(space["columns"][name][measure.name]) for name in columns]
            for measure in MEASURES
            if space["columns"]["samples"][measure.name]["value"] is not None
        ]
        bullets = "\n".join(f"- {sentence}" for sentence in contents.said)
        return [
            *([bullets] if bullets else []),
            "\n".join(table([f"in {space['name']}", *heads], rows)),
            "± one standard error. What is beside the samples stands in their place: other real"
            f" images are the floor, which a perfect model measures. Numbers of {space['name']}"
            f" (digest {str(space['digest'])[:16]}) compare with no other feature space's, nor"
            " with published FIDs.",
            f"Measured by loang {made['loang']}, seed {made['seed']}, {made['date']}"
            + (f": `{made['command']}`." if made["command"] else ".")
            + f" All of it is in [{EVALUATION}/report.md]({EVALUATION}/report.md).",
        ]


@contextlib.contextmanager
def _understood() -> Iterator[None]:
    """What a report lacks, or holds in another form, in a person's words."""
    try:
        yield
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise LoangError(
            f"The evaluation's report.json is not as loang writes it: {shown(repr(error))}.",
            "Make it again with `loang evaluate`.",
        ) from error


def _made(contents: Contents) -> list[str]:
    model = contents.model
    if "hardware" not in model.facts:
        return ["Its training is not known to loang."]
    said = "Every setting is in `model.safetensors`"
    said += ", and in `config.json`." if "config.json" in contents.names else "."
    if {"started_from", "lengths"} & model.facts.keys():  # which its settings say nothing of
        return [said]
    wanted = command(model.settings)
    return [f"```\n{wanted}\n```", said] if wanted else [said]


def _licence(contents: Contents, license: str | None) -> str:
    said = (
        f"The model's licence is `{license}`, as who pushed it states."
        if license
        else "None is stated for the model: ask who pushed it before you use it for more than"
        " looking."
    )
    known = data_known(contents.model.settings)
    if known:
        return f"{said} The data's own is {known[1]}."
    return f"{said} Its data's is not known to loang."


def _files(names: set[str]) -> str:
    return "\n".join(f"- `{name}`: {said}" for name, said in FILES.items() if name in names)
