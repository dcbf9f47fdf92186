"""How a model is sampled: what a person asks, checked as far as no model is needed. No torch."""

import difflib
from collections.abc import Sequence
from typing import Any, TypedDict, get_args

from pydantic import ValidationError

from loang.config import SamplingSettings
from loang.config.sections import SamplerName
from loang.errors import LoangError

SAMPLERS: tuple[str, ...] = get_args(SamplerName)
_SPACING = SamplingSettings.model_fields["spacing"].annotation
SPACINGS: tuple[str, ...] = get_args(get_args(_SPACING)[0])  # the other is None


class Asked(TypedDict, total=False):
    """What a person may ask of sampling; None, or nothing, leaves it to the model.

    - sampler: by its name, or "auto" for what was measured best for so many evaluations
    - steps: of the sampler; of "auto", evaluations of the network
    - spacing: of the noise levels: "trailing", "quadratic", "log-snr" or "karras"
    - levels: falling times, in place of steps and spacing
    - eta: of ddim, 0 to 1
    - variance: of ddpm: "fixed-small", "fixed-large" or "learned"
    - churn: of heun: noise put in over the walk
    - tolerance: of ode: the error allowed a step
    - guidance: its scale; 1 is none
    - guidance_interval: least and most noise / signal at which it guides
    - guidance_rescale: 0 to 1, how far contrast is put back
    """

    sampler: str | None
    steps: int | None
    spacing: str | None
    levels: Sequence[float] | None
    eta: float | None
    variance: str | None
    churn: float | None
    tolerance: float | None
    guidance: float | None
    guidance_interval: tuple[float, float] | None
    guidance_rescale: float | None


def given(asked: Asked) -> dict[str, Any]:
    """What was asked, without what was left to the model.

    Raises:
        LoangError: there is no such sampler or spacing, a number is out of its range, or two wishes
            exclude one another.
    """
    values: dict[str, Any] = {key: value for key, value in asked.items() if value is not None}
    for key, known in (("sampler", SAMPLERS), ("spacing", SPACINGS)):
        if (name := values.get(key)) is not None and name not in known:
            raise _unknown(key, str(name), known)
    if "levels" in values and (others := {"steps", "spacing"} & values.keys()):
        raise LoangError(
            "Given levels are all the steps there are: they go without "
            + " and ".join(sorted(others))
            + ".",
            "Leave away --levels, or " + " and ".join(f"--{each}" for each in sorted(others)) + ".",
        )
    for key, read in (("levels", read_levels), ("guidance_interval", read_interval)):
        if isinstance(values.get(key), str):  # in Python too, as on the command line
            values[key] = read(values[key])
    check_interval(values.get("guidance_interval"))
    if not hasattr(values.get("steps", 1), "__index__"):
        raise LoangError(f"--steps can't be {values['steps']!r}.", "Give a whole number.")
    try:
        # How many steps there may be depends on the model.
        SamplingSettings(**{key: value for key, value in values.items() if key != "steps"})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = str(first["loc"][0])
        raise LoangError(
            f"{option(key)} can't be {values.get(key)}: {first['msg'].lower()}.",
            "Correct it; `loang sample --help` says what there is.",
        ) from None
    return values


def check_count(count: int, batch: int) -> None:
    """Whether so many images can be drawn, so many at once.

    Raises:
        LoangError: one of them is below 1.
    """
    if count < 1:
        raise LoangError(f"{count} images can't be drawn.", "Ask for 1 or more.")
    if batch < 1:
        raise LoangError(f"A batch of {batch} can't be drawn.", "Ask for 1 or more.")


def check_seed(seed: int) -> None:
    """Whether a person may ask for this seed.

    Raises:
        LoangError: it is out of range.
    """
    if not 0 <= seed < 2**63:
        raise LoangError(f"The seed {seed} is out of range.", "Choose one from 0 to 2**63 - 1.")


def check_whole(seed: int) -> None:
    """Whether a seed is a whole number; None is no seed that changes from time to time.

    Raises:
        LoangError: it is none.
    """
    if not hasattr(seed, "__index__"):
        raise LoangError(
            f"The seed {seed} is no whole number.", "Give one; the same gives the same images."
        )


def check_interval(interval: tuple[float, float] | None) -> None:
    """Whether guidance would ever be asked for.

    Raises:
        LoangError: the interval is empty.
    """
    if interval is None:
        return
    if len(interval) != 2:
        raise LoangError(
            f"{len(interval)} numbers are no interval.", "Name least and most noise / signal."
        )
    low, high = interval
    if low < high:
        return
    example = f"{high:g}:{low:g}" if high < low else "0.2:5"
    raise LoangError(
        f"The interval of guidance, {low:g} to {high:g}, holds no noise level.",
        f"Name the lesser noise / signal first: --guidance-interval {example}.",
    )


def read_levels(text: str | None) -> tuple[float, ...] | None:
    """`1000,600,200` as numbers.

    Raises:
        LoangError: they are none.
    """
    if text is None:
        return None
    return _numbers(text, ",", "--levels", "falling times, as in --levels 1000,600,200")


def read_interval(text: str | None) -> tuple[float, float] | None:
    """`0.2:5` as two numbers.

    Raises:
        LoangError: they are not two, or none.
    """
    if text is None:
        return None
    name, remedy = "--guidance-interval", "least and most noise, as in --guidance-interval 0.2:5"
    numbers = _numbers(text, ":", name, remedy)
    if len(numbers) != 2:
        raise LoangError(f"{name} {text} is no interval.", f"Write {remedy}.")
    return numbers[0], numbers[1]


def option(key: str) -> str:
    """What a setting is called on the command line."""
    return "--" + key.replace("_", "-")


def _numbers(text: str, between: str, name: str, remedy: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(between))
    except ValueError:
        raise LoangError(f"{name} {text!r} holds what is no number.", f"Write {remedy}.") from None


def _unknown(key: str, name: str, known: Sequence[str]) -> LoangError:
    near = difflib.get_close_matches(name.casefold(), known, 1, 0.5)
    question = f"Did you mean {near[0]}? " if near else ""
    return LoangError(f"There is no {key} {name!r}.", f"{question}There are {', '.join(known)}.")
