"""What all edits share: how they are sampled, their labels, keyed noise, and the walk's end."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from loang import device, heap, random
from loang.config import SamplingSettings
from loang.data.scaling import to_pixels
from loang.errors import LoangError
from loang.model import Model
from loang.samplers import Noise, State
from loang.sampling import check_count
from loang.walking import chosen, in_evaluation

OnStep = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""


def sampling_of(
    model: Model, sampling: SamplingSettings | None, label: str | None
) -> SamplingSettings:
    """What is asked, or the model's own; with "auto" settled, and no guidance without a label.

    Guidance steers towards a label: where none is asked for there is nothing to steer to.
    """
    sampling = chosen(sampling or model.settings.sampling, model.denoiser.schedule)
    return sampling if label is not None else sampling.model_copy(update={"guidance": 1.0})


def label_of(model: Model, label: str | None, count: int) -> Int[Tensor, " n"] | None:
    """The asked class for each image; without one, "no label" for a model that knows classes.

    Raises:
        LoangError: there is no such class; or none is asked for, of a model that was never trained
            without.
    """
    if label is None:
        if model.knows_labels and model.settings.training.label_dropout == 0:
            raise LoangError(
                "The model was always told the classes of its images, and none is asked for.",
                f"Add --label. There are {model.spec.listed}.",
            )
        classes = model.denoiser.classes
        return torch.full((count,), classes, device=model.device) if classes else None
    return torch.full((count,), model.class_index(label), device=model.device)


def noise_of(model: Model, indices: Sequence[int], seed: int, purpose: str) -> Noise:
    """Standard normal noise for the edits of those numbers, by step."""
    numbers = torch.as_tensor(list(indices), dtype=torch.long, device=model.device)

    def noise(step: int) -> Float[Tensor, "n c h w"]:
        return random.normal(
            model.spec.shape, seed=seed, purpose=purpose, step=step, indices=numbers
        )

    return noise


def evaluated(model: Model, walk: Iterator[State]) -> Iterator[State]:
    """The states of a walk, at the model's own precision and without gradients."""
    dtype = device.autocast_type(model.device, model.settings.training.precision)
    return in_evaluation([model.denoiser], walk, model.device, dtype)


@heap.kept()
def drawn(
    model: Model, walk: Iterator[State], on_step: Callable[[int], None] | None = None
) -> Shaped[np.ndarray, "n h w c"]:
    """The images that a walk ends at, as they are stored.

    Args:
        model: whose images they are.
        walk: of `Model.walk`, or `evaluated`.
        on_step: called with the number of each state, from 0.

    Raises:
        LoangError: they are not all numbers.
    """
    for number, state in enumerate(walk):
        if on_step:
            on_step(number)
        last = state.x
    return stored(model, last)


def stored(model: Model, x: Float[Tensor, "n c h w"]) -> Shaped[np.ndarray, "n h w c"]:
    """Images as they are stored.

    Raises:
        LoangError: they are not all numbers.
    """
    if not bool(x.isfinite().all()):
        raise LoangError(
            "What the model draws is not all numbers: its weights are too large.",
            "Take an earlier checkpoint, or train again with a lower learning rate.",
        )
    return to_pixels(x, model.spec)


def batches(count: int, batch: int) -> list[range]:
    """The numbers 0..count-1, so many at a time.

    Raises:
        LoangError: none are asked for.
    """
    check_count(count, batch)
    return [range(start, min(start + batch, count)) for start in range(0, count, batch)]


def counted(
    on_step: OnStep | None, part: int, parts: int, steps: int
) -> Callable[[int], None] | None:
    """Tells of the steps of one batch among all."""
    if on_step is None:
        return None
    return lambda number: on_step(part * steps + min(number, steps), parts * steps)
