"""What is examined: everything that a run's folder, or a model file, still has."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64
from torch import Tensor

from loang.build import build_denoiser, weight_shapes
from loang.config import Settings
from loang.data import Dataset
from loang.data.download import Progress
from loang.data.spec import ImageSpec
from loang.doctor.finding import Finding
from loang.errors import LoangError
from loang.evaluation.subject import name_of
from loang.metrics.rows import shuffled
from loang.model import Model
from loang.training import checkpoint
from loang.training.asked import open_images
from loang.training.budget import parse
from loang.training.folder import RunFolder, checkpoint_steps
from loang.training.log import Log
from loang.training.places import beside, located


@dataclass(frozen=True)
class Patient:
    """A run or a model, opened; whatever is not there is None or empty.

    Args:
        name: what a person calls it.
        kind: "run", or "model" where there is a model file and nothing else.
        settings: of the run.
        model: with averaged weights.
        raw: weights of the last step, of the newest checkpoint.
        steps: of training that the weights have seen; 0 where that is not known.
        images_seen: in training.
        finished: whether the budget was used up; None where that is not known.
        records: the lines of log.jsonl.
        dataset: the images that it learned from.
        learned: their fingerprint, as the run noted it; empty where it did not.
        findings: what was missing or damaged.
    """

    name: str
    kind: str
    settings: Settings
    model: Model | None = None
    raw: Mapping[str, Tensor] | None = None
    steps: int = 0
    images_seen: int = 0
    finished: bool | None = None
    records: Sequence[Mapping[str, Any]] = ()
    dataset: Dataset | None = None
    learned: str = ""
    findings: tuple[Finding, ...] = field(default=())


def open_patient(
    path: Path,
    data: str | None = None,
    *,
    device: str = "auto",
    on_progress: Progress | None = None,
) -> Patient:
    """Open a run's folder or a model file, and the images that it learned from.

    Args:
        path: of the folder or file.
        data: where the images are now; None where the run found them.
        device: of the network.
        on_progress: told of a download.

    Raises:
        LoangError: there is neither a run nor a model that can be read.
    """
    folder = RunFolder(path)
    if path.is_dir() and folder.config.exists():
        found = _run(path, folder)
    else:
        model = Model.load(path, on="cpu")
        found = Patient(name_of(path), "model", model.settings, model, **_of(model))
    if found.model is not None:
        found.model.to(device)
    return _with_images(found, data, path, on_progress)


def _run(path: Path, folder: RunFolder) -> Patient:
    settings, about = folder.read_config(
        "to examine", "Look at its model file instead: loang doctor RUN/model.safetensors."
    )
    findings: list[Finding] = []
    model = None
    if folder.model.is_file():
        try:
            model = Model.load(path, on="cpu")
        except LoangError as error:
            findings.append(Finding("wrong", "files", error.problem, error.remedy))
    known = about.get("data")
    found = Patient(
        name_of(path),
        "run",
        settings,
        model,
        records=Log(folder.log).read(),
        **({"steps": 0} if model is None else _of(model)),
    )
    if isinstance(known, Mapping) and isinstance(known.get("fingerprint"), str):
        found = replace(found, learned=known["fingerprint"])
    if checkpoint_steps(folder.checkpoints):
        try:
            found = _with_checkpoint(found, folder, about, findings)
        except LoangError as error:
            findings.append(Finding("wrong", "files", error.problem, error.remedy))
    if found.model is None and not findings:
        findings.append(
            Finding(
                "note",
                "files",
                "There are no weights yet: a run writes them at its first report.",
                "Look again later, or go on with the run with --resume.",
            )
        )
    return replace(found, findings=tuple(findings))


def _with_checkpoint(
    found: Patient, folder: RunFolder, about: Mapping[str, Any], findings: list[Finding]
) -> Patient:
    """The newest whole checkpoint's weights; its average, where that is newer than the model."""
    held, step, damaged = checkpoint.load_newest(folder.checkpoints)
    for problem in damaged:
        remedy = "An older checkpoint is used; copy the run's folder before you go on with it."
        findings.append(Finding("warning", "files", problem, remedy))
    model = found.model
    if model is None:
        try:
            spec = ImageSpec.from_dict(about.get("images"))
        except ValueError as error:
            raise LoangError(
                f"{folder.config} does not say what the images are: {error}.",
                "Put config.json back as the run wrote it.",
            ) from error
        model = Model(build_denoiser(found.settings, spec), spec, found.settings)
    shapes = weight_shapes(model.settings, model.spec)
    for name in ("model", "ema"):
        weights = held.tensors.get(name, {})
        if {key: tuple(weight.shape) for key, weight in weights.items()} != shapes:
            raise LoangError(
                f"The checkpoint of step {step:,} does not fit the run's settings.",
                "Put config.json back as the run wrote it.",
            )
    if found.model is None or found.steps < step:
        model.denoiser.network.load_state_dict(dict(held.tensors["ema"]))
        # The run's own average, whatever the older model file had.
        others = ("average_", "label_strength")
        own = {name: fact for name, fact in model.facts.items() if not name.startswith(others)}
        model.facts = own
    elif found.steps > step:  # weights of different steps can't be compared
        return found
    images = _count(held.state["progress"].get("images"))
    over = _over(found.settings, held.state)
    return replace(
        found,
        model=model,
        raw=held.tensors["model"],
        steps=step,
        images_seen=images,
        finished=over,
    )


