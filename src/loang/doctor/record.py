"""What log.jsonl tells of a run: losses, speed, and what went wrong on the way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from jaxtyping import Float64

from loang.config import Settings
from loang.doctor.finding import Finding, Part
from loang.errors import LoangError
from loang.evaluation.words import number, percent
from loang.training.budget import parse, twice

LAST = 0.3  # the share of a run in which a loss that still falls says "longer"
FEWEST = 12  # losses of which a slope is taken
CERTAIN = 3.0
FALLING = 0.03  # of the loss, that it has to fall in that share
RISING = 1.01  # validation loss at the end, to the best
SLOWER = 0.7


@dataclass(frozen=True)
class Slope:
    """How a loss changes over the last part of a run.

    Args:
        change: over that part, as a share of the loss there; below 0 where it falls.
        error: standard error of that.
    """

    change: float
    error: float


def series(
    records: Sequence[Mapping[str, Any]], key: str
) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """Images seen and the value of `key`, wherever a record has both as finite numbers."""
    pairs = [
        (float(r["images"]), float(r[key]))
        for r in records
        if _is_number(r.get("images")) and _is_number(r.get(key))
    ]
    points = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    return points[:, 0], points[:, 1]


def _is_number(value: Any) -> bool:
    # A log may come from anybody: true is no number, and an integer may be too long for a float.
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 1e300 and isfinite(value)


def final_slope(
    images: Float64[np.ndarray, " n"], losses: Float64[np.ndarray, " n"]
) -> Slope | None:
    """A straight line through the losses of the last 30 % of the images; None for too few."""
    if not len(images):
        return None
    last = images >= (1 - LAST) * images[-1]
    x, y = images[last], losses[last]
    if len(x) < FEWEST or x[-1] <= x[0] or y.mean() <= 0:
        return None
    x = (x - x.mean()) / (x[-1] - x[0])  # so a slope is the change over this part
    slope = float(x @ (y - y.mean()) / (x @ x))
    left = y - y.mean() - slope * x
    error = float(np.sqrt(left @ left / (len(x) - 2) / (x @ x)))
    return Slope(slope / float(y.mean()), error / float(y.mean()))


def examine(
    records: Sequence[Mapping[str, Any]],
    settings: Settings,
    images_seen: int = 0,
    train: int = 0,
    finished: bool | None = None,
) -> Part:
    """What the log says.

    Args:
        records: the lines of log.jsonl.
        settings: of the run.
        images_seen: in training; 0 takes the log's last.
        train: how many images there are to learn from; 0 where that is not known.
        finished: whether the budget was used up; None believes the log.
    """
    seen = series(records, "images")[0]
    images = images_seen or (int(seen[-1]) if len(seen) else 0)
    facts: dict[str, Any] = {"images": images, "epochs": images / train if train else None}
    findings = [*_mishaps(records, facts), *_end(records, settings, facts, finished, train)]
    findings += [*_validation(records, facts), *_speed(records, facts)]
    findings += [*_epochs(images, train)]
    if records and not findings:
        findings.append(Finding("good", "log", "Nothing went wrong in the run's log."))
    return Part(tuple(findings), facts)


def _mishaps(records: Sequence[Mapping[str, Any]], facts: dict[str, Any]) -> list[Finding]:
    skipped = int(series(records, "skipped")[1].sum())
    events = [record.get("event") for record in records]
    returns, spikes, unsaved = (events.count(e) for e in ("return", "spike", "not saved"))
    facts.update(skipped=skipped, returns=returns, spikes=spikes, not_saved=unsaved)
    found = []
    slower = "Lower the learning rate, or set optimizer.clip_norm=1."
    if returns:
        what = f"{_times(returns)} the run went back to a checkpoint, as its loss was no number."
        found.append(Finding("warning", "mishaps", what, slower))
    if skipped:
        what = f"{skipped:,} updates were skipped, as loss or gradient was no number."
        found.append(Finding("warning", "mishaps", what, slower))
    if spikes:
        what = f"{_times(spikes)} the loss jumped to three times what was usual, or more."
        verdict = "warning" if spikes > 2 else "note"
        found.append(Finding(verdict, "mishaps", what, slower))  # type: ignore[arg-type]
    if unsaved:
        what = f"{_times(unsaved)} a checkpoint could not be saved."
        found.append(Finding("warning", "mishaps", what, "Free some space on its disk."))
    _, gradients = series(records, "gradient")
    if len(gradients):
        facts["largest_gradient"] = float(gradients.max())
    return found


def _used(records: Sequence[Mapping[str, Any]], settings: Settings, train: int) -> float:
    """The share of the budget that was used by the last line of the log; 1 if it can't be told."""
    images, seconds = (series(records, key)[1] for key in ("images", "seconds"))
    try:
        budget = parse(settings.training.budget, train)
    except LoangError:  # of settings that somebody has edited
        return 1.0
    if not len(images) or not len(seconds) or (budget.epochs is not None and not train):
        return 1.0
    return budget.share(int(images[-1]), float(seconds[-1]))


