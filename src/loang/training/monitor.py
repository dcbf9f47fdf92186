"""Distances of a few samples while training runs: always of the same noise, to the same images."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int

from loang.config import SamplingSettings, Settings
from loang.data.images import Dataset
from loang.errors import LoangError
from loang.metrics import features
from loang.metrics.estimate import Estimate
from loang.metrics.frechet import frechet_distance
from loang.metrics.kid import kernel_distance
from loang.metrics.rows import shuffled
from loang.model import Model
from loang.samplers import METHODS
from loang.shares import labels_like
from loang.walking import chosen, levels_of

REFERENCE = 5000  # training images, at the most


class Monitor:
    """What a run measures of its own samples at each report.

    It reads the weights and draws numbers of purposes of its own, so training is the same with it
    and without. Its time counts as the reports' does.

    Args:
        dataset: the run's images.
        settings: the run's; `evaluation` says how many samples, in which space and steps.
        on_step: called while the space is learnt with (steps done, steps in all).
    """

    def __init__(
        self, dataset: Dataset, settings: Settings, on_step: features.OnStep | None = None
    ) -> None:
        self.settings = settings.evaluation
        self.seed = settings.training.seed
        self.space = features.named(self.settings.features, dataset, on_step=on_step)
        order = shuffled(len(dataset.train), seed=self.seed, purpose="monitor reference")
        rows = order[:REFERENCE]
        self.reference = self.space(dataset.train[rows], dataset.spec)
        self.shares: Int[np.ndarray, " classes"] | None = None
        """How many training images each class has."""
        if dataset.train.labels is not None and dataset.spec.class_names:
            named = dataset.train.labels[dataset.train.labels >= 0]
            self.shares = np.bincount(named, minlength=len(dataset.spec.class_names))

    def score(self, model: Model) -> Mapping[str, Any]:
        """KID, which has no bias, its error, and the Fréchet distance, which has some."""
        sampling = in_few_steps(model, self.settings.steps)
        samples = self._drawn(model, sampling, self.settings.samples)
        kid = kernel_distance(samples, self.reference)
        return {
            "kid": kid.value,
            "kid_error": kid.error,
            "frechet": frechet_distance(samples, self.reference).value,
            "features": self.space.name,
            "samples": len(samples),
            "sampling_steps": len(levels_of(sampling, model.denoiser.schedule)) - 1,
        }

    def distance(self, model: Model, sampling: SamplingSettings, count: int) -> Estimate:
        """The Fréchet distance of so many samples that are drawn so.

        Too large by what finite sets are, as that of as many others is: for comparing them.
        """
        return frechet_distance(self._drawn(model, sampling, count), self.reference)

    def _drawn(
        self, model: Model, sampling: SamplingSettings, count: int
    ) -> Float32[np.ndarray, "n d"]:
        labels = None
        if model.knows_labels and self.shares is not None and self.shares.any():
            labels = torch.from_numpy(labels_like(self.shares.astype(np.float64), count))
        pixels = model.sample(count, seed=self.seed, sampling=sampling, labels=labels)
        return self.space(pixels, model.spec)


def in_few_steps(model: Model, steps: int) -> SamplingSettings:
    """The model's own walk if it asks no more often; else DDIM, or as many as the schedule has."""
    own, schedule = model.settings.sampling, model.denoiser.schedule
    plain = SamplingSettings(sampler="ddim", steps=min(steps, schedule.most_steps))
    if model.settings.distilled:
        return own
    if own.guidance != 1 and not model.guides_itself:  # it wants a guide, who is not here
        return plain
    try:
        taken = len(levels_of(own, schedule)) - 1
    except LoangError:  # steps or levels that are not this schedule's
        return plain
    asked = METHODS[chosen(own, schedule).sampler].evaluations(taken)
    return plain if asked is None or asked > steps else own
