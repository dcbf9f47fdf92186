"""What a person is told of images that are read, and when that is all that is done with them."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from loang.data.spec import ImageSpec
from loang.errors import LoangError

NAMED = 10  # that many images or classes are called by name


def check_spec(spec: ImageSpec, name: str) -> None:
    """Refuses, before they are made, images that no model file could describe.

    Raises:
        LoangError: they are too large, or their classes too many.
    """
    try:
        spec.check_size()
    except ValueError as error:
        raise LoangError(
            f"The images of {name} can't be learned: {error}.",
            "Choose a smaller --size, other names of classes, or --no-labels.",
        ) from error


def refuse_if_many(bad: int, total: int, sentence: str, share: float) -> None:
    """Stops where more images are bad than may be, or all.

    Raises:
        LoangError: says which.
    """
    if bad == total or bad > share * total:
        more = " (--set data.unreadable=1 goes on with the others)" if bad < total else ""
        raise LoangError(
            f"{sentence} cannot be used.",
            f"Mend or remove them: up to {share:.0%} may be bad{more}.",
        )


def unlearned(names: Sequence[str], labels: Int[np.ndarray, " t"]) -> list[str]:
    """A sentence on the classes of which there is no image to learn from, if there are any."""
    counts = np.bincount(labels, minlength=len(names))
    missing = [name for name, count in zip(names, counts, strict=True) if not count]
    if not missing:
        return []
    some = ", ".join(missing[:NAMED]) + (", ..." if len(missing) > NAMED else "")
    return [f"There is no image to learn from of {some}: samples of such a class mean nothing."]


def readable(text: str) -> str:
    """A name that is no UTF-8 can't be written to a terminal, or kept as JSON."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
