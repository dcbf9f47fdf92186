"""What a run looks at and shows while it trains; none of it changes training, or can end it."""

import contextlib
import math
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

import loang
from loang import device, files, pictures
from loang.config import Settings
from loang.errors import LoangError
from loang.model import Model
from loang.team.lost import Lost
from loang.tracking.tracker import End
from loang.tracking.tracking import Tracking
from loang.training import card, following, guiding, strengths
from loang.training.averages import Average, Snapshots
from loang.training.budget import duration
from loang.training.choice import Choice, Judge, choose
from loang.training.display import Display
from loang.training.ema import MODEL_AVERAGE
from loang.training.folder import RunFolder
from loang.training.ledger import Ledger
from loang.training.log import Log
from loang.training.monitor import Monitor, in_few_steps
from loang.training.plan import Plan
from loang.training.scales import Scales, at_hand
from loang.training.trainer import Trainer

CHART_SECONDS = 60.0  # the chart of the losses is drawn anew no more often
PREVIEW_STEPS = 20


class Reporter:
    """Log, validation, pictures and card of a run.

    What fails of these is told once, and training goes on: a full disk or a broken picture is no
    reason to lose hours.

    Args:
        plan: what is trained.
        folder: where everything is written.
    """

    def __init__(self, plan: Plan, folder: RunFolder) -> None:
        self.plan = plan
        self.folder = folder
        self.log = Log(folder.log)
        self.tracking = Tracking()
        self.display = Display()
        self.monitor: Monitor | None = None
        self.charted = time.monotonic()
        self.over = False
        """Whether training is over."""
        self.choice: Choice | None = None
        """Of the average that the model file has, where the run has chosen one."""
        self.scales: Scales | None = None
        """By which it was chosen how strongly labels count, where it was."""
        self.history: dict[str, str] = {}
        """Facts of the run that its settings don't tell: history.py."""
        self._told: set[str] = set()

    def record(self, trainer: Trainer, **values: Any) -> None:
        """A line of the log, with where the run stands."""
        progress = trainer.progress
        with self.harmless("The log can't be written, and waits"):
            self.log.append(
                {
                    "step": progress.step,
                    "images": progress.images,
                    "seconds": round(progress.seconds, 3),
                    **values,
                }
            )
        for line in self.tracking.troubles():
            self.display.say(f"Warning: {line}{'' if self.over else ' Training goes on.'}")

    @contextlib.contextmanager
    def tracked(self, *stopped: type[BaseException]) -> Iterator[None]:
        """A run from start to end; its trackers are told how it ended.

        Args:
            stopped: what is raised where a person has stopped it.
        """
        end: End = "failed"
        try:
            yield
            end = "finished"
        except stopped:
            end = "interrupted"
            raise
        finally:
            with self.harmless("The trackers can't be closed"):
                self.tracking.close(end, self.display.say)

    def cut(self, trainer: Trainer) -> None:
        """Forget what was logged after where the run stands."""
        with self.harmless("The log can't be written, and waits"):
            self.log.cut(trainer.progress.images)

    def report(self, trainer: Trainer, ledger: Ledger, share: float, rate: float) -> None:
        """Validation loss, the same seeds drawn again, and the chart of the losses.

        Args:
            trainer: what is trained.
            ledger: gets the losses.
            share: of the budget that is used, 0..1.
            rate: training images a second.
        """
        progress = trainer.progress
        ledger.close_report()
        said = [f"{share:4.0%}", duration(progress.seconds), f"{progress.images:,} images"]
        said.append("loss unknown" if ledger.loss is None else f"loss {ledger.loss:.4f}")
        with trainer.averaged():
            with self.harmless("The model can't be validated"):
                if self._may_validate(ledger, share, progress.seconds, rate):
                    self._validate(trainer, ledger)
                    said.append(f"validation {ledger.validation_loss:.4f}")
            model = self.model(trainer, ledger)
            if self.plan.settings.evaluation.samples:
                with self.harmless("Samples can't be measured"):
                    self._evaluate(trainer, model, said)
            with self.harmless("Samples can't be drawn"):
                place = self.folder.samples / f"{progress.step:08d}.png"
                pictures.save_samples(self._preview(model), model.spec, place)
        # matplotlib takes most of a second, which is a second less of training.
        if share >= 1 or time.monotonic() - self.charted > CHART_SECONDS:
            with self.harmless("The chart of the losses can't be drawn"):
                pictures.training_chart(self.log.read(), self.folder.chart)
            self.charted = time.monotonic()
        self.display.say("  ".join(said))

    def choose(self, trainer: Trainer, ledger: Ledger, snapshots: Snapshots) -> None:
        """Score averages of several lengths, and make the best the model; where that is asked."""
        average = self.plan.settings.ema
        if not average.choose:
            return
        self.over = True
        self._told.clear()
        tracked = trainer.whole([MODEL_AVERAGE])[MODEL_AVERAGE]
        with self.harmless("The length of the average can't be chosen"):
            if self.plan.settings.evaluation.samples:
                self.monitor = self.monitor or Monitor(self.plan.dataset, self.plan.settings)
            judge = Judge(trainer, self.plan.dataset, self.monitor)
            length = average.length if average.kind == "power" else None
            own = Average(tracked, length)
            choice = choose(snapshots, judge, own, self.display.say)
            facts = {**choice.facts(), "validation_loss": judge.loss(choice.average.weights)}
            with trainer.averaged(self._counting(choice.average.weights)):
                model = self.model(trainer, ledger)
                model.facts = {**model.facts, **facts}
                model.save(self.folder.model)
            ledger.validation_loss, self.choice = facts["validation_loss"], choice
            self.record(trainer, event="average", **choice.facts(), scores=choice.table())
            for line in choice.sentences():
                self.display.say(line)

    def choose_scale(self, trainer: Trainer, ledger: Ledger) -> None:
        """Measure how strongly labels should count, and have the model file keep the best."""
        self.over = True
        self._told.clear()
        if self.scales is not None:
            self.display.say(self.scales.kept_sentence())
            return
        with self._chosen(trainer), self.harmless("How strongly labels count can't be chosen"):
            model = self.model(trainer, ledger)
            progress, data = trainer.progress, self.plan.dataset
            way = strengths if model.settings.distilled else guiding
            if not way.wanted(model, progress.images):
                return
            if not at_hand(data, model.settings, progress.seconds):
                return
            self.display.say("Measuring how strongly labels should count ...")
            self.monitor = self.monitor or Monitor(data, model.settings, self._tell_learning)
            found = way.choose(model, self.monitor)
            weights = self._weighed(trainer, found) if found.weighs else contextlib.nullcontext()
            with weights:
                best = found.settings(model.settings)
                facts = {**model.facts, **found.facts()}
                Model(model.denoiser, model.spec, best, facts).save(self.folder.model)
            self.scales = found  # not before the model file has it
            self.record(trainer, event=found.name, scores=found.table())
            self.display.say(found.sentence())

    def recall(self, trainer: Trainer) -> None:
        """Of a run that was over: how strongly labels count, as its model file has it."""
        with self.harmless("How strongly labels count is not known of the model file"):
            if not self.folder.model.exists():
                return
            model, settings = Model.load(self.folder.model, on="cpu"), self.plan.settings
            if model.facts.get("steps") == trainer.progress.step:
                way = strengths if settings.distilled else guiding
                self.scales = way.kept(model, settings)

    def _tell_learning(self, done: int, total: int) -> None:
        """Of the features of a person's own images: a line at each quarter."""
        if done * 4 // total > (done - 1) * 4 // total:
            self.display.say(f"Learning features to measure samples in, once: {done / total:.0%}")

    def finish(self, trainer: Trainer, ledger: Ledger) -> None:
        """The pictures and the card that a finished run leaves."""
        folder, self.over = self.folder, True
        self._told.clear()
        with self._chosen(trainer):
            model = self.model(trainer, ledger)
            with self.harmless("Samples can't be drawn"):
                count = pictures.columns(model.spec) * pictures.rows(model.spec)
                every = pictures.spacing(self.plan.settings.sampling.steps)
                frames = model.frames(model.walk(range(count)), every)
                pictures.save_walk(frames, model.spec, folder.walk, last=folder.grid)
        with self.harmless("The card can't be written"):
            files.write_text(folder.card, card.text(model, folder))
        with self.harmless("The model file keeps the settings that it had"):
            self._bring_up_to_date(model.settings)

    def _bring_up_to_date(self, settings: Settings) -> None:
        """A run that was over may be gone on with to be drawn otherwise; the weights stay."""
        kept = Model.load(self.folder.model, on="cpu")
        scales = self.scales
        strength = scales.best if scales is not None and scales.weighs else 1.0
        had = strengths.of_model(kept)
        if kept.settings == settings and had == strength:
            return
        of_scales = ("guidance_", "label_strength")
        facts = {name: fact for name, fact in kept.facts.items() if not name.startswith(of_scales)}
        facts |= {} if scales is None else scales.facts()
        network = kept.denoiser.network
        network.load_state_dict(dict(strengths.weighed(network.state_dict(), strength / had)))
        Model(kept.denoiser, kept.spec, settings, facts).save(self.folder.model)

    def model(self, trainer: Trainer, ledger: Ledger) -> Model:
        """The denoiser as it is, with what is known of it now."""
        settings = self.plan.settings
        return Model(
            trainer.shown,
            self.plan.dataset.spec,
            settings if self.scales is None else self.scales.settings(settings),
            self._facts(trainer, ledger),
        )

    def _chosen(self, trainer: Trainer) -> contextlib.AbstractContextManager[None]:
        """A context in which the denoiser has the weights of the model file."""
        if self.scales is not None and self.scales.weighs:
            return self._weighed(trainer, self.scales)
        return trainer.averaged(self.choice.average.weights if self.choice else None)

    def _weighed(self, trainer: Trainer, scales: Scales) -> contextlib.AbstractContextManager[None]:
        """The same with labels that count by this scale."""
        weights = self.choice.average.weights if self.choice else None
        weights = weights or trainer.whole([MODEL_AVERAGE])[MODEL_AVERAGE]
        return trainer.averaged(scales.weights(weights))

    def _counting(self, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Weights with labels that count as is known of the run."""
        return weights if self.scales is None else self.scales.weights(weights)

    @contextlib.contextmanager
    def harmless(self, what: str) -> Iterator[None]:
        """Something that may fail without harm; why it did is told, once.

        Raises:
            Lost: another process of the job is gone, which harms.
        """
        try:
            yield
        except Lost:
            raise
        except LoangError as error:
            self._warn(what, error.problem)
        except Exception as error:
            self._warn(what, f"{type(error).__name__}: {error}.")

    def _warn(self, what: str, why: str) -> None:
        if what not in self._told:
            self._told.add(what)
            self.display.say(f"Warning: {what}: {why}{'' if self.over else ' Training goes on.'}")

    def _may_validate(self, ledger: Ledger, share: float, seconds: float, rate: float) -> bool:
        """Whether one more validation keeps within its share of the time; the last always runs."""
        allowed = self.plan.settings.training.validation_share
        if share >= 1 or allowed >= 1:
            return True
        if ledger.validations:
            one = ledger.validation_seconds / ledger.validations
        else:  # a training step is about three forward passes
            one = len(self.plan.dataset.validation) / (3 * rate)
        return ledger.validation_seconds + one <= allowed * seconds

    def _validate(self, trainer: Trainer, ledger: Ledger) -> None:
        images = self.plan.dataset.validation
        start = time.monotonic()
        loss = following.validate(trainer, images)
        if not math.isfinite(loss):
            ledger.validation_loss = None
            raise LoangError(
                "With the averaged weights the loss is no number.", "Lower the learning rate."
            )
        ledger.validated(trainer.progress.step, loss, time.monotonic() - start)
        self.record(
            trainer,
            training_loss=ledger.loss,
            validation_loss_ema=loss,
            validation_images=len(trainer.validated(images)),
        )

    def _evaluate(self, trainer: Trainer, model: Model, said: list[str]) -> None:
        """Distances of a few samples, into the log and the report's line."""
        self.monitor = self.monitor or Monitor(self.plan.dataset, self.plan.settings)
        scores = self.monitor.score(model)
        self.record(trainer, **scores)
        said.append(f"KID {scores['kid']:.4f} ± {scores['kid_error']:.4f}")

    def _preview(self, model: Model) -> Shaped[np.ndarray, "n h w c"]:
        """A few samples, always of the same seeds, in few steps."""
        sampling = in_few_steps(model, PREVIEW_STEPS)
        return model.sample(2 * pictures.columns(model.spec), sampling=sampling)

    def _facts(self, trainer: Trainer, ledger: Ledger) -> Mapping[str, Any]:
        progress, data = trainer.progress, self.plan.dataset
        return {
            "loang": loang.__version__,
            "torch": torch.__version__,
            "data": data.name,
            "fingerprint": data.fingerprint,
            "training_images": len(data.train),
            "validation_images": len(data.validation),
            "hardware": device.describe(trainer.device, trainer.dtype),
            "steps": progress.step,
            "images": progress.images,
            "seconds": round(progress.seconds, 1),
            "weights": "averaged",
            **self.history,
            "loss": ledger.loss,
            "validation_loss": ledger.validation_loss,
            **({} if self.choice is None else self.choice.facts()),
            **({} if self.scales is None else self.scales.facts()),
        }
