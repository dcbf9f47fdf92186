"""A run from start to end: steps, measurements, reports and checkpoints, and what goes wrong."""

import signal
import time
from pathlib import Path
from typing import Any

import torch

from loang import device, files
from loang.build import build_denoiser
from loang.errors import LoangError
from loang.lock import Lock, holder
from loang.model import Model
from loang.training import checkpoint
from loang.training.budget import duration, learning_rate
from loang.training.checkpoint import Checkpoint
from loang.training.display import Display, Measurement
from loang.training.folder import RunFolder, checkpoint_steps
from loang.training.interruption import Interruption
from loang.training.ledger import Ledger
from loang.training.plan import Plan, images_that_fit
from loang.training.reporter import Reporter
from loang.training.saver import Saver
from loang.training.trainer import Trainer
from loang.training.watch import LOOK, PATIENCE, Watch

MEASUREMENTS = 200  # lines of log.jsonl, spread evenly over a run,
MEASUREMENT_SECONDS = 10.0  # and more where that is long
OVER = "training is over, and checkpoint and model file are written."
RETURNS = 3  # to a checkpoint, after which a run that goes wrong again is given up


class Interrupted(LoangError):
    """A signal ended the run.

    Args:
        number: of the signal.
        out: the run's folder.
        kept: the sentence that says what is saved.
    """

    def __init__(self, number: int, out: Path, kept: str) -> None:
        super().__init__(
            f"Stopped by {signal.Signals(number).name}; {kept}",
            f"Go on with: loang train --resume --out {files.shown(out)}",
        )
        self.number = number
        self.out = out
        self.kept = kept
        self.exit_status = 128 + number

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.number, self.out, self.kept)


