"""What `auto` picks: the sampler and spacing for so many evaluations of a kind of model."""

from typing import Literal, NamedTuple

from loang.samplers.registry import METHODS
from loang.schedule import Edm, Flow, Schedule, Spacing

Kind = Literal["discrete", "edm", "flow"]


class Choice(NamedTuple):
    """A sampler by its name, its steps, and the spacing of its levels."""

    sampler: str
    steps: int
    spacing: Spacing


# For each kind of model, up to how many evaluations which sampler and spacing; the last row has no
# end. Measured on networks of minutes (docs/benchmarks.md): their errors are large, and the noise
# of each step makes up for those of the steps before.
TABLE: dict[Kind, tuple[tuple[float, str, Spacing], ...]] = {
    "discrete": ((9, "dpmpp-2m-sde", "trailing"), (float("inf"), "ddpm", "trailing")),
    "edm": ((9, "dpmpp-2m-sde", "karras"), (float("inf"), "ddpm", "karras")),
    "flow": ((9, "dpmpp-2m-sde", "trailing"), (float("inf"), "ddpm", "trailing")),
}


def kind_of(schedule: Schedule) -> Kind:
    """The kind of model that is trained on that schedule."""
    if isinstance(schedule, Edm):
        return "edm"
    return "flow" if isinstance(schedule, Flow) else "discrete"


def best(kind: Kind, evaluations: int) -> Choice:
    """The choice for that kind of model and so many evaluations of it, 1 or more."""
    for most, sampler, spacing in TABLE[kind]:
        if evaluations <= most:
            return Choice(sampler, METHODS[sampler].steps(evaluations), spacing)
    raise ValueError(f"the table of {kind} has an end")