def _for_longer(settings: Settings) -> str:
    """What to do about a run that was too short."""
    said = f"Train for longer than {settings.training.budget}: twice as long is a good start"
    if settings.distilled:  # it keeps its length
        return f"{said}."
    try:
        return f"{said}, as by loang train --resume --out RUN {twice(settings.training.budget)}."
    except LoangError:  # of settings that somebody has edited
        return f"{said}."


def _end(
    records: Sequence[Mapping[str, Any]],
    settings: Settings,
    facts: dict[str, Any],
    finished: bool | None,
    train: int,
) -> list[Finding]:
    shares, rates = series(records, "share")[1], series(records, "learning_rate")[1]
    slope = final_slope(*series(records, "loss"))
    share = float(shares[-1]) if len(shares) else None
    if finished is False and share is not None:  # it was over, and is to go on for longer
        share = min(share, _used(records, settings, train))
    if finished:  # the last report can use up what was left when the log's last line was written
        share = 1.0
    facts["share_of_budget"] = share
    facts["last_learning_rate"] = float(rates[-1]) if len(rates) else None
    if slope is not None:
        facts["final_slope"] = {"change": slope.change, "error": slope.error, "over": LAST}
    found = []
    if share is not None and share < 1:
        what = f"The run is not over: {percent(share)} of its budget is used"
        if settings.optimizer.decay_from < 1:
            what += ", and the learning rate has yet to fall to 0, which is worth a lot"
        found.append(Finding("note", "unfinished", f"{what}.", "Go on with --resume --out RUN."))
    falls = slope is not None and slope.change < -max(FALLING, CERTAIN * slope.error)
    if falls and slope is not None and (share is None or share >= 1):
        found.append(
            Finding(
                "note",
                "too short",
                f"The loss was still falling at the end: by {percent(-slope.change)} ±"
                f" {percent(slope.error)} over the last {LAST:.0%} of the run.",
                _for_longer(settings),
            )
        )
    return found


def _validation(records: Sequence[Mapping[str, Any]], facts: dict[str, Any]) -> list[Finding]:
    images, losses = series(records, "validation_loss_ema")
    if len(losses) < 3:
        return []
    best = int(losses.argmin())
    facts.update(last_validation_loss=float(losses[-1]), best_validation_loss=float(losses[best]))
    if losses[-1] < RISING * losses[best]:
        return []
    return [
        Finding(
            "warning",
            "by heart",
            f"The validation loss was lowest at {images[best]:,.0f} images ({number(losses[best])})"
            f" and has risen since, to {number(losses[-1])}: it learns images by heart.",
            "Train for less long, use more images, or vary them (data.flips=true); the best"
            " checkpoint is kept in checkpoints/.",
        )
    ]


def _speed(records: Sequence[Mapping[str, Any]], facts: dict[str, Any]) -> list[Finding]:
    rates = series(records, "images_per_second")[1][1:]  # the first pays for the start
    if len(rates) < FEWEST:
        return []
    quarter = len(rates) // 4
    early, late = float(np.median(rates[: 2 * quarter])), float(np.median(rates[-quarter:]))
    facts.update(images_per_second=early, last_images_per_second=late)
    if late >= SLOWER * early:
        return []
    what = f"Training slowed down, from {early:,.0f} images a second to {late:,.0f}."
    return [
        Finding("note", "speed", what, "See what else runs on the machine, and its temperature.")
    ]


def _epochs(images: int, train: int) -> list[Finding]:
    if not train or not images or images >= train:
        return []
    what = f"It has seen {images:,} images, {percent(images / train)} of the {train:,} there are."
    return [Finding("note", "too short", what, "Train longer: one epoch is little already.")]


def _times(count: int) -> str:
    return "Once" if count == 1 else f"{count:,} times"
