"""What a verb does where a launcher (`torchrun`, `accelerate launch`) has started many of it."""

import functools
import sys
from collections.abc import Callable
from typing import ParamSpec

from loang.errors import LoangError
from loang.team.place import Place

P = ParamSpec("P")
TRAINING = ("train", "distill")
DRAWING = ("sample", "evaluate")


def helped(verb: Callable[P, None]) -> Callable[P, None]:
    """A verb that one process leads; the others draw the samples that it asks for."""

    @functools.wraps(verb)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        if Place.here().size == 1:
            verb(*args, **kwargs)
            return
        from loang import helping

        with helping.together() as leads:
            if leads:
                verb(*args, **kwargs)

    return run


def follows() -> bool:
    """Whether another process of this job leads."""
    try:
        return Place.here().rank > 0
    except LoangError:
        return False


def is_told(error: LoangError) -> bool:
    """Whether another process of this job says what is wrong: of many, one speaks.

    What the others find before they have joined it, it finds as well.
    """
    if getattr(error, "told", False):
        return True
    joining = sys.modules.get("loang.team.joining")
    return follows() and not (joining and joining.is_joined())


def check_alone(verb: str | None) -> None:
    """Refuse what many processes would only do many times.

    Raises:
        LoangError: there are others, and they can't share this verb's work.
    """
    place = Place.here()
    if place.size > 1 and verb not in (*TRAINING, *DRAWING, None):
        raise LoangError(
            f"loang {verb} works in one process, and this is {place}.",
            "Start it without a launcher; what can be shared is"
            f" {', '.join((*TRAINING, *DRAWING))}.",
        )
