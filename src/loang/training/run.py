"""A run from start to end: steps, measurements, reports and checkpoints, and what goes wrong."""

import signal
from collections.abc import Mapping

from torch import Tensor

from loang import device, files, heap
from loang.errors import LoangError
from loang.lock import Lock, holder
from loang.model import Model
from loang.team.lost import Lost
from loang.training import checkpoint
from loang.training.beginning import beginning, require_seeded
from loang.training.budget import Clock, Marks, duration, learning_rate
from loang.training.display import Display, Measurement
from loang.training.examination import diagnosis
from loang.training.folder import RunFolder
from loang.training.following import dismiss, hand_out
from loang.training.interruption import Interrupted, Interruption
from loang.training.keeper import Keeper
from loang.training.ledger import Ledger
from loang.training.memory import images_that_fit
from loang.training.plan import Plan
from loang.training.reporter import Reporter
from loang.training.slowdown import Slowdown
from loang.training.trainer import Trainer
from loang.training.watch import LOOK, PATIENCE, Watch

MEASUREMENTS, MEASUREMENT_SECONDS = 200, 10.0  # lines of log.jsonl, evenly; more in a long run
OVER = "training is over, and checkpoint and model file are written."
RETURNS = 3  # to a checkpoint, after which a run that goes wrong again is given up


