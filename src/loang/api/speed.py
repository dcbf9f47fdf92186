"""How fast this machine trains and samples."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from loang.config import SamplingSettings
from loang.data.download import Progress
from loang.errors import LoangError
from loang.processors import busy_otherwise
from loang.training.asked import Asked, open_images, resolve

# torch takes a second or more to import: what a person got wrong is found before it is.
if TYPE_CHECKING:
    import loang.model


@dataclass(frozen=True)
class Speed:
    """What was measured.

    Args:
        lines: for people.
        advice: in sentences; none where nothing better is known.
        values: for JSON: every number, with the machine, versions and the day.
    """

    lines: list[str]
    advice: list[str]
    values: dict[str, Any]


def bench_training(
    data: str | Path | None = None,
    *,
    seconds: float = 10.0,
    on_stage: Callable[[str], object] = lambda what: None,
    on_progress: Progress | None = None,
    **asked: Unpack[Asked],
) -> Speed:
    """Measure how fast such a run would train here; nothing is kept or written.

    Args:
        data: images, as for `train`; None takes the preset's.
        seconds: of steps; the rest takes about as long again.
        on_stage: told what is measured now.
        on_progress: told of a download.
        **asked: preset, size and more: see `loang.training.asked.Asked`.

    Raises:
        LoangError: as `train`.
    """
    settings = resolve(data, **asked)
    check_seconds(seconds)
    dataset = open_images(settings, on_progress)

    from loang.bench import advice, words
    from loang.bench.training import training_speed
    from loang.training.plan import prepare

    plan = prepare(settings, dataset)
    busy = busy_otherwise()
    speed = training_speed(plan, seconds, on_stage)
    said = advice.of_training(speed, busy)
    return Speed(words.of_training(speed), said, words.values(speed, said))


def bench_drawing(
    model: "loang.model.Model",
    sampling: SamplingSettings | None = None,
    *,
    seconds: float = 10.0,
    on_stage: Callable[[str], object] = lambda what: None,
) -> Speed:
    """Measure how fast a model draws here; nothing is kept or written.

    Args:
        model: on the device that is measured.
        sampling: sampler and steps; None takes the model's own.
        seconds: of drawing; the rest takes about as long again.
        on_stage: told what is measured now.

    Raises:
        LoangError: the model has learnt no such walk, or not even one image fits in memory.
    """
    check_seconds(seconds)

    from loang.bench import advice, words
    from loang.bench.drawing import drawing_speed

    busy = busy_otherwise()
    speed = drawing_speed(model, sampling, seconds, on_stage)
    said = advice.of_drawing(speed, busy)
    return Speed(words.of_drawing(speed), said, words.values(speed, said))


def check_seconds(seconds: float) -> None:
    """Whether anything can be measured in that time.

    Raises:
        LoangError: it can't be.
    """
    if not 0 < seconds <= 3600:
        raise LoangError(
            f"Nothing can be measured in {seconds:g} seconds.",
            "Choose --seconds between 1 and 3600; 10 will do.",
        )
