"""A run from start to end: steps, measurements, checkpoints, pictures, and the model it leaves."""

import math
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped

import loang
from loang import device, files, pictures
from loang.config import SamplingSettings
from loang.errors import LoangError
from loang.model import Model
from loang.training import card, checkpoint
from loang.training.budget import duration, learning_rate
from loang.training.display import Display, Measurement
from loang.training.folder import RunFolder
from loang.training.interruption import Interruption
from loang.training.monitor import Monitor
from loang.training.plan import Plan
from loang.training.trainer import Trainer

MEASUREMENTS = 200  # lines of log.jsonl, spread evenly over a run,
MEASUREMENT_SECONDS = 10.0  # and more where that is long
CHART_SECONDS = 60.0  # the chart of the losses is drawn anew no more often
PREVIEW_STEPS = 20


class Interrupted(LoangError):
    """A signal ended the run, and nothing was lost.

    Args:
        number: of the signal.
        out: the run's folder.
    """

    def __init__(self, number: int, out: Path) -> None:
        super().__init__(
            f"Stopped by {signal.Signals(number).name}; checkpoint and model file are written.",
            f"Go on with: loang train --resume --out {files.shown(out)}",
        )
        self.number = number
        self.out = out
        self.exit_status = 128 + number

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.number, self.out)


