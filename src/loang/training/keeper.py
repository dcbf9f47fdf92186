"""What a run keeps on the disk, and takes up again: checkpoints with all that they must know."""

import torch

from loang import device, files
from loang.build import weight_shapes
from loang.errors import LoangError
from loang.training import checkpoint
from loang.training.averages import Snapshots, held, size
from loang.training.checkpoint import Checkpoint
from loang.training.ema import MODEL_AVERAGE
from loang.training.folder import RunFolder, checkpoint_steps
from loang.training.inspection import UNKNOWN_IMAGES
from loang.training.ledger import Ledger
from loang.training.plan import Plan
from loang.training.reporter import Reporter
from loang.training.saver import Saver
from loang.training.trainer import Trainer


class Keeper:
    """Saves and restores a run.

    Args:
        plan: what is trained.
        folder: where.
        reporter: told of what can't be saved; its log is cut when a run goes back.
    """

    def __init__(self, plan: Plan, folder: RunFolder, reporter: Reporter) -> None:
        self.plan = plan
        self.folder = folder
        self.reporter = reporter
        self.saver = Saver(folder.checkpoints, plan.settings.training.keep)
        shapes = weight_shapes(plan.settings, plan.dataset.spec)
        self.snapshots = Snapshots(folder.averages, shapes)
        self._last_snapshot = 0

    @property
    def has_any(self) -> bool:
        """Whether there is a checkpoint, whole or not."""
        return bool(checkpoint_steps(self.folder.checkpoints))

    def save(self, trainer: Trainer, ledger: Ledger) -> None:
        """Begin to write a checkpoint and the model file."""
        self.saver.wait()
        self.tell_failures(trainer)
        facts = {
            "fingerprint": self.plan.dataset.fingerprint,
            "hardware": _hardware(trainer),
            **ledger.to_facts(),
        }
        model = self.reporter.model(trainer, ledger)
        self.saver.save(
            trainer.progress.step,
            trainer.checkpoint(facts),
            lambda weights: model.save(self.folder.model, weights),
            [ledger.best["step"]] if ledger.best else [],
        )

    def save_first(self, trainer: Trainer, ledger: Ledger) -> None:
        """Write a checkpoint of weights that come from elsewhere: no seed gives them again.

        Raises:
            LoangError: it can't be written.
        """
        self.save(trainer, ledger)
        self.saver.wait()
        if failures := self.saver.failures():
            raise failures[0]

    def snapshot(self, trainer: Trainer) -> None:
        """Begin to write the averages as they are now; once a step."""
        progress = trainer.progress
        if progress.step == self._last_snapshot:
            return
        self._last_snapshot = progress.step
        self.saver.wait()
        self.tell_failures(trainer)
        averages = trainer.averages
        whole = trainer.whole(file for file in averages if file != MODEL_AVERAGE)
        copies = held(averages, self.plan.settings.ema.snapshot_precision, whole)
        about = {"step": progress.step, "images": progress.images, "seconds": progress.seconds}
        self.saver.save_beside(size(copies), lambda: self.snapshots.write(copies, about))

    def forget_later(self, trainer: Trainer) -> None:
        """Remove what was logged, and the snapshots, of later steps than that of the trainer.

        Raises:
            LoangError: a snapshot can't be removed.
        """
        self.saver.wait()
        self.reporter.cut(trainer)
        self._last_snapshot = 0
        self.snapshots.cut(trainer.progress.step)

    def take_up(self, trainer: Trainer) -> tuple[Ledger, list[str]]:
        """Bring a trainer to the newest whole checkpoint.

        Returns:
            What the run knew of its losses then, and warnings: of damaged checkpoints, which are
            set aside, and of other hardware.

        Raises:
            LoangError: none is whole, or it is of another network or of other images.
        """
        self.saver.wait()
        found, step, wrong = checkpoint.load_newest(self.folder.checkpoints)
        checkpoint.set_aside(self.folder.checkpoints, above=step)
        facts = found.state.get("facts", {})
        if facts.get("fingerprint") not in (self.plan.dataset.fingerprint, UNKNOWN_IMAGES):
            raise LoangError(
                f"The images of {self.plan.dataset.name} are not those that this run learned from.",
                "Put the same images back, or start a new run with --out.",
            )
        self._restore(trainer, found, step)
        self.forget_later(trainer)
        warnings = [
            f"Warning: {problem} It is kept as {checkpoint.ASIDE}, and an older one is used."
            for problem in wrong
        ]
        before, now = facts.get("hardware"), _hardware(trainer)
        if before not in (None, now):
            warnings.append(
                f"Warning: so far this run computed on {before}, and now on {now}: it will not end"
                " bit for bit as one that never stopped."
            )
        return Ledger.from_facts(facts), warnings

    def tell_failures(self, trainer: Trainer) -> None:
        """Say what could not be saved since the last call."""
        goes_on = "" if self.reporter.over else " Training goes on."
        for failure in self.saver.failures():
            self.reporter.display.say(f"Warning: {failure.problem} {self.last_whole()}{goes_on}")
            self.reporter.record(trainer, event="not saved", why=failure.problem)

    def what_is_kept(self) -> str:
        """What the last save has left, in a sentence, when it is over."""
        self.saver.wait()
        if failures := self.saver.failures():
            return f"but not all is saved: {failures[0].problem} {self.last_whole()}"
        return "checkpoint and model file are written."

    def require_saved(self) -> None:
        """Wait for the last save.

        Raises:
            LoangError: it failed.
        """
        self.saver.wait()
        if failures := self.saver.failures():
            raise LoangError(
                f"Training is over, but not all is saved: {failures[0].problem}"
                f" {self.last_whole()}",
                "When that is mended, go on from there with: loang train --resume --out"
                f" {files.shown(self.folder.path)}",
            )

    def last_whole(self) -> str:
        """Which checkpoint is there, in a sentence."""
        steps = checkpoint_steps(self.folder.checkpoints)
        if not steps:
            return "There is no checkpoint."
        return f"The last whole checkpoint is that of step {steps[-1]:,}."

    def _restore(self, trainer: Trainer, found: Checkpoint, step: int) -> None:
        try:
            trainer.restore(found)
        except (RuntimeError, KeyError, TypeError, ValueError) as error:
            raise LoangError(
                f"The checkpoint of step {step:,} does not fit the settings in"
                f" {self.folder.config}: {str(error).partition(chr(10))[0]}",
                "Put the settings back as they were, or start a new run with --out.",
            ) from error


def _hardware(trainer: Trainer) -> str:
    return f"{device.describe(trainer.device, trainer.dtype)}, torch {torch.__version__}"