class Run:
    """One run in one folder.

    Args:
        plan: what to train.
        folder: where; already claimed by `RunFolder.start`, or holding the run to go on with.
        lock: the right to write there; given back at the end of `train`.
    """

    def __init__(self, plan: Plan, folder: RunFolder, lock: Lock) -> None:
        self.plan = plan
        self.folder = folder
        self.lock = lock
        self.notes = plan.describe()
        self.trainer = Trainer(plan.denoiser, plan.dataset.train, plan.settings, plan.device)
        self.ledger = Ledger()
        self.watch = Watch()
        self.reporter = Reporter(plan, folder)
        self.saver = Saver(folder.checkpoints, plan.settings.training.keep)
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
        if not checkpoint_steps(self.folder.checkpoints):
            if self.folder.model.exists():
                raise LoangError(
                    f"The checkpoints of {self.folder.path} are gone; only its model is left.",
                    "Put them back, or start anew with --overwrite, which replaces the model.",
                )
            self.reporter.cut(self.trainer)
            self.notes.append("No checkpoint was written yet: training starts anew.")
            return
        found, wrong = self._go_back()
        step, progress = self.trainer.progress.step, self.trainer.progress
        hardware = found.state["facts"].get("hardware")
        self.notes += [
            *wrong,
            *self._other_hardware(hardware),
            f"Going on from step {step:,}: {progress.images:,} images,"
            f" {duration(progress.seconds)} and {self.share:.0%} of {self.plan.budget} used;"
            " weights, average, optimizer and position in the data are restored.",
        ]

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
            with display:
                for note in self.notes:
                    display.say(note)
                if self.plan.device.type == "cpu":
                    self._fit_memory(images_that_fit(self.trainer, device.memory_free()))
                return self._train()
        except Exception:
            self.saver.wait()  # what was being saved is worth the wait
            raise
        finally:
            self.saver.after(self.lock.release)

    def _train(self) -> Model:
        with Interruption() as interruption:
            self._loop(interruption)
            if interruption.signal is not None:
                self.display.say("Stopping, and writing a checkpoint ...")
                self._save()
                raise Interrupted(interruption.signal, self.folder.path, self._kept())
            if not self.ledger.finished:
                self._report()
                self.ledger.finished = True
                self._save()
                self._require_saved()
            if interruption.signal is not None:
                raise Interrupted(interruption.signal, self.folder.path, OVER)
        self.display.say("Drawing samples, and the walk that leads to them ...")
        with Interruption(at_once=True) as interruption:
            try:
                self.reporter.finish(self.trainer, self.ledger)
                return Model.load(self.folder.model, on=str(self.plan.device))
            except KeyboardInterrupt:
                number = interruption.signal or signal.SIGINT
                raise Interrupted(number, self.folder.path, OVER) from None

    def _loop(self, interruption: Interruption) -> None:
        progress, settings = self.trainer.progress, self.plan.settings.training
        reports, measurements = self._marks()
        clock = _Clock(progress.seconds)
        saved = since = clock.read()
        images = progress.images
        while self.share < 1 and interruption.signal is None:
            self._step()
            progress = self.trainer.progress
            now = progress.seconds = clock.read()
            if (progress.step % LOOK == 0 or self.share >= 1) and self._look():
                progress, (reports, measurements) = self.trainer.progress, self._marks()
                progress.seconds = since = clock.read()
                images = progress.images
                continue
            report = reports.passed(self.share)
            if measurements.passed(self.share) or report or now - since > MEASUREMENT_SECONDS:
                self._measure(progress.images - images, now - since)
                save = now - saved > 60 * settings.checkpoint_minutes
                if self.share < 1 and (report or save):
                    if report:
                        self._report()
                    if (
                        not self.watch.in_a_row
                    ):  # what goes wrong just now is no place to go back to
                        self._save()
                        saved = clock.read()
                # What is no training uses up the budget too, but does not slow the rate.
                since = progress.seconds = clock.read()
                images = progress.images
        if progress.images > images:
            self._measure(progress.images - images, progress.seconds - since)

    def _marks(self) -> tuple["_Marks", "_Marks"]:
        """Of reports and of measurements, from where the run stands."""
        epochs = self.plan.budget.epochs
        reports = round(epochs) if epochs else self.plan.settings.training.reports
        return _Marks(reports, self.share), _Marks(MEASUREMENTS, self.share)

    def _step(self) -> None:
        """One step, whose numbers are watched; what a save has failed at meanwhile is told."""
        at_once = self.trainer.micro_batch
        self.watch.add(self.trainer.progress.step + 1, self.trainer.step(self.share))
        if self.trainer.micro_batch < at_once:
            self._tell_fewer(at_once)
        self._tell_failures()

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
            raise self._gone_wrong()
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
        self.saver.wait()
        failed, since = self.trainer.progress, self.watch.since
        self.watch = Watch()
        if checkpoint_steps(self.folder.checkpoints):
            _, wrong = self._go_back()
            step = self.trainer.progress.step
            for warning in wrong:
                self.display.say(warning)
        else:
            step = 0
            denoiser = build_denoiser(self.plan.settings, self.plan.dataset.spec)
            micro_batch = self.trainer.micro_batch
            self.trainer = Trainer(
                denoiser, self.plan.dataset.train, self.plan.settings, self.plan.device
            )
            self.trainer.micro_batch = micro_batch
            self.ledger = Ledger()
            self.reporter.cut(self.trainer)
        progress = self.trainer.progress
        progress.seconds = failed.seconds
        progress.skipped, progress.returns = failed.skipped, failed.returns + 1
        rate = self.plan.settings.optimizer.learning_rate * progress.slowing
        self.display.say(
            f"Warning: from step {since:,} on, loss or gradient is no number. Going back to step"
            f" {step:,} with a learning rate of {rate:g}: return {progress.returns} of {RETURNS}."
        )
        self.reporter.record(self.trainer, event="return", failed=since, learning_rate=rate)

    def _gone_wrong(self) -> LoangError:
        """What is known of a run that can't go on."""
        found = self.trainer.examine(self.watch.since)
        gradient, at = self.watch.largest
        some = ", ".join(map(str, found.bad[:10])) + (", ..." if len(found.bad) > 10 else "")
        if not found.bad:
            which = "Each image of that step's batch alone gives a number."
        elif len(found.bad) == len(found.rows):
            which = "Every image of that step's batch gives none: it is not the images."
        else:
            which = f"Of that step's batch, the training images number {some} give none."
        rate = self.plan.settings.optimizer.learning_rate * self.trainer.progress.slowing / 2
        largest = f" The largest gradient before was {gradient:.3g}, at step {at:,}." if at else ""
        return LoangError(
            f"From step {found.step:,} on, loss or gradient is no number, and {RETURNS} returns to"
            f" a checkpoint with half the learning rate did not help. {which} The gradient fails"
            f" first in {found.parameter}.{largest}",
            "Start again with --set"
            f" optimizer.learning_rate={rate:.3g}, --set optimizer.clip_norm=1 or --precision"
            " float32. What was saved before is whole.",
        )

    def _go_back(self) -> tuple[Checkpoint, list[str]]:
        """To the newest whole checkpoint; returns it, and what is wrong with newer ones."""
        found, step, wrong = checkpoint.load_newest(self.folder.checkpoints)
        checkpoint.set_aside(self.folder.checkpoints, above=step)
        self._take(found, step)
        return found, [
            f"Warning: {problem} It is kept as {checkpoint.ASIDE}, and an older one is used."
            for problem in wrong
        ]

    def _other_hardware(self, before: object) -> list[str]:
        """A warning, where the last digits will differ from those of an uninterrupted run."""
        now = self._hardware()
        if before in (None, now):
            return []
        return [
            f"Warning: so far this run computed on {before}, and now on {now}: it will not end bit"
            " for bit as one that never stopped."
        ]

    def _hardware(self) -> str:
        what = device.describe(self.trainer.device, self.trainer.dtype)
        return f"{what}, torch {torch.__version__}"

    def _take(self, found: Checkpoint, step: int) -> None:
        """Go on from a checkpoint.

        Raises:
            LoangError: it is of another network, or of other images.
        """
        facts = found.state.get("facts", {})
        if facts.get("fingerprint") != self.plan.dataset.fingerprint:
            raise LoangError(
                f"The images of {self.plan.dataset.name} are not those that this run learned from.",
                "Put the same images back, or start a new run with --out.",
            )
        try:
            self.trainer.restore(found)
        except (RuntimeError, KeyError, TypeError, ValueError) as error:
            raise LoangError(
                f"The checkpoint of step {step:,} does not fit the settings in"
                f" {self.folder.config}: {str(error).partition(chr(10))[0]}",
                "Put the settings back as they were, or start a new run with --out.",
            ) from error
        self.ledger = Ledger.from_facts(facts)
        self.reporter.cut(self.trainer)

    def _measure(self, images: int, seconds: float) -> None:
        """Show and log the steps since the last measurement: so many images, in so long."""
        trainer, budget = self.trainer, self.plan.budget
        losses = self.watch.take_losses()
        self.ledger.loss_sum += sum(losses)
        self.ledger.loss_count += len(losses)
        loss = sum(losses) / len(losses) if losses else None
        self.rate = images / max(seconds, 1e-9)
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
        """Begin to write a checkpoint and the model file."""
        self._count_skipped()
        self.saver.wait()
        self._tell_failures()
        facts = {
            "fingerprint": self.plan.dataset.fingerprint,
            "hardware": self._hardware(),
            **self.ledger.to_facts(),
        }
        model = self.reporter.model(self.trainer, self.ledger)
        self.saver.save(
            self.trainer.progress.step,
            self.trainer.checkpoint(facts),
            lambda weights: model.save(self.folder.model, weights),
            [self.ledger.best["step"]] if self.ledger.best else [],
        )

    def _kept(self) -> str:
        """What an interrupted run leaves, in a sentence."""
        self.saver.wait()
        if failures := self.saver.failures():
            return f"but not all is saved: {failures[0].problem} {self._last_whole()}"
        return "checkpoint and model file are written."

    def _require_saved(self) -> None:
        """Wait for the last save.

        Raises:
            LoangError: it failed.
        """
        self.saver.wait()
        if failures := self.saver.failures():
            raise LoangError(
                f"Training is over, but not all is saved: {failures[0].problem}"
                f" {self._last_whole()}",
                "When that is mended, go on from there with: loang train --resume --out"
                f" {files.shown(self.folder.path)}",
            )

    def _last_whole(self) -> str:
        steps = checkpoint_steps(self.folder.checkpoints)
        if not steps:
            return "There is no checkpoint."
        return f"The last whole checkpoint is that of step {steps[-1]:,}."

    def _tell_failures(self) -> None:
        for failure in self.saver.failures():
            goes_on = " Training goes on." if self.share < 1 else ""
            self.display.say(f"Warning: {failure.problem} {self._last_whole()}{goes_on}")
            self.reporter.record(self.trainer, event="not saved", why=failure.problem)


class _Clock:
    """Wall-clock seconds, going on from those of earlier sessions."""

    def __init__(self, before: float) -> None:
        self._start = time.monotonic() - before

    def read(self) -> float:
        return time.monotonic() - self._start


class _Marks:
    """Equal parts of the budget: tells when another of them is over."""

    def __init__(self, count: int, share: float) -> None:
        self._count = max(count, 1)
        self._done = int(share * self._count)

    def passed(self, share: float) -> bool:
        done, self._done = self._done, int(share * self._count)
        return self._done > done
