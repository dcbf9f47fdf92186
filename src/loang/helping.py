"""Samples drawn by all processes of a job: the leader asks for them, and keeps what comes back.

The others need no file: they get the model itself, once, and draw their part of what is asked for.
Sample i is the same whoever draws it.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from loang import config, device
from loang.build import build_denoiser
from loang.config import SamplingSettings
from loang.data.spec import ImageSpec
from loang.identity import weights_digest
from loang.model import Model
from loang.team.joining import join
from loang.team.lost import Dismissed
from loang.team.team import ALONE, Team

KEPT = 2
"""Models that a process keeps: one, and its guide."""


@dataclass(frozen=True)
class Wish:
    """Samples that are asked for.

    Args:
        count: how many.
        first: the number of the first.
        seed: of the noise.
        batch: how many each process draws at once.
        sampling: sampler and steps.
        labels: one a sample; None for a model that knows none.
        guide: whether another model guides.
    """

    count: int
    first: int
    seed: int
    batch: int
    sampling: dict[str, Any]
    labels: list[int] | None
    guide: bool


@dataclass
class _Job:
    """What a leader has handed out so far."""

    team: Team = ALONE
    known: dict[str, Model] = field(default_factory=dict)
    """Models by their names, as all processes have them; what was asked for last stands last."""


_job = _Job()


def helpers() -> int:
    """How many processes draw what `sample` is asked for."""
    return _job.team.size


@contextlib.contextmanager
def together() -> Iterator[bool]:
    """A context in which the processes of this job draw together.

    The leader's `sample` asks all of them; the others help until it is over.

    Yields:
        Whether this process leads, and has anything else to do.

    Raises:
        Dismissed: this process does not lead, and the leader has ended early.
        Lost: another process is gone.
    """
    team = join()
    if not team.leads:
        _serve(team)
        yield False
        return
    _job.team, _job.known = team, {}
    try:
        yield True
        team.tell(["end"])
    except Exception:
        team.dismiss()
        raise
    except KeyboardInterrupt:
        team.dismiss(0.0)
        raise
    finally:
        _job.team, _job.known = ALONE, {}


def sample(
    model: Model,
    count: int,
    *,
    seed: int = 0,
    sampling: SamplingSettings | None = None,
    label: int | None = None,
    labels: Int[Tensor, " count"] | None = None,
    first: int = 0,
    batch: int = 64,
    guide: Model | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> Shaped[np.ndarray, "count h w c"]:
    """As `Model.sample`, by all processes of the job where one is `together`.

    Raises:
        LoangError: as `Model.sample`.
        Lost: another process is gone.
    """
    team = _job.team
    if team.size == 1:
        return model.sample(
            count,
            seed=seed,
            sampling=sampling,
            label=label,
            labels=labels,
            first=first,
            batch=batch,
            guide=guide,
            on_step=on_step,
        )
    if labels is None:
        labels = model.labels(range(first, first + count), label)
    wish = Wish(
        count,
        first,
        seed,
        batch,
        (sampling or model.settings.sampling).model_dump(),
        None if labels is None else labels.tolist(),
        guide is not None,
    )
    models = [model] if guide is None else [model, guide]
    names = [_handed_out(team, each) for each in models]
    team.tell(["draw", names, asdict(wish)])
    return _draw(team, wish, model, guide, on_step)


def _handed_out(team: Team, model: Model) -> str:
    """The name by which the others know a model."""
    for name, known in _job.known.items():
        if known is model:
            team.tell(["again", name])
            _keep(_job.known, name, model)
            return name
    name = weights_digest(model)
    _keep(_job.known, name, model)
    about = [model.settings.to_dict(), model.spec.to_dict(), str(model.device)]
    team.tell(["model", name, about])
    team.hand_out(model.denoiser.network.state_dict())
    return name


def _keep(models: dict[str, Model], name: str, model: Model) -> None:
    """As the last of the models; those that were asked for longest ago are forgotten."""
    models.pop(name, None)
    models[name] = model
    while len(models) > KEPT:
        del models[next(iter(models))]


def _serve(team: Team) -> None:
    """Draw what the leader asks for, until it is over."""
    models: dict[str, Model] = {}
    while told := team.tell():
        match told:
            case ["model", str(name), [dict(settings), dict(spec), str(on)]]:
                _keep(models, name, _received(team, settings, spec, on))
            case ["again", str(name)]:
                _keep(models, name, models[name])
            case ["draw", [str(name), *guides], dict(wish)]:
                guide = models[guides[0]] if guides else None
                _draw(team, Wish(**wish), models[name], guide)
            case _:
                return
    raise Dismissed


def _received(team: Team, settings: dict[str, Any], spec: dict[str, Any], on: str) -> Model:
    known, images = config.load(settings), ImageSpec.from_dict(spec)
    denoiser = build_denoiser(known, images)
    denoiser.network.load_state_dict(team.hand_out())
    own = device.choose(torch.device(on).type)
    return Model(denoiser.to(own), images, known)


def _draw(
    team: Team,
    wish: Wish,
    model: Model,
    guide: Model | None,
    on_step: Callable[[int, int], None] | None = None,
) -> Shaped[np.ndarray, "n h w c"]:
    """With the leader all samples; with the others what they have drawn last."""
    per = team.size * wish.batch
    sampling = SamplingSettings(**wish.sampling)
    found = []
    for start in range(0, wish.count, per):
        ends = [min(start + (rank + 1) * wish.batch, wish.count) for rank in range(team.size)]
        counts = [max(0, end - start - rank * wish.batch) for rank, end in enumerate(ends)]
        own = counts[team.place.rank]
        at = start + team.place.rank * wish.batch
        spec = model.spec
        pixels = np.empty((0, spec.height, spec.width, spec.channels), spec.depth)
        if own:
            labels = None if wish.labels is None else torch.tensor(wish.labels[at : at + own])
            pixels = model.sample(
                own,
                seed=wish.seed,
                sampling=sampling,
                labels=labels,
                first=wish.first + at,
                batch=wish.batch,
                guide=guide,
                on_step=on_step and _of_all(on_step, start // per, -(-wish.count // per)),
            )
        found += team.gather(pixels, counts)
    return np.concatenate(found)


def _of_all(
    on_step: Callable[[int, int], None], done: int, rounds: int
) -> Callable[[int, int], None]:
    """The steps of one round as steps of all rounds."""
    return lambda step, steps: on_step(done * steps + step, rounds * steps)
