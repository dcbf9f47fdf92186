"""The average of the weights: how far back it reaches, and whether it is better than the last."""

import math
from collections.abc import Mapping
from typing import Any

from loang.config import EmaSettings
from loang.doctor.finding import Finding, Part
from loang.doctor.levels import Compared, Levels, compared
from loang.evaluation.words import percent
from loang.training.ema import power_exponent
from loang.training.profiles import LONGEST

START = 0.1  # the share of the run whose weights know little yet
HEAVY = 0.02  # of the average, on these, that harms
NEVER = 2**63
SHORTEST = 1e-4  # length of an average; below it the exponent grows beyond what can be computed
LAGGING, HARMFUL = 1.01, 1.05  # its error to that of the last weights: worth a word, and a warning


def of_model(settings: EmaSettings, facts: Mapping[str, Any]) -> EmaSettings:
    """The average that a model has: the run's, or that of a length chosen after training."""
    length = facts.get("average_length")
    if not isinstance(length, float) or not 0 < length < LONGEST:
        return settings
    return settings.model_copy(update={"kind": "power", "length": length})


def weight_before(average: EmaSettings, step: int, steps: int) -> float:
    """The share of the average after `steps` steps that lies on the first `step` of them.

    It is the product of the average's factors over all later steps (training/ema.py); both kinds
    telescope. The fresh weights count as part of the first step.
    """
    if steps <= 0 or step >= steps:
        return 1.0
    if average.kind == "power":
        return float((step / steps) ** (power_exponent(max(average.length, SHORTEST)) + 1))
    ramp = min(steps, max(step, ramp_steps(average.decay)))
    share = math.prod((step + k) / (ramp + k) for k in range(2, 11))
    return float(share * average.decay ** (steps - ramp))


def ramp_steps(decay: float) -> int:
    """The step up to which (1 + step) / (10 + step) is below the decay, which it then replaces."""
    return NEVER if decay >= 1 else max(0, math.floor((10 * decay - 1) / (1 - decay)))


def half(average: EmaSettings, steps: int) -> int:
    """How many of the last steps hold half of the average's weight."""
    low, high = 0, steps
    while low < high:
        middle = (low + high) // 2
        if weight_before(average, middle, steps) < 0.5:
            low = middle + 1
        else:
            high = middle
    return max(1, steps - low)


def averaged_to_raw(levels: Levels) -> Compared | None:
    """The held-out error of averaged weights to that of the last, over all levels alike."""
    if "raw" not in levels.errors:
        return None
    one, other = levels.errors["network"], levels.errors["raw"]
    units = other.mean(1, keepdims=True).clip(1e-12)
    return compared((one / units).mean(0), (other / units).mean(0))


def examine(average: EmaSettings, steps: int, levels: Levels | None) -> Part:
    """How far the average reaches back, and which weights are better now.

    Args:
        average: its settings.
        steps: of training so far.
        levels: errors by noise level; None where they were not measured.
    """
    if not steps:
        return Part()
    start = weight_before(average, max(1, round(START * steps)), steps)
    recent = half(average, steps)
    reach = (
        f"half of the average's weight lies on the last {recent:,} of {steps:,} steps,"
        f" and {_share(start)} on the first tenth of them"
    )
    facts: dict[str, object] = {"half_steps": recent, "steps": steps, "share_of_first_tenth": start}
    findings = []
    shorter = "--set ema.kind=power --set ema.length=0.06 always keeps to the last part of a run"
    if start > HEAVY:
        findings.append(
            Finding(
                "warning",
                "average",
                f"The average of the weights reaches back too far: {reach}.",
                f"Train longer; {shorter}.",
            )
        )
    elif average.kind == "constant" and steps < ramp_steps(average.decay) < NEVER:
        findings.append(
            Finding(
                "note",
                "average",
                f"An average of factor {average.decay} is meant to reach back"
                f" {1 / (1 - average.decay):,.0f} steps, and needs"
                f" {ramp_steps(average.decay):,} to get there; after {steps:,} its ramp decides:"
                f" {reach}.",
                f"For runs as short as this, {shorter}.",
            )
        )
    better = None if levels is None else averaged_to_raw(levels)
    if better is not None:
        facts["averaged_to_raw"] = {"ratio": better.ratio, "error": better.error}
        findings.append(_better(better, reach))
    elif not findings:
        findings.append(
            Finding("good", "average", f"The average of the weights is recent: {reach}.")
        )
    return Part(tuple(findings), facts)


def _share(value: float) -> str:
    return percent(value) if value >= 1e-3 else "next to nothing"


def _better(better: Compared, reach: str) -> Finding:
    measured = f"{better} times that of the last step's"
    if better.higher and better.ratio > LAGGING:
        harm = "warning" if better.ratio > HARMFUL else "note"
        return Finding(
            harm,  # type: ignore[arg-type]
            "average",
            "The averaged weights, which are sampled, are worse than those of the last step: their"
            f" held-out error is {measured}; {reach}.",
            "Train longer, or average over less: a smaller ema.length, or a lower ema.decay.",
        )
    word = "better than" if better.lower and better.ratio < 0.99 else "as good as"
    return Finding(
        "good",
        "average",
        f"The averaged weights are {word} those of the last step: their held-out error is"
        f" {measured}; {reach}.",
    )
