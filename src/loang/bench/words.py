"""A measurement as lines for people, and as plain values for JSON."""

import platform
from dataclasses import asdict
from datetime import date
from typing import Any

import torch

import loang
from loang import files
from loang.bench.drawing import DrawingSpeed
from loang.bench.training import TrainingSpeed
from loang.bench.work import Operation


def of_training(speed: TrainingSpeed) -> list[str]:
    """A fact a line."""
    step = speed.step
    parts = (
        (speed.images, "to the images"),
        (speed.gradients - speed.images, "to the network"),
        (step.median - speed.gradients, "to the optimizer and the average"),
    )
    return [
        speed.machine,
        f"{speed.rate:.4g} images a second: {1e3 * step.median:.4g} ms a step of {speed.batch}"
        f" ({1e3 * step.least:.4g} to {1e3 * step.most:.4g} in {step.runs})",
        "  of it "
        + ", ".join(f"{max(0.0, part / step.median):.0%} {what}" for part, what in parts),
        *_work(speed, "image"),
        *_slowest(speed.operations),
    ]


def of_drawing(speed: DrawingSpeed) -> list[str]:
    """A fact a line."""
    rates = ", ".join(f"{rate:.4g} by {batch}" for batch, rate in speed.rates.items())
    return [
        speed.machine,
        f"{speed.way}: images a second, drawn at once: {rates}",
        f"the network alone: {1 / speed.evaluation:.4g} evaluations a second, by {speed.best}",
        *_work(speed, "evaluation"),
        *_slowest(speed.operations),
    ]


def values(speed: TrainingSpeed | DrawingSpeed, advice: list[str]) -> dict[str, Any]:
    """All of it for JSON, with versions and the day."""
    found = asdict(speed)
    if isinstance(speed, TrainingSpeed):
        found["images_per_second"] = speed.rate
    return found | {
        "flops_per_second": speed.achieved,
        "share_of_convolution_peak": speed.achieved / speed.peak.convolution,
        "share_of_product_peak": speed.achieved / speed.peak.product,
        "advice": advice,
        "loang": loang.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "date": date.today().isoformat(),
    }


def _work(speed: TrainingSpeed | DrawingSpeed, what: str) -> list[str]:
    peak = speed.peak
    return [
        f"{amount(speed.flops)}FLOP an {what}, {amount(speed.achieved)}FLOP/s:"
        f" {speed.achieved / peak.convolution:.0%} of what a large convolution reaches here"
        f" ({amount(peak.convolution)}FLOP/s), {speed.achieved / peak.product:.0%} of a matrix"
        f" product ({amount(peak.product)}FLOP/s)",
        f"{files.amount(speed.memory)} of memory",
    ]


def _slowest(operations: list[Operation]) -> list[str]:
    said = ", ".join(f"{each.name} {each.share:.0%}" for each in operations)
    return [f"the slowest operations: {said}"]


def amount(number: float) -> str:
    """`1.23 G`, three digits and a prefix."""
    for factor, prefix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= factor:
            return f"{number / factor:.3g} {prefix}"
    return f"{number:.3g} "
