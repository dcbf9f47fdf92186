"""A model: a denoiser, and what its images are. One safetensors file holds all of it."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from loang import device, heap, model_file, random
from loang.config import SamplingSettings, Settings
from loang.data.memory import require_bytes
from loang.data.scaling import to_pixels
from loang.data.spec import ImageSpec
from loang.denoiser import Denoiser, DenoiserLike
from loang.errors import LoangError
from loang.files import MODEL
from loang.labels import Labels, label_of, one_each
from loang.named import located
from loang.sampled import Sampled
from loang.samplers import State
from loang.sampling import check_count, check_whole
from loang.walking import check_walk, chosen, in_evaluation, levels_of, sampler_of, seen_by


@dataclass
class Model:
    """What training makes and sampling needs.

    Args:
        denoiser: in evaluation mode while it samples.
        spec: size, channels, range and class names of its images.
        settings: what it was trained with; its `sampling` section is how it is best sampled.
        facts: where it comes from: data, steps, images, losses; plain values for JSON.
    """

    denoiser: Denoiser
    spec: ImageSpec
    settings: Settings
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        """Where the network's weights are."""
        return next(self.denoiser.parameters()).device

    @property
    def knows_labels(self) -> bool:
        """Whether it draws the classes of its images apart."""
        return self.denoiser.classes > 0

    @property
    def guides_itself(self) -> bool:
        """Whether it has learnt to draw with a label and without, which guidance sets apart."""
        learnt = self.settings.training.label_dropout > 0
        return self.knows_labels and self.denoiser.hides_labels and learnt

    def to(self, where: str | torch.device) -> "Model":
        """This model, its weights moved to a device, or to that of a name ("auto", "cpu", "cuda").

        Raises:
            LoangError: there is no device of that name here.
        """
        self.denoiser.to(device.choose(where) if isinstance(where, str) else torch.device(where))
        return self

    def walk(
        self,
        indices: Sequence[int],
        *,
        seed: int = 0,
        sampling: SamplingSettings | None = None,
        labels: Labels | None = None,
        levels: Sequence[float] | None = None,
        start: Float[Tensor, "n c h w"] | None = None,
        guide: "Model | None" = None,
        precision: str | None = None,
    ) -> Iterator[State]:
        """The walk from noise of the samples number `indices`: one state a level, in one batch.

        Sample i depends on the seed, its number and its label, and on nothing else; its last bits
        on the batch, as matrix products are ordered by their size.

        Args:
            indices: numbers of samples, each 0 or more.
            seed: of the noise.
            sampling: sampler and steps; None takes the model's own.
            labels: one an image, 0..classes-1, or `classes` for no label; None takes
                those of `labels`.
            levels: falling times that end at 0; None takes those of `sampling`.
            start: x at the time levels[0], signal(t) * x_0 + noise(t) * eps; None is noise.
            guide: a worse model of the same images, for autoguidance (guidance.py).
            precision: "auto", "float32" or "bfloat16"; None takes that of training.

        Raises:
            LoangError: the levels or labels can't be, a distilled model has learnt no such walk, or
                neither the labels nor the guide can guide.
        """
        check_count(len(indices), 1)
        check_whole(seed)
        schedule = self.denoiser.schedule
        sampling = chosen(sampling or self.settings.sampling, schedule)
        check_walk(self.settings, schedule, sampling, levels)
        weaker = None if guide is None else self._weaker(guide)
        at = self.device
        numbers = torch.as_tensor(list(indices), dtype=torch.long, device=at)
        told = self.labels(indices) if labels is None else self._told(labels, len(indices))
        told = None if told is None else told.to(at)

        def noise(step: int) -> Tensor:
            return random.normal(
                self.spec.shape, seed=seed, purpose="sample", step=step, indices=numbers
            )

        walk = sampler_of(sampling)(
            self.seen(sampling, weaker),
            schedule.start * noise(0) if start is None else start.to(at),
            levels or levels_of(sampling, schedule),
            lambda step: noise(step + 1),
            told,
        )
        dtype = device.autocast_type(at, precision or self.settings.training.precision)
        networks = [self.denoiser] if weaker is None else [self.denoiser, weaker]
        return in_evaluation(networks, walk, at, dtype)

    def check_guidance(self, sampling: SamplingSettings, guide: "Model | None" = None) -> None:
        """Whether this model can be guided so.

        Raises:
            LoangError: it knows no labels, or never learnt to do without one, and has no guide; or
                one of other images.
        """
        self.seen(sampling, None if guide is None else self._weaker(guide))

    def seen(self, sampling: SamplingSettings, weaker: Denoiser | None = None) -> DenoiserLike:
        """What a sampler sees: the denoiser, guided as is asked.

        Args:
            sampling: guidance, and where.
            weaker: that guides; None hides the label from the denoiser itself.

        Raises:
            LoangError: as `check_guidance`.
        """
        never = self.knows_labels and not self.guides_itself
        if never and weaker is None and sampling.guidance != 1:
            raise LoangError(
                "This model has never seen an image without a label, which guidance would need.",
                "Leave --guidance away, or name a worse model of these images with --guide.",
            )
        return seen_by(self.denoiser, sampling, weaker)

    def _weaker(self, guide: "Model") -> Denoiser:
        """The denoiser of a model that guides this one, on this one's device.

        Raises:
            LoangError: it draws other images.
        """
        own, other = self.spec, guide.spec
        classes = guide.knows_labels and own.class_names != other.class_names
        if own.shape != other.shape or (own.low, own.high) != (other.low, other.high) or classes:
            raise LoangError(
                f"The guide draws other images than the model: {_apart(other, own)}.",
                "Take one as the guide that was trained on the same images, but less or smaller.",
            )
        return guide.denoiser.to(self.device)

    def frames(
        self, walk: Iterable[State], every: int = 1
    ) -> Iterator[Shaped[np.ndarray, "n h w c"]]:
        """The images of every so many-th level of a walk, and of its last, as they are stored.

        Raises:
            LoangError: they are not all numbers.
        """
        for number, state in enumerate(walk):
            if number % every == 0 or state.t == 0:
                size = self.denoiser.schedule.size(torch.tensor(state.t, dtype=torch.float64))
                yield self._stored(state.x / size.to(state.x))

    @heap.kept()
    def sample(
        self,
        count: int,
        *,
        seed: int = 0,
        sampling: SamplingSettings | None = None,
        label: int | str | None = None,
        labels: Labels | None = None,
        first: int = 0,
        batch: int = 64,
        guide: "Model | None" = None,
        precision: str | None = None,
        on_step: Callable[[int, int], None] | None = None,
    ) -> Shaped[np.ndarray, "count h w c"]:
        """Images as the training data were stored: their size, channels, depth and range.

        A notebook shows the array as a sheet (loang.sampled).

        Args:
            count: how many; 1 or more.
            seed: of the noise; the same seed gives the same images.
            sampling: sampler and steps; None takes the model's own.
            label: one class for all, by name or number; None takes the classes in turn, if the
                model knows any.
            labels: one number a sample, in place of `label`.
            first: the number of the first sample: `sample(2, first=3)` is the end of `sample(5)`.
            batch: how many are drawn at once.
            guide: a worse model of the same images, for autoguidance.
            precision: "auto", "float32" or "bfloat16"; None takes that of training.
            on_step: called after each step of each batch with (steps done, steps in all).

        Raises:
            LoangError: as `walk`; or they do not fit in memory, or are not all numbers.
        """
        check_count(count, batch)
        if label is not None and labels is not None:
            raise LoangError("Both label and labels are given.", "Leave one of them away.")
        told = None if labels is None else self._told(labels, count)
        steps = len(levels_of(sampling or self.settings.sampling, self.denoiser.schedule)) - 1
        # Asked first: a stranger's model may draw images of any size.
        one = math.prod(self.spec.shape) * np.dtype(self.spec.depth).itemsize
        drawn = 8 * math.prod(self.spec.shape) * min(count, batch)  # noise and result
        require_bytes(count * one + drawn, f"{count:,} samples")
        numbers = range(first, first + count)
        parts = [numbers[start : start + batch] for start in range(0, count, batch)]
        images = []
        for done, part in enumerate(parts):
            if told is None:
                asked = self.labels(part, label)
            else:
                asked = told[part.start - first : part.stop - first]
            walk = self.walk(
                part, seed=seed, sampling=sampling, labels=asked, guide=guide, precision=precision
            )
            for step, state in enumerate(walk):
                if on_step:
                    on_step(done * steps + step, len(parts) * steps)
                last = state.x
            images.append(self._stored(last))
        return Sampled.of(np.concatenate(images), self.spec)

    def _stored(self, x: Float[Tensor, "n c h w"]) -> Shaped[np.ndarray, "n h w c"]:
        if not bool(x.isfinite().all()):
            raise LoangError(
                "What the model draws is not all numbers: its weights are too large.",
                "Take an earlier checkpoint, or train again with a lower learning rate.",
            )
        return to_pixels(x, self.spec)

    def labels(
        self, indices: Sequence[int], label: int | str | None = None
    ) -> Int[Tensor, " n"] | None:
        """The labels of the samples of those numbers; None for a model that knows no classes.

        Args:
            indices: numbers of samples.
            label: one class for all; None takes the classes in turn, i modulo their number.

        Raises:
            LoangError: as `class_index`.
        """
        one = None if label is None else self.class_index(label)
        if not self.knows_labels:
            return None
        classes = len(self.spec.class_names)
        chosen = [index % classes if one is None else one for index in indices]
        return torch.tensor(chosen, dtype=torch.long)

    def class_index(self, name: str | int) -> int:
        """The label of a class, by its name (whole, or a part that is unmistakable) or its number.

        Raises:
            LoangError: the model knows no classes, or none or several of that name.
        """
        self._require_classes()
        return label_of(self.spec, name)

    def _told(self, labels: Labels, count: int) -> Int[Tensor, " n"]:
        self._require_classes()
        return one_each(self.spec, labels, count, with_none=self.denoiser.hides_labels)

    def _require_classes(self) -> None:
        if not self.knows_labels:
            raise LoangError("This model knows no classes.", "Leave --label away.")

    def _repr_html_(self) -> str:
        """For notebooks: a few samples, as far as some seconds go."""
        from loang import glance

        return glance.page(self)

    def save(self, path: Path, weights: Mapping[str, Tensor] | None = None) -> None:
        """Write the weights, with everything else in the file's metadata.

        Args:
            path: of the file, which is replaced whole or not at all.
            weights: of the network, by name, in place of those that it has now.

        Raises:
            LoangError: the disk is full, the place can't be written, or a weight is no number.
        """
        if weights is None:
            weights = self.denoiser.network.state_dict()
        model_file.write(path, weights, self.settings, self.spec, self.facts)

    @classmethod
    def load(cls, path: Path | str, *, on: str | torch.device = "auto") -> "Model":
        """A model file, or the model in a run's folder; it may come from anybody.

        `built-in` is the one that ships in the package, unless something of that name is there;
        `hub:owner/name` is one of the hub (loang.hub.models).

        Raises:
            LoangError: there is none, or it is not one of loang's.
        """
        path = located(path)
        if path.is_dir():
            path = path / MODEL
        if not path.is_file():
            raise LoangError(
                f"There is no model at {path}.",
                f"Name a run's folder, or its {MODEL}; a run writes it at its first report.",
            )
        return cls(*model_file.read(path)).to(on)


def _apart(one: ImageSpec, other: ImageSpec) -> str:
    """How the images of two models differ, in words."""
    if one.described != other.described:
        return f"{one.described}, and not {other.described}"
    if (one.low, one.high) != (other.low, other.high):
        return f"values of {one.low:g} to {one.high:g}, and not {other.low:g} to {other.high:g}"
    return "those of other classes"
