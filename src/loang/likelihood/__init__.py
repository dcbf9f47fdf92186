"""How probable a model thinks images are: bits per value, by a bound and by the flow."""

from loang.likelihood.bound import Terms, bound
from loang.likelihood.flow import Flow, flow
from loang.likelihood.looks import Look, drawn, every
from loang.likelihood.measure import Effort, measure
from loang.likelihood.result import Likelihood, Score
from loang.likelihood.subject import check

__all__ = [
    "Effort",
    "Flow",
    "Likelihood",
    "Look",
    "Score",
    "Terms",
    "bound",
    "check",
    "drawn",
    "every",
    "flow",
    "measure",
]
