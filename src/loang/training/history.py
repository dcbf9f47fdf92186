"""What the settings of a run don't tell: the lengths that it had before, the model it began as."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from loang import files
from loang.errors import LoangError
from loang.training.budget import duration, learning_rate, parse
from loang.training.progress import Progress

if TYPE_CHECKING:
    from loang.training.run import Run

LENGTHS, STARTED_FROM = "lengths", "started_from"
"""Their keys in config.json (a list of words; words), and among a model's facts (words)."""


def started_from(about: Mapping[str, Any]) -> dict[str, str]:
    """The fact of the model that a run began as; nothing, where its weights were fresh.

    Args:
        about: what config.json notes; it may come from anybody.
    """
    noted = about.get(STARTED_FROM)
    return {STARTED_FROM: noted} if isinstance(noted, str) else {}


def taken_up(run: "Run", before: str, about: Mapping[str, Any]) -> list[str]:
    """What config.json should note of lengths, now that a run has been restored.

    Where its length is another than it was, the run's notes tell what follows; and if it was over,
    the model that it ended with is kept beside the one that is to be.

    Args:
        run: restored, with its length of now.
        before: its length until now, as `settings.training.budget`.
        about: what config.json notes; it may come from anybody.

    Raises:
        LoangError: the new length is used up already.
    """
    noted = about.get(LENGTHS)
    lengths = [str(each) for each in noted] if isinstance(noted, list) else []
    progress, plan = run.trainer.progress, run.plan
    old, new = parse(before, len(plan.dataset.train)), plan.budget
    if old != new and progress.step:
        if run.ledger.finished and lengths[-1:] == [_of(plan.settings.training.budget, progress)]:
            lengths.pop()  # it was to go on for longer, did not, and is not to any more
        elif run.share >= 1:
            used = f"{progress.images:,} images"
            if new.seconds is not None:
                used = duration(progress.seconds)
            raise LoangError(
                f"This run has learned for {used} already, and was asked for {new} in all.",
                "Ask for more: the length of a run counts what it has used.",
            )
        else:
            chosen = plan.settings.optimizer
            rate = progress.slowing * learning_rate(chosen, progress.step, run.share)
            run.notes.append(
                f"In all the run is to learn for {new}, no more for {old}: {run.share:.0%} of that"
                f" is used, and the learning rate goes on at {rate:.2g}."
            )
            run.notes += _kept(run)
            lengths.append(_of(before, progress))
    if run.ledger.finished and run.share >= 1:
        longer = " To learn for longer say how long in all, as in --for 1h; it goes on from here."
        run.notes.append(f"Training is over.{'' if plan.settings.distilled else longer}")
    if lengths:
        now = f"{plan.settings.training.budget} in all"
        run.reporter.history[LENGTHS] = ", then ".join([*lengths, now])
    return lengths


def _of(budget: str, progress: Progress) -> str:
    """A length that was another one from so many images on."""
    return f"{budget} (up to {progress.images:,} images)"


def _kept(run: "Run") -> list[str]:
    """Keep the model of a run that was over, or had got further than it goes on from; says where.

    A model that can't be read is none that could be lost.
    """
    from loang.model import Model

    try:
        images = Model.load(run.folder.model, on="cpu").facts.get("images", 0)
    except LoangError:
        return []
    kept = run.folder.kept_model(images)
    if not run.ledger.finished and images <= run.trainer.progress.images:
        return []
    if not kept.exists():
        with files.replacing(kept) as beside:
            beside.write_bytes(run.folder.model.read_bytes())
    return [f"The model of before stays as {files.shown(kept)}."]
