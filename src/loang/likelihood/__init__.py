"""How probable a model thinks images are: bits per value, by a bound and by the flow."""

from loang.likelihood.bound import Terms, bound
from loang.likelihood.flow import Flow, flow
from loang.likelihood.looks import Look, drawn, every

__all__ = ["Flow", "Look", "Terms", "bound", "drawn", "every", "flow"]