class Run:
    """One run in one folder.

    Args:
        plan: what to train.
        folder: where; already claimed by `RunFolder.start`, or holding the run to go on with.
    """

    def __init__(self, plan: Plan, folder: RunFolder) -> None:
        self.plan = plan
        self.folder = folder
        self.notes = plan.describe()
        self.display = Display()
        self.monitor: Monitor | None = None
        self.trainer = Trainer(plan.denoiser, plan.dataset.train, plan.settings, plan.device)
        self.best: dict[str, Any] = {}
        self.finished = False
        self.charted = time.monotonic()
        self.losses: list[torch.Tensor] = []  # of the steps since the last measurement
        self.loss_sum, self.loss_count = 0.0, 0  # of those since the last report
        self.loss: float | None = None
        self.rate = 1.0
        self.validation_loss: float | None = None
        self.validation_seconds = 0.0
        self.validations = 0

    @property
    def share(self) -> float:
        """How much of the budget is used."""
        progress = self.trainer.progress
        return self.plan.budget.share(progress.images, progress.seconds)

    def restore(self) -> None:
        """Go on from the newest whole checkpoint.

        Raises:
            LoangError: there is none, or it is of another network or of other images.
        """
        found, step, wrong = checkpoint.load_newest(self.folder.checkpoints)
        facts = found.state["facts"]
        if facts["fingerprint"] != self.plan.dataset.fingerprint:
            raise LoangError(
                f"The images of {self.plan.dataset.name} are not those that this run learned from.",
                "Put the same images back, or start a new run with --out.",
            )
        checkpoint.set_aside(self.folder.checkpoints, above=step)
        try:
            self.trainer.restore(found)
        except (RuntimeError, KeyError, ValueError) as error:
            raise LoangError(
                f"The checkpoint of step {step:,} does not fit the settings in"
                f" {self.folder.config}: {str(error).partition(chr(10))[0]}",
                "Put the settings back as they were, or start a new run with --out.",
            ) from error
        self.best = facts["best"]
        self.finished = facts["finished"]
        self.loss, self.validation_loss = facts["loss"], facts["validation_loss"]
        self.loss_sum, self.loss_count = facts["loss_sum"], facts["loss_count"]
        self.validation_seconds = facts["validation_seconds"]
        self.validations = facts["validations"]
        progress = self.trainer.progress
        self.folder.cut_log(progress.images)
        self.notes += [
            *(f"Warning: {problem} An older checkpoint is used." for problem in wrong),
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
            LoangError: the loss is no number any more, or the disk is full.
        """
        self.display = display
        with display:
            for note in self.notes:
                display.say(note)
            with Interruption() as interruption:
                self._loop(interruption)
                if interruption.signal is not None:
                    display.say("Stopping, and writing a checkpoint ...")
                    self._leave()
                    raise Interrupted(interruption.signal, self.folder.path)
                if not self.finished:
                    self._report()
                    self._save()
            display.say("Drawing samples, and the walk that leads to them ...")
            try:
                return self._finish()
            except KeyboardInterrupt:
                raise Interrupted(signal.SIGINT, self.folder.path) from None

    def _loop(self, interruption: Interruption) -> None:
        progress, settings = self.trainer.progress, self.plan.settings.training
        epochs = self.plan.budget.epochs
        reports = _Marks(round(epochs) if epochs else settings.reports, self.share)
        measurements = _Marks(MEASUREMENTS, self.share)
        clock = _Clock(progress.seconds)
        saved = since = clock.read()
        while self.share < 1 and interruption.signal is None:
            self.losses.append(self.trainer.step(self.share))
            now = progress.seconds = clock.read()
            report = reports.passed(self.share)
            if measurements.passed(self.share) or report or now - since > MEASUREMENT_SECONDS:
                self._measure(now - since)
                save = now - saved > 60 * settings.checkpoint_minutes
                if self.share < 1 and (report or save):
                    if report:
                        self._report()
                    self._save()
                    saved = clock.read()
                # What is no training uses up the budget too, but does not slow the rate.
                since = progress.seconds = clock.read()
        if self.losses:
            self._measure(max(progress.seconds - since, 1e-9))

    def _leave(self) -> None:
        """What an interrupted run leaves, for the next session and for sampling."""
        with self.trainer.averaged():
            self._model().save(self.folder.model)
        self._save()

    def _measure(self, seconds: float) -> None:
        """Show and log the steps since the last measurement, which took so long."""
        progress, training = self.trainer.progress, self.plan.settings.training
        losses = torch.stack(self.losses).double().cpu()
        self.losses = []
        loss = float(losses.mean())
        if not math.isfinite(loss):
            half = self.plan.settings.optimizer.learning_rate / 2
            raise LoangError(
                f"The loss is {loss} around step {progress.step:,}: training has gone wrong.",
                f"Start again with --set optimizer.learning_rate={half:g}, or with --precision"
                " float32; what was saved before is whole.",
            )
        self.loss_sum += float(losses.sum())
        self.loss_count += len(losses)
        rate = len(losses) * training.batch / seconds
        share, budget = self.share, self.plan.budget
        if budget.seconds is not None:
            left = max(budget.seconds - progress.seconds, 0.0)
        else:
            left = max((budget.images or 0) - progress.images, 0) / rate
        memory = device.memory_used(self.trainer.device)
        self.display.measure(Measurement(share, loss, rate, left, memory))
        self.folder.append_log(
            {
                "step": progress.step,
                "images": progress.images,
                "seconds": round(progress.seconds, 3),
                "share": share,
                "loss": loss,
                "learning_rate": learning_rate(
                    self.plan.settings.optimizer, progress.step - 1, share
                ),
                "images_per_second": round(rate, 1),
                "memory": memory,
            }
        )
        self.rate = rate

    def _report(self) -> None:
        """Training and validation loss, the model file, and the same seeds drawn again."""
        progress = self.trainer.progress
        if self.loss_count:
            self.loss = self.loss_sum / self.loss_count  # of all steps since the last report
            self.loss_sum, self.loss_count = 0.0, 0
        said = [f"{self.share:4.0%}", duration(progress.seconds), f"{progress.images:,} images"]
        said.append(f"loss {self.loss or 0.0:.4f}")
        with self.trainer.averaged():
            if self._may_validate():
                start = time.monotonic()
                self.validation_loss = self.trainer.validate(self.plan.dataset.validation)
                self.validation_seconds += time.monotonic() - start
                self.validations += 1
                said.append(f"validation {self.validation_loss:.4f}")
                self.folder.append_log(
                    {
                        "step": progress.step,
                        "images": progress.images,
                        "seconds": round(progress.seconds, 3),
                        "training_loss": self.loss,
                        "validation_loss_ema": self.validation_loss,
                        "validation_images": len(self.plan.dataset.validation),
                    }
                )
                if self.validation_loss <= self.best.get("validation_loss", float("inf")):
                    self.best = {"step": progress.step, "validation_loss": self.validation_loss}
            model = self._model()
            model.save(self.folder.model)
            if self.plan.settings.evaluation.samples:
                self._evaluate(model, said)
            place = self.folder.samples / f"{progress.step:08d}.png"
            pictures.save_samples(self._preview(model), model.spec, place)
        # matplotlib takes most of a second, which is a second less of training.
        if self.share >= 1 or time.monotonic() - self.charted > CHART_SECONDS:
            pictures.training_chart(self.folder.read_log(), self.folder.chart)
            self.charted = time.monotonic()
        self.display.say("  ".join(said))

    def _evaluate(self, model: Model, said: list[str]) -> None:
        """Distances of a few samples, into the log and the report's line."""
        self.monitor = self.monitor or Monitor(self.plan.dataset, self.plan.settings)
        scores = self.monitor.score(model)
        progress = self.trainer.progress
        self.folder.append_log(
            {
                "step": progress.step,
                "images": progress.images,
                "seconds": round(progress.seconds, 3),
                **scores,
            }
        )
        said.append(f"KID {scores['kid']:.4f} ± {scores['kid_error']:.4f}")

    def _may_validate(self) -> bool:
        """Whether one more validation keeps within its share of the time; the last always runs."""
        allowed = self.plan.settings.training.validation_share
        if self.share >= 1 or allowed >= 1:
            return True
        if self.validations:
            one = self.validation_seconds / self.validations
        else:  # a training step is about three forward passes
            one = len(self.plan.dataset.validation) / (3 * self.rate)
        return self.validation_seconds + one <= allowed * self.trainer.progress.seconds

    def _preview(self, model: Model) -> Shaped[np.ndarray, "n h w c"]:
        """A few samples, always of the same seeds, in few steps."""
        steps = min(PREVIEW_STEPS, model.denoiser.schedule.T)
        sampling = SamplingSettings(sampler="ddim", steps=steps)
        return model.sample(2 * pictures.columns(model.spec), sampling=sampling)

    def _finish(self) -> Model:
        """The pictures and the card that a finished run leaves."""
        folder = self.folder
        with self.trainer.averaged():
            model = self._model()
            count = pictures.columns(model.spec) * pictures.rows(model.spec)
            every = pictures.spacing(self.plan.settings.sampling.steps)
            frames = model.frames(model.walk(range(count)), every)
            pictures.save_walk(frames, model.spec, folder.walk, last=folder.grid)
        files.write_text(folder.card, card.text(model, folder))
        return Model.load(folder.model, on=str(self.plan.device))

    def _save(self) -> None:
        progress = self.trainer.progress
        checkpoint.save(
            self.folder.checkpoints, progress.step, self.trainer.checkpoint(self._facts())
        )
        best = [self.best["step"]] if self.best else []
        checkpoint.rotate(self.folder.checkpoints, self.plan.settings.training.keep, best)

    def _facts(self) -> Mapping[str, Any]:
        return {
            "fingerprint": self.plan.dataset.fingerprint,
            "best": self.best,
            "finished": self.share >= 1,
            "loss": self.loss,
            "loss_sum": self.loss_sum,
            "loss_count": self.loss_count,
            "validation_loss": self.validation_loss,
            "validation_seconds": self.validation_seconds,
            "validations": self.validations,
        }

    def _model(self) -> Model:
        progress, data = self.trainer.progress, self.plan.dataset
        facts = {
            "loang": loang.__version__,
            "torch": torch.__version__,
            "data": data.name,
            "fingerprint": data.fingerprint,
            "training_images": len(data.train),
            "validation_images": len(data.validation),
            "hardware": device.describe(self.trainer.device, self.trainer.dtype),
            "steps": progress.step,
            "images": progress.images,
            "seconds": round(progress.seconds, 1),
            "weights": "averaged",
            "loss": self.loss,
            "validation_loss": self.validation_loss,
        }
        return Model(self.trainer.denoiser, data.spec, self.plan.settings, facts)


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