class Run:
    """One run in one folder.

    Args:
        plan: what to train.
        folder: where; already claimed by `RunFolder.start`, or holding the run to go on with.
        lock: the right to write there; given back at the end of `train`.
    """

    def __init__(self, plan: Plan, folder: RunFolder, lock: Lock) -> None:
        self.plan = plan
        self.team = plan.team
        self.folder = folder
        self.lock = lock
        self.notes = plan.describe()
        self.trainer = Trainer(
            plan.denoiser, plan.dataset.train, plan.settings, plan.device, plan.team
        )
        self.ledger = Ledger()
        self.watch, self.slowdown = Watch(), Slowdown()
        self.seeded = True
        """Whether the first weights are those that the seed gives, and not another model's."""
        self.reporter = Reporter(plan, folder)
        self.keeper = Keeper(plan, folder, self.reporter)
        self.rate = 1.0

    @property
    def display(self) -> Display:
        """Told of everything that happens."""
        return self.reporter.display

    @property
    def share(self) -> float:
        """How much of the budget is used."""
        progress = self.trainer.progress
        return self.plan.budget.share(progress.images, progress.seconds)

    def restore(self) -> None:
        """Go on from the newest whole checkpoint; from the start, where none was ever written.

        Raises:
            LoangError: none is whole, or it is of another network or of other images.
        """
        if self.lock.broken:
            self.notes.append(f"The last session ended without a word: {holder(self.lock.broken)}.")
        with files.writing(self.folder.checkpoints):
            checkpoint.tidy(self.folder.checkpoints)
        if not self.keeper.has_any:
            if self.folder.model.exists():
                raise LoangError(
                    f"The checkpoints of {self.folder.path} are gone; only its model is left.",
                    "Put them back, or start anew with --overwrite, which replaces the model.",
                )
            require_seeded(self.seeded, self.folder)
            self.keeper.forget_later(self.trainer)
            self.notes.append("No checkpoint was written yet: training starts anew.")
            return
        self.ledger, warnings = self.keeper.take_up(self.trainer)
        progress = self.trainer.progress
        self.notes += [
            *warnings,
            f"Going on from step {progress.step:,}: {progress.images:,} images,"
            f" {duration(progress.seconds)} and {self.share:.0%} of {self.plan.budget} used;"
            " weights, average, optimizer and position in the data are restored.",
        ]

    @heap.kept()
    def train(self, display: Display) -> Model:
        """Use up the budget; returns the model.

        Args:
            display: told of everything that happens.

        Raises:
            Interrupted: by a signal, after a checkpoint was written.
            LoangError: training went wrong again and again; or what was learnt can't be written.
        """
        self.reporter.display = display
        try:
            with display, self.reporter.tracked(Interrupted, KeyboardInterrupt):
                for note in self.notes:
                    display.say(note)
                if self.plan.device.type == "cpu" and not self.trainer.weights.sharded:
                    free = device.memory_free() // self.team.place.local_size
                    self._fit_memory(images_that_fit(self.trainer, free))
                hand_out(self.trainer)
                try:
                    model = self._train()
                except Lost as lost:
                    raise self._kept_of(lost) from lost
                dismiss(self.team, model)
                return model
        except Exception:
            self.keeper.saver.wait()  # what was being saved is worth the wait
            self.team.dismiss()
            raise
        except KeyboardInterrupt:
            self.team.dismiss(0.0)
            raise
        finally:
            self.keeper.saver.after(self.lock.release)

    def _train(self) -> Model:
        with Interruption() as interruption:
            self._loop(interruption)
            if interruption.signal is not None:
                self.display.say("Stopping, and writing a checkpoint ...")
                self._save()
                raise Interrupted(interruption.signal, self.folder.path, self.keeper.what_is_kept())
            if self.ledger.finished:
                self.reporter.recall(self.trainer)
            else:
                if self.plan.settings.ema.snapshots:
                    self.keeper.snapshot(self.trainer)
                self.reporter.over = True
                self._report()
                self.ledger.finished = True
                self._save()
                self.keeper.require_saved()
            if interruption.signal is not None:
                raise Interrupted(interruption.signal, self.folder.path, OVER)
        with Interruption(at_once=True) as interruption:
            try:
                self.reporter.choose(self.trainer, self.ledger, self.keeper.snapshots)
                self.reporter.choose_scale(self.trainer, self.ledger)
                self.display.say("Drawing samples, and the walk that leads to them ...")
                self.reporter.finish(self.trainer, self.ledger)
                return Model.load(self.folder.model, on=self.plan.device)
            except KeyboardInterrupt:
                number = interruption.signal or signal.SIGINT
                raise Interrupted(number, self.folder.path, OVER) from None

    def take(self, weights: Mapping[str, Tensor]) -> None:
        """Start from weights that come from elsewhere; the first checkpoint holds them.

        Raises:
            LoangError: that can't be written.
        """
        self.seeded = False
        self.trainer.restore(beginning(self.plan, weights))
        self.keeper.save_first(self.trainer, self.ledger)

    def _kept_of(self, lost: Lost) -> LoangError:
        """What is said of a run that has lost a process, whose last whole step is saved.

        But where each process holds a part of the weights: a part of them is lost with it.
        """
        if self.trainer.weights.sharded:
            self.keeper.saver.wait()
            kept = self.keeper.last_whole()
        else:
            self._save()
            kept = self.keeper.what_is_kept()
        return LoangError(
            f"{lost.problem} {kept[0].upper()}{kept[1:]}",
            "Go on, with as many processes as you like, by: loang train --resume --out"
            f" {files.shown(self.folder.path)}",
        )

    def _loop(self, interruption: Interruption) -> None:
        if self.share < 1:
            self.ledger.finished = False  # it may have been over, and is to go on for longer
        progress, settings = self.trainer.progress, self.plan.settings
        reports, measurements, snapshots = self._marks()
        clock = Clock(progress.seconds)
        saved = since = clock.read()
        images = progress.images
        while self.share < 1 and interruption.signal is None:
            self._step()
            progress = self.trainer.progress
            now = progress.seconds = clock.read()
            if (progress.step % LOOK == 0 or self.share >= 1) and self._look():
                progress = self.trainer.progress
                reports, measurements, snapshots = self._marks()
                progress.seconds = since = clock.read()
                images = progress.images
                continue
            if snapshots.passed(self.share) and settings.ema.snapshots:
                self.keeper.snapshot(self.trainer)
            report = reports.passed(self.share)
            if measurements.passed(self.share) or report or now - since > MEASUREMENT_SECONDS:
                self._measure(progress.images - images, now - since)
                save = now - saved > 60 * settings.training.checkpoint_minutes
                if self.share < 1 and (report or save):
                    if report:
                        self._report()
                    # What goes wrong just now is no place to go back to.
                    if not self.watch.in_a_row:
                        self._save()
                        saved = clock.read()
                # What is no training uses up the budget too, but does not slow the rate.
                since = progress.seconds = clock.read()
                images = progress.images
        if progress.images > images:
            self._measure(progress.images - images, progress.seconds - since)

    def _marks(self) -> tuple[Marks, Marks, Marks]:
        """Of reports, of measurements and of snapshots, from where the run stands."""
        epochs = self.plan.budget.epochs
        reports = round(epochs) if epochs else self.plan.settings.training.reports
        counts = reports, MEASUREMENTS, self.plan.settings.ema.snapshots
        one, other, third = (Marks(count, self.share) for count in counts)
        return one, other, third

    def _step(self) -> None:
        """One step, whose numbers are watched; what a save has failed at meanwhile is told."""
        at_once = self.trainer.micro_batch
        self.watch.add(self.trainer.progress.step + 1, self.trainer.step(self.share))
        if self.trainer.micro_batch < at_once:
            self._tell_fewer(at_once)
        self.keeper.tell_failures(self.trainer)

    def _fit_memory(self, images: int) -> None:
        """Compute so many images at once, if that is fewer than now."""
        at_once = self.trainer.micro_batch
        if images < at_once:
            self.trainer.micro_batch = images
            self._tell_fewer(at_once)

    def _tell_fewer(self, before: int) -> None:
        self.display.say(
            f"Memory is too small for {before:,} images at once: going on with"
            f" {self.trainer.micro_batch:,}, whose gradients are added up to the same batch of"
            f" {self.plan.settings.training.batch:,}. Its last digits may differ from those of"
            " more images at once."
        )

    def _look(self) -> bool:
        """Look at the last steps; whether the run went back to a checkpoint because of them."""
        self._count_skipped()
        if spike := self.watch.spike():
            self.display.say(
                f"Warning: the loss has jumped from {spike.before:.4f} to {spike.after:.4f} around"
                f" step {self.trainer.progress.step:,}."
            )
            self.reporter.record(
                self.trainer, event="spike", before=spike.before, after=spike.after
            )
        if self.watch.in_a_row < PATIENCE:
            return False
        if self.trainer.progress.returns >= RETURNS:
            raise diagnosis(self.trainer, self.watch, RETURNS)
        self._return()
        return True

    def _count_skipped(self) -> None:
        """Tell and log the updates that were skipped since the last call."""
        progress = self.trainer.progress
        if skipped := self.watch.take_skipped():
            progress.skipped += skipped
            updates = f"{skipped:,} update{'s were' if skipped > 1 else ' was'} skipped"
            self.display.say(
                f"Warning: {updates} up to step {progress.step:,}, as loss or gradient was no"
                f" number: {progress.skipped:,} in all."
            )
            self.reporter.record(self.trainer, skipped=skipped)

    def _return(self) -> None:
        """Go back to the last whole checkpoint, or to the start, with half the learning rate."""
        failed, since = self.trainer.progress, self.watch.since
        self.watch = Watch()
        if self.keeper.has_any:
            self.ledger, warnings = self.keeper.take_up(self.trainer)
            for warning in warnings:
                self.display.say(warning)
        else:
            require_seeded(self.seeded, self.folder)
            self.trainer.restore(beginning(self.plan))
            self.ledger = Ledger()
            self.keeper.forget_later(self.trainer)
        progress = self.trainer.progress
        progress.seconds = failed.seconds
        progress.skipped, progress.returns = failed.skipped, failed.returns + 1
        hand_out(self.trainer)
        rate = self.plan.settings.optimizer.learning_rate * progress.slowing
        self.display.say(
            f"Warning: from step {since:,} on, loss or gradient is no number. Going back to step"
            f" {progress.step:,} with a learning rate of {rate:g}: return {progress.returns} of"
            f" {RETURNS}."
        )
        self.reporter.record(self.trainer, event="return", failed=since, learning_rate=rate)

    def _measure(self, images: int, seconds: float) -> None:
        """Show and log the steps since the last measurement: so many images, in so long."""
        trainer, budget = self.trainer, self.plan.budget
        losses = self.watch.take_losses()
        self.ledger.loss_sum += sum(losses)
        self.ledger.loss_count += len(losses)
        loss = sum(losses) / len(losses) if losses else None
        self.rate = images / max(seconds, 1e-9)
        if self.slowdown.note(self.rate, seconds):
            self.display.say(self.slowdown.sentence(self.rate, trainer.device, self.folder))
        if budget.seconds is not None:
            left = max(budget.seconds - trainer.progress.seconds, 0.0)
        else:
            left = max((budget.images or 0) - trainer.progress.images, 0) / self.rate
        memory = device.memory_used(trainer.device)
        self.display.measure(Measurement(self.share, loss, self.rate, left, memory))
        rate = learning_rate(self.plan.settings.optimizer, trainer.progress.step - 1, self.share)
        self.reporter.record(
            trainer,
            share=self.share,
            loss=loss,
            learning_rate=rate * trainer.progress.slowing,
            images_per_second=round(self.rate, 1),
            memory=memory,
        )

    def _report(self) -> None:
        self.reporter.report(self.trainer, self.ledger, self.share, self.rate)

    def _save(self) -> None:
        self._count_skipped()
        self.keeper.save(self.trainer, self.ledger)
