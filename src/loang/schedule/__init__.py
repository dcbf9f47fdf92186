"""Noise schedules: how much of the image and how much noise there is at each time."""

from loang.schedule.base import Schedule, Times
from loang.schedule.continuous import Edm, Flow
from loang.schedule.discrete import Discrete, cosine, from_beta, linear, scaled_linear, sigmoid
from loang.schedule.spacing import SPACINGS, Spacing

__all__ = [
    "SPACINGS",
    "Discrete",
    "Edm",
    "Flow",
    "Schedule",
    "Spacing",
    "Times",
    "cosine",
    "from_beta",
    "linear",
    "scaled_linear",
    "sigmoid",
]
