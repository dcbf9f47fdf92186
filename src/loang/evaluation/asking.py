"""From what a person names to a report: models and images, opened, sampled and measured."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from loang import device, drawing, likelihood
from loang.config import SamplingSettings
from loang.data import open_dataset
from loang.data.download import Progress
from loang.data.images import Dataset, Images
from loang.errors import LoangError
from loang.evaluation import drawn
from loang.evaluation.asked import COUNT, Asked
from loang.evaluation.comparison import Comparison, compare
from loang.evaluation.evaluate import OnStage, evaluate
from loang.evaluation.history import score_checkpoints
from loang.evaluation.real import real_images
from loang.evaluation.report import Report
from loang.evaluation.subject import Subject, is_model, name_of, open_images
from loang.evaluation.units import brought
from loang.identity import weights_digest
from loang.likelihood import Likelihood
from loang.metrics import features
from loang.metrics.features import Features
from loang.metrics.rows import shuffled
from loang.model import Model
from loang.training.folder import RunFolder


class Asking:
    """One evaluation, or several that are to be compared.

    Args:
        asked: how samples are drawn and measured.
        keep: where samples are kept, so that a stopped evaluation can be gone on with; None keeps
            none.
        command: what the person typed, for the report.
        on_stage: told (what, done, in all).
        on_progress: told of downloads and of images read.
    """

    def __init__(
        self,
        asked: Asked,
        *,
        keep: Path | None = None,
        command: str = "",
        on_stage: OnStage | None = None,
        on_progress: Progress | None = None,
    ) -> None:
        self.asked = asked
        self.keep = keep
        self.command = command
        self.tell = on_stage or (lambda what, done, total: None)
        self.on_progress = on_progress
        self.guide = None if asked.guide is None else Model.load(asked.guide, on=asked.device)

    def report(self, subject: Path, data: str | Path | None, *, history: bool = False) -> Report:
        """Measure a model's samples, or images.

        Raises:
            LoangError: what is named can't be opened, sampled or measured.
        """
        model = Model.load(subject, on=self.asked.device) if is_model(subject) else None
        if history and model is None:
            raise LoangError(f"{subject} holds images.", "--history is of a run's folder.")
        dataset = self.dataset(model, data, subject)
        if self.asked.likelihood:
            if model is None:
                raise LoangError(f"{subject} holds images.", "--likelihood is of a model.")
            likelihood.check(model, dataset.validation)
        draw = self.ready(subject, model, dataset)
        spaces = self.spaces(dataset)
        scored: Sequence[Mapping[str, Any]] = ()
        if history and model is not None:
            scored = self._history(subject, model, dataset, spaces[0])
        report = self._evaluate(draw(), dataset, spaces, scored)
        if self.asked.likelihood and model is not None:
            report = replace(report, likelihood=self._likelihood(model, dataset))
        return report

    def comparison(self, first: Path, second: Path, data: str | Path | None) -> Comparison:
        """Measure two against the same real images, by as many images of each.

        Raises:
            LoangError: as `report`; or the two are not of one size.
        """
        if self.asked.likelihood:
            raise LoangError(
                "Likelihoods are not compared.", "Leave --likelihood away, or ask for it of each."
            )
        paths = first, second
        models = [Model.load(p, on=self.asked.device) if is_model(p) else None for p in paths]
        learned = next((i for i in (0, 1) if models[i] is not None), 0)
        dataset = self.dataset(models[learned], data, paths[learned])
        for path, model in zip(paths, models, strict=True):
            if model is not None and model.spec.shape != dataset.spec.shape:
                raise LoangError(
                    f"The images of {path} are {model.spec.height}x{model.spec.width} with"
                    f" {model.spec.channels} channel(s), those of {paths[0]} are not.",
                    "Draw samples with `loang sample --out FILE.npy`, and compare those.",
                )
        ready = [
            self.ready(path, model, dataset) for path, model in zip(paths, models, strict=True)
        ]
        spaces = self.spaces(dataset)
        subjects = [draw() for draw in ready]
        if subjects[0].name == subjects[1].name:
            subjects = [
                replace(subject, name=str(path))
                for subject, path in zip(subjects, paths, strict=True)
            ]
        count = min(len(subject.images) for subject in subjects)
        reports = [
            self._evaluate(_some(subject, count, self.asked.seed), dataset, spaces, ())
            for subject in subjects
        ]
        return compare(*reports)

    def dataset(self, model: Model | None, data: str | Path | None, subject: Path) -> Dataset:
        """The real images: those named, or those that the model learned from.

        Args:
            model: whose size, channels and range they are brought to.
            data: what a person named.
            subject: the model's run or file.

        Raises:
            LoangError: there are none of that name.
        """
        if model is not None:
            return real_images(model, data, subject, self.on_progress)
        if data is None:
            raise LoangError(
                "There is nothing to measure images against.", "Name the real images as well."
            )
        return open_dataset(data, on_progress=self.on_progress)

    def spaces(self, dataset: Dataset) -> list[Features]:
        """The feature spaces, each once: before any sample is drawn, as one may not be had here.

        Raises:
            LoangError: it can't.
        """
        found: dict[str, Features] = {}
        for name in self.asked.features:
            space = features.named(
                name,
                dataset,
                on_step=lambda done, total: self.tell("learning features", done, total),
            )
            found.setdefault(space.name, space)
        return list(found.values())

    def ready(self, path: Path, model: Model | None, dataset: Dataset) -> Callable[[], Subject]:
        """What gives the samples of a model, or the images at a path.

        Learning features and sampling take minutes: what is wrong with either is told before.

        Raises:
            LoangError: there are no such images, or not so many; or the model can't be sampled so.
        """
        if model is not None:
            self._sampling(model)
            return lambda: self.sampled(model, name_of(path), dataset)
        subject = open_images(path, dataset, self.on_progress)
        count = self.asked.count
        if count is not None and count > len(subject.images):
            raise LoangError(
                f"{path} holds {len(subject.images):,} images, not {count:,}.",
                "Ask for fewer with -n, or leave it away to take all.",
            )
        chosen = subject if count is None else _some(subject, count, self.asked.seed)
        return lambda: chosen

    def sampled(self, model: Model, name: str, dataset: Dataset) -> Subject:
        """Samples of a model, in the proportions of the real images' classes."""
        asked, sampling = self.asked, self._sampling(model)
        images = drawn.draw(
            model,
            asked.count or COUNT,
            self.keep,
            seed=asked.seed,
            sampling=sampling,
            shares=_shares(model, dataset),
            batch=asked.batch,
            guide=self.guide,
            on_step=lambda done, total: self.tell(f"sampling {name}", done, total),
        )
        labels, notices = images.labels, _other_images(model, dataset)
        if labels is not None and model.spec.class_names != dataset.spec.class_names:
            labels = None  # numbered as the model's classes, not as the real images'
            notices.append(
                f"The classes of {name} are not those of {dataset.name}, and are left aside."
            )
        spec = dataset.spec if labels is not None else replace(dataset.spec, class_names=())
        pixels, told = brought(images[:], model.spec, spec, name)
        images = Images(pixels, spec, labels)
        about = {
            "kind": "model",
            "weights": weights_digest(model),
            "sampling": sampling.model_dump(mode="json"),
            "guide": None if self.guide is None else weights_digest(self.guide),
            "drawn_on": device.describe(model.device, _precision(model)),
            "seed": asked.seed,
            "facts": dict(model.facts),
        }
        return Subject(name, images, about, (*notices, *told))

    def _sampling(self, model: Model) -> SamplingSettings:
        return drawing.sampling(model, guide=self.guide, **self.asked.sampling)

    def _evaluate(
        self,
        subject: Subject,
        dataset: Dataset,
        spaces: Sequence[Features],
        history: Sequence[Mapping[str, Any]],
    ) -> Report:
        return evaluate(
            subject,
            dataset,
            spaces=spaces,
            seed=self.asked.seed,
            command=self.command,
            history=history,
            on_stage=self.tell,
        )

    def _likelihood(self, model: Model, dataset: Dataset) -> Likelihood:
        return likelihood.measure(
            model,
            dataset.validation,
            dataset.train,
            effort=likelihood.Effort(images=self.asked.count or COUNT, batch=self.asked.batch),
            seed=self.asked.seed,
            on_step=lambda done, total: self.tell("bits per value", done, total),
        )

    def _history(
        self, path: Path, model: Model, dataset: Dataset, space: Features
    ) -> Sequence[Mapping[str, Any]]:
        folder = RunFolder(path if path.is_dir() else path.parent)
        return score_checkpoints(
            folder,
            model,
            dataset,
            lambda name: self.sampled(model, name, dataset),
            space,
            self.asked.seed,
        )


def _some(subject: Subject, count: int, seed: int) -> Subject:
    """A draw of so many of a subject's images."""
    images = subject.images
    if count == len(images):
        return subject
    rows = shuffled(len(images), seed=seed, purpose="evaluation draw")[:count]
    labels = None if images.labels is None else images.labels[rows]
    return replace(subject, images=Images(images[rows], images.spec, labels))


def _shares(model: Model, dataset: Dataset) -> Float[np.ndarray, " classes"] | None:
    """How often each class is found among the training images, for a model that knows classes."""
    labels, classes = dataset.train.labels, len(model.spec.class_names)
    if not model.knows_labels or labels is None:
        return None
    if dataset.spec.class_names != model.spec.class_names:
        return None
    return np.bincount(labels, minlength=classes).astype(np.float64)


def _precision(model: Model) -> torch.dtype | None:
    return device.autocast_type(model.device, model.settings.training.precision)


def _other_images(model: Model, dataset: Dataset) -> list[str]:
    learned: Mapping[str, Any] = model.facts
    if learned.get("fingerprint") in (None, dataset.fingerprint):
        return []
    return [
        f"The model learned from other images than these ({learned.get('data')}, with"
        f" {learned.get('training_images', 0):,} for training): copies are looked for among these."
    ]
