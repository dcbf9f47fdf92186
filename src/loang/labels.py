"""Labels as a person gives them: a class by its name or number, or a number for each sample."""

import operator
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from loang.data.spec import ImageSpec
from loang.errors import LoangError

Labels = Int[Tensor, " n"] | Int[np.ndarray, " n"] | Sequence[int]


def label_of(spec: ImageSpec, name: str | int) -> int:
    """The label of a class, by its name (whole, or a part that is unmistakable) or its number.

    Raises:
        LoangError: there is none, or several of that name.
    """
    names = spec.class_names
    if not isinstance(name, str):
        if not hasattr(name, "__index__") or not 0 <= operator.index(name) < len(names):
            raise LoangError(
                f"For this model no class has the number {name}.",
                f"There are {spec.listed}, from 0 to {len(names) - 1}.",
            )
        return operator.index(name)
    lower = [known.casefold() for known in names]
    wanted = name.casefold()
    if wanted in lower:
        return lower.index(wanted)
    if name.isdecimal() and int(name) < len(names):
        return int(name)
    singular = wanted.removesuffix("s")
    found = [i for i, known in enumerate(lower) if singular and singular in known]
    if len(found) != 1:
        what = "several classes match" if found else "no class is called"
        raise LoangError(f"For this model {what} {name!r}.", f"There are {spec.listed}.")
    return found[0]


def one_each(
    spec: ImageSpec, labels: Labels, count: int, *, with_none: bool
) -> Int[Tensor, " count"]:
    """Labels of so many samples.

    Args:
        spec: knows the classes.
        labels: one a sample.
        count: of samples.
        with_none: whether their number, one beyond the last, is a label too: of no class.

    Raises:
        LoangError: there are more or fewer of them, they are no whole numbers, or of no class.
    """
    last = len(spec.class_names) - (not with_none)
    try:
        found = torch.as_tensor(labels)
    except (TypeError, ValueError, RuntimeError) as error:
        raise LoangError("Labels are no array of numbers.", "Give one a sample.") from error
    if found.shape != (count,) or found.dtype.is_floating_point or found.dtype == torch.bool:
        raise LoangError(
            f"{count} whole numbers are needed as labels, one a sample; these are of shape"
            f" {list(found.shape)} and type {str(found.dtype).removeprefix('torch.')}.",
            "Give the number of a class for each.",
        )
    if bool(((found < 0) | (found > last)).any()):
        raise LoangError(
            f"There are labels outside of 0 to {last}.",
            f"The classes are {spec.listed}, from 0 up"
            + (f", and {last} stands for none." if with_none else "."),
        )
    return found.long()
