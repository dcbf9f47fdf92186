"""The verbs, as Python functions: what the command line calls, and you may."""

from loang.api.measuring import compare, default_model, doctor, evaluate, load, newest_model
from loang.api.speed import Speed, bench_drawing, bench_training
from loang.api.training import average, distill, plan, start, train

__all__ = [
    "Speed",
    "average",
    "bench_drawing",
    "bench_training",
    "compare",
    "default_model",
    "distill",
    "doctor",
    "evaluate",
    "load",
    "newest_model",
    "plan",
    "start",
    "train",
]
