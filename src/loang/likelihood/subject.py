"""Which discrete values a model's images have, and which labels go with them."""

import numpy as np
import torch
from jaxtyping import Int, Int64
from torch import Tensor

from loang.data.images import Images
from loang.data.spec import ImageSpec
from loang.errors import LoangError
from loang.model import Model
from loang.schedule import Discrete
from loang.walking import check_means


def check(model: Model, real: Images) -> None:
    """Whether the model has a likelihood of such images.

    Raises:
        LoangError: they are of another size, depth or range; there are fewer than 2; they lack
            the labels that the model was trained with always; or the model is distilled.
    """
    check_means(model.settings, "A likelihood")
    own, spec = model.spec, real.spec
    if (own.shape, own.depth, own.low, own.high) != (spec.shape, spec.depth, spec.low, spec.high):
        raise LoangError(
            f"The model draws images of {told(own)}, and these are {told(spec)}:"
            " it has no likelihood of them.",
            "Name images of the same size and depth.",
        )
    if len(real) < 2:
        raise LoangError(
            "A likelihood of one held-out image has no error.", "Name a data set that has more."
        )
    schedule = model.denoiser.schedule
    if isinstance(schedule, Discrete) and schedule.T == 1:
        raise LoangError("A schedule of one step has no bound.", "Leave --likelihood away.")
    levels_of(own)
    labels_of(model, real, np.arange(0))


def told(spec: ImageSpec) -> str:
    """For people."""
    return (
        f"{spec.height}x{spec.width}x{spec.channels} {spec.depth} in {spec.low:g} to {spec.high:g}"
    )


def levels_of(spec: ImageSpec) -> int | None:
    """How many values an image's value can have; None for real numbers.

    Raises:
        LoangError: whole numbers, in a range whose ends are none.
    """
    if spec.depth == "float32":
        return None
    if not (float(spec.low).is_integer() and float(spec.high).is_integer()):
        raise LoangError(
            f"The range of the model's images, {spec.low:g} to {spec.high:g}, does not end at"
            " values that they can have, so they have no bins.",
            "Train with --set data.range=LOW,HIGH of whole numbers, or leave --likelihood away.",
        )
    return int(spec.high - spec.low) + 1


def labels_of(
    model: Model, real: Images, rows: Int64[np.ndarray, " n"]
) -> Int[Tensor, " n"] | None:
    """The labels that the likelihood is given; None where the model is asked without.

    Raises:
        LoangError: there are none, for a model that was never trained without.
    """
    if not model.knows_labels:
        return None
    if real.labels is not None and real.spec.class_names == model.spec.class_names:
        return torch.from_numpy(np.asarray(real.labels)[rows].astype(np.int64))
    if model.settings.training.label_dropout == 0:
        raise LoangError(
            "The model was always told the classes of its images, and these have none of them.",
            "Name images with the same classes.",
        )
    return None