def _over(settings: Settings, state: Mapping[str, Any]) -> bool | None:
    """Whether a run's budget is used up; None where its checkpoint does not say.

    One that was over may have been given a longer one, and have written no checkpoint since.
    """
    facts, progress = state.get("facts"), state["progress"]
    over = facts.get("finished") if isinstance(facts, Mapping) else None
    if over is not True:
        return over if isinstance(over, bool) else None
    with contextlib.suppress(LoangError, TypeError, KeyError):
        budget = parse(settings.training.budget, 1)
        if budget.epochs is None:  # how many images one has is not known here
            return budget.share(progress["images"], progress["seconds"]) >= 1
    return True


def _with_images(
    found: Patient, data: str | None, path: Path, on_progress: Progress | None
) -> Patient:
    settings, places = found.settings, beside(path, found.settings.data)
    if data is not None:
        chosen = located(settings.data, places).model_copy(update={"source": data})
        settings, places = settings.model_copy(update={"data": chosen}), None
    try:
        dataset = open_images(settings, on_progress, places=places)
    except LoangError as error:
        return _noted(
            found,
            Finding(
                "note",
                "images",
                f"The images that it learned from can't be opened: {error.problem} So what needs"
                " them is not examined.",
                "Say where they are with --data.",
            ),
        )
    if found.model is not None and _plain(dataset.spec) != _plain(found.model.spec):
        return _noted(
            found,
            Finding(
                "wrong",
                "images",
                f"The images of {dataset.name} are of another size, range or classes than those"
                " that it learned from.",
                "Say where the right ones are with --data.",
            ),
        )
    notices = tuple(Finding("note", "images", notice) for notice in dataset.notices)
    if found.learned and dataset.fingerprint != found.learned:
        changed = Finding(
            "wrong",
            "images",
            f"The images of {dataset.name} are not those that the run learned from: files were"
            " added, removed or changed.",
            "Say where the right ones are with --data; what is measured here is of the new ones.",
        )
        notices = (changed, *notices)
    return replace(found, dataset=dataset, findings=(*found.findings, *notices))


def _plain(spec: ImageSpec) -> ImageSpec:
    """A spec in types that compare: JSON makes lists of tuples, and whole numbers of floats."""
    return ImageSpec.from_dict(spec.to_dict())


def _noted(found: Patient, finding: Finding) -> Patient:
    return replace(found, findings=(*found.findings, finding))


def _of(model: Model) -> dict[str, Any]:
    facts = model.facts
    fingerprint = facts.get("fingerprint")
    return {
        "steps": _count(facts.get("steps")),
        "images_seen": _count(facts.get("images")),
        "learned": fingerprint if isinstance(fingerprint, str) else "",
    }


def _count(value: Any) -> int:
    """A count from a file that may be anybody's: 0 where it is none."""
    return value if type(value) is int and value > 0 else 0


def chosen(dataset: Dataset, split: str, count: int, seed: int) -> Int64[np.ndarray, " n"]:
    """Row numbers of so many images of "train" or "validation", drawn by the seed."""
    images = dataset.train if split == "train" else dataset.validation
    return shuffled(len(images), seed=seed, purpose=f"doctor {split}")[:count]
