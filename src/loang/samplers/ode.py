"""The probability-flow ODE, solved to a tolerance: Song et al. 2021b, eq. 13.

Its variable is the angle whose tangent is noise / signal. With z = x / sqrt(signal² + noise²),
z = cos(angle) x0 + sin(angle) eps, the ODE is dz = v dangle, v = cos(angle) eps - sin(angle) x0
(Salimans and Ho 2022, appendix D). That has no infinities, from the clean image to pure noise.

Every image has its own steps, so a sample does not depend on what is drawn beside it.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from loang.denoiser import DenoiserLike
from loang.errors import LoangError
from loang.process import like
from loang.samplers.level import along, level
from loang.samplers.state import Noise, State
from loang.schedule import Schedule
from loang.schedule.base import widest

_Images = Float[Tensor, "n c h w"]
_Each = Float[Tensor, " n"]

# Dormand and Prince 1980: order 5, the last row's slope is the next step's first.
NODES = (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
STAGES = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
# The solution of order 5 less the embedded one of order 4.
ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)

FIRST_STEP = 0.01
"""In radians; from pure noise to a clean image it is pi / 2."""

MOST_STEPS = 2000
"""With those that were too long: a smooth denoiser needs about ten, or a hundred."""

SMALL_ERROR = 1e-6
"""As a share of what is allowed: less says no more of the next step."""


class _Step(NamedTuple):
    """Where each image was and is: it stays where the step was too long, or it is at the end."""

    before: _Each
    after: _Each
    z_before: _Images
    z: _Images
    v_before: _Images
    v: _Images


def ode(
    denoiser: DenoiserLike,
    x: Float[Tensor, "n c h w"],
    levels: Sequence[float],
    noise: Noise,
    label: Int[Tensor, " n"] | None = None,
    tolerance: float = 1e-3,
) -> Iterator[State]:
    """From the first level to the schedule's least noisy trained time, and then to its estimate.

    The levels between are not where the steps are: their states are interpolated, by cubics.

    Args:
        tolerance: see `flow`.
    """
    schedule = denoiser.schedule
    above = [t.t for _, t, _ in along(schedule, levels)]
    stop = min(above[-1], schedule.first)
    steps = _solve(denoiser, x, above[0], stop, tolerance, label)
    step = next(steps)
    yield State(above[0], x, _image(step.after, step.z, step.v))

    angles = [_angle(schedule, t) for t in above]
    seen = {place: _Seen(x) for place in range(1, len(above))}
    for step in steps:
        for place, state in seen.items():
            state.look(step, angles[place])
        while seen and (state := seen[min(seen)]).whole:
            place = min(seen)
            size = _size(schedule, above[place])
            yield State(above[place], size * state.z, state.x0)
            del seen[place]
    x0 = _image(step.after, step.z, step.v)
    yield State(0, x0, x0)


def flow(
    denoiser: DenoiserLike,
    x: Float[Tensor, "n c h w"],
    start: float,
    stop: float,
    tolerance: float = 1e-3,
    label: Int[Tensor, " n"] | None = None,
) -> Float[Tensor, "n c h w"]:
    """x at the time `stop` of the probability flow that goes through x at the time `start`.

    Downwards it decodes, upwards it encodes. A denoiser that clips has no smooth flow, and none
    that can be turned round.

    Args:
        start: a time above 0.
        stop: a time above 0, earlier or later.
        tolerance: the error allowed a step, as the root mean square over an image's values, x
            being scaled to signal² + noise² = 1.
        label: one an image.

    Raises:
        LoangError: so small a tolerance takes too many steps.
    """
    for step in _solve(denoiser, x, start, stop, tolerance, label):
        last = step
    return _size(denoiser.schedule, stop) * last.z


def _solve(
    denoiser: DenoiserLike,
    x: _Images,
    start: float,
    stop: float,
    tolerance: float,
    label: Int[Tensor, " n"] | None,
) -> Iterator[_Step]:
    """Steps until every image is at the end; the first of them goes nowhere.

    An error that is no number is taken as it is: so is the result then, and it is soon there.

    Raises:
        LoangError: so small a tolerance takes too many steps.
    """
    schedule = denoiser.schedule
    ends = _angle(schedule, start), _angle(schedule, stop)
    way = math.copysign(1.0, ends[1] - ends[0])
    angle = x.new_full((len(x),), ends[0], dtype=widest(x.device))
    z = x / _size(schedule, start)
    v = _velocity(denoiser, z, angle, label)
    yield _Step(angle, angle, z, z, v, v)

    length, error_before = torch.full_like(angle, FIRST_STEP), torch.ones_like(angle)
    for _ in range(MOST_STEPS):
        if bool((angle == ends[1]).all()):
            return
        left = (ends[1] - angle).abs()
        last = length >= left
        step = way * torch.where(last, left, length)
        end, slopes = z, [v]
        for node, stage in zip(NODES, STAGES, strict=True):
            end = z + like(step, x) * _sum(stage, slopes)
            slopes.append(_velocity(denoiser, end, angle + node * step, label))
        difference = like(step, x) * _sum(ERROR, slopes)
        size = difference.flatten(1).square().mean(1).sqrt().to(angle.dtype)
        error = torch.where(size.isfinite(), size / tolerance, 0).clamp(min=SMALL_ERROR)
        taken = error <= 1
        there = torch.where(last, torch.full_like(angle, ends[1]), angle + step)
        after = torch.where(taken, there, angle)
        chosen = taken.reshape(-1, 1, 1, 1)
        z_after, v_after = torch.where(chosen, end, z), torch.where(chosen, slopes[-1], v)
        yield _Step(angle, after, z, z_after, v, v_after)
        angle, z, v = after, z_after, v_after
        length = step.abs() * _growth(error, error_before, taken)
        error_before = torch.where(taken, error, error_before)
    raise LoangError(
        f"The ODE can't be solved to a tolerance of {tolerance:g}:"
        " what the denoiser sees changes too abruptly.",
        "Take a larger --tolerance, or another sampler.",
    )


def _growth(error: _Each, before: _Each, taken: Bool[Tensor, " n"]) -> _Each:
    """The next step over this one: PI control as in DOPRI5 (Hairer and Wanner 1996, IV.2)."""
    growth = 0.9 * error**-0.17 * before**0.04
    again = 0.9 * error**-0.2
    return torch.where(taken, growth, again.clamp(max=0.9)).clamp(0.2, 10)


def _velocity(
    denoiser: DenoiserLike, z: _Images, angle: _Each, label: Int[Tensor, " n"] | None
) -> _Images:
    schedule = denoiser.schedule
    t = schedule.times(angle.tan())
    size = (schedule.signal(t).square() + schedule.noise(t).square()).sqrt()
    estimate = denoiser(like(size, z) * z, t, label)
    return like(angle.cos(), z) * estimate.eps - like(angle.sin(), z) * estimate.x0


def _sum(weights: Sequence[float], slopes: Sequence[_Images]) -> _Images:
    terms = [weight * slope for weight, slope in zip(weights, slopes, strict=True) if weight]
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def _image(angle: _Each, z: _Images, v: _Images) -> _Images:
    """The image in z and v: the parameterisation v's x0."""
    return like(angle.cos(), z) * z - like(angle.sin(), z) * v


