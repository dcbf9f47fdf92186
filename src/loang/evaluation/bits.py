"""Bits per value: their table, and how they were measured."""

from collections.abc import Iterator

from loang.evaluation.table import Cell
from loang.evaluation.words import KNOWN, measured
from loang.likelihood import Likelihood, Score
from loang.metrics.estimate import NORMAL_95

HEADS = ["bits per value ↓", "all", "made of", "images", "evaluations an image"]
WAYS = {
    "fixed-small": "steps of the smaller fixed variance",
    "fixed-large": "steps of the larger fixed variance",
    "learned": "steps of the learnt variance",
    "estimate": "the last step from the network's image",
    "noisy image": "the last step from x_t alone",
}
DEQUANTISED = {
    "process": " The process's own noise of the first time stands for what lies between two levels:"
    " the number is a bound too, and no density of clean images.",
    "uniform": " Noise that is uniform over a level's width takes values off their levels at the"
    " first time: the number is a bound too.",
    None: "",
}


def rows(found: Likelihood) -> list[list[str]]:
    """The table: by the bound, by the flow, and what needs no model."""
    lines = []
    for title, score in (("variational bound", found.bound), ("probability flow", found.flow)):
        if score is not None:
            lines.append([title, *_cells(score)])
    lines += [[KNOWN[name], f"{bits:.3f}", "", "", ""] for name, bits in found.baselines.items()]
    return lines


def _cells(score: Score) -> list[str]:
    made_of = " + ".join(f"{bits:.3f} {name}" for name, bits in score.shares.items())
    count = f"{len(score.images):,}"
    return [measured(Cell(score.bits)), made_of, count, f"{score.evaluations:,}"]


def notes(found: Likelihood) -> Iterator[str]:
    """How it was measured, and what to know of it."""
    about, score = found.about, found.bound
    if score is not None:
        looks = f"looks at {score.evaluations - 1} times an image"
        looked = "is the sum over all steps" if about["all_steps"] else looks
        others = [
            f"{WAYS[way]}: {measured(Cell(bits))}"
            for way, bits in found.ways.items()
            if way != score.way
        ]
        clipped = "clipped, as it is sampled" if about["clipped"] else "not clipped"
        yield (
            f"The bound {looked}, and is of {WAYS[score.way]}"
            f" ({'; '.join(others)}); estimates of the image are {clipped}."
        )
    if found.flow is not None:
        trace = (
            "the exact trace"
            if about["probes"] is None
            else f"Hutchinson's trace of {about['probes']} random direction"
            f"{'s' * (about['probes'] != 1)}"
        )
        yield (
            f"The flow is followed from the schedule's first time to its last, by {trace}, with an"
            f" error of {about['tolerance']:g} a step; estimates are never clipped on it."
            f"{DEQUANTISED[about['dequantisation']]}"
        )
    if found.gap is not None and found.gap.error is not None:
        apart = abs(found.gap.value) > NORMAL_95 * found.gap.error
        yield (
            f"On the same images the bound less the flow is {measured(Cell(found.gap))}:"
            f" {'more than' if apart else 'no more than'} chance explains."
        )
    if found.baselines and "pixel histogram" not in found.baselines:
        yield "Each pixel's own histogram is left out: all pixels have too many levels to count."
    if about["beyond_the_range"] > 0:
        yield (
            f"{about['beyond_the_range']:.2%} of the values lie beyond the model's range, and count"
            " as its ends."
        )
    yield f"Computed on {about['computed_on']} in {about['seconds']:,.0f} s."