def _angle(schedule: Schedule, t: float) -> float:
    at = level(schedule, t)
    return math.atan2(at.noise, at.signal)


def _size(schedule: Schedule, t: float) -> float:
    at = level(schedule, t)
    return math.hypot(at.noise, at.signal)


class _Seen:
    """One level's state, put together as the images pass it."""

    def __init__(self, x: _Images) -> None:
        self.z, self.x0 = torch.empty_like(x), torch.empty_like(x)
        self._passed = torch.zeros(len(x), dtype=torch.bool, device=x.device)

    @property
    def whole(self) -> bool:
        """Whether every image has passed."""
        return bool(self._passed.all())

    def look(self, step: _Step, angle: float) -> None:
        """Take the images that pass the angle in this step, by Hermite's cubic."""
        passing = (step.after <= angle) & (angle < step.before)
        if not bool(passing.any()):
            return
        long = like(step.after - step.before, step.z)
        u = like((angle - step.before) / (step.after - step.before), step.z)
        rise, here = step.z - step.z_before, passing.reshape(-1, 1, 1, 1)
        bow, tilt = long * step.v_before - rise, rise - long * step.v
        z = step.z_before + u * (rise + (1 - u) * ((1 - u) * bow + u * tilt))
        slope = rise + (1 - 2 * u) * ((1 - u) * bow + u * tilt) + u * (1 - u) * (tilt - bow)
        self.z = torch.where(here, z, self.z)
        image = math.cos(angle) * z - math.sin(angle) * slope / long
        self.x0 = torch.where(here, image, self.x0)
        self._passed |= passing
