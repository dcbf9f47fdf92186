"""A model with an average of another length, made of a run's snapshots when training is over."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

import loang
from loang.build import weight_shapes
from loang.data import Dataset
from loang.data.download import Progress
from loang.errors import LoangError
from loang.model import Model
from loang.training import checkpoint, strengths
from loang.training.asked import open_images
from loang.training.averages import Average, Snapshots
from loang.training.choice import Choice, Judge, choose
from loang.training.ema import MODEL_AVERAGE
from loang.training.folder import RunFolder
from loang.training.monitor import Monitor
from loang.training.places import beside, located
from loang.training.trainer import Trainer

_ABOUT = ("step", "images", "seconds")


@dataclass(frozen=True)
class Averaged:
    """What was made.

    Args:
        model: with the average's weights.
        average: of which length, and how near.
        choice: what it was compared with, if it was.
    """

    model: Model
    average: Average
    choice: Choice | None = None

    def sentences(self) -> list[str]:
        """For people."""
        if self.choice is not None:
            return self.choice.sentences()
        one = self.average
        return [
            f"The average of length {one.length:g} at step {one.about['step']:,}, made of"
            f" {one.snapshots} snapshots (profile's error {one.error:.1e})."
        ]


def of_length(run: Path, length: float, *, device: str = "auto") -> Averaged:
    """The run's model with the average of that length.

    Raises:
        LoangError: it is no run with a model, keeps no snapshots, or they do not reach that far.
    """
    model, snapshots = _opened(run, device)
    average = snapshots.average(length)
    return Averaged(_with(model, average), average)


def best(
    run: Path,
    *,
    samples: int | None = None,
    data: str | None = None,
    device: str = "auto",
    say: Callable[[str], None] = lambda line: None,
    on_progress: Progress | None = None,
) -> Averaged:
    """The run's model with the average that scores best.

    Args:
        run: the folder.
        samples: how many are measured; 0 takes the validation loss, None what the run was asked.
        data: where its images are now; None where the run found them.
        device: where.
        say: told what is tried.
        on_progress: told of a download.

    Raises:
        LoangError: as `of_length`, or its images are not there.
    """
    model, snapshots = _opened(run, device)
    dataset = _images(run, model, data, on_progress)
    settings = model.settings
    if samples is not None:
        count = settings.evaluation.model_copy(update={"samples": samples})
        settings = settings.model_copy(update={"evaluation": count})
    trainer = Trainer(model.denoiser, dataset.train, settings, model.device)
    monitor = Monitor(dataset, settings) if settings.evaluation.samples else None
    judge = Judge(trainer, dataset, monitor)
    own = _own(run, model, snapshots)
    if own is None:
        say("The run's own average is not scored: no whole checkpoint and no model file has it.")
    choice = choose(snapshots, judge, own, say)
    made = _with(model, choice.average)
    made.facts = {
        **made.facts,
        **choice.facts(),
        "validation_loss": judge.loss(choice.average.weights),
    }
    return Averaged(made, choice.average, choice)


def _opened(run: Path, device: str) -> tuple[Model, Snapshots]:
    folder = RunFolder(run)
    folder.check_averages()
    model = Model.load(folder.model, on=device)
    return model, Snapshots(folder.averages, weight_shapes(model.settings, model.spec))


def _own(run: Path, model: Model, snapshots: Snapshots) -> Average | None:
    """The average that the run tracked for its model, where it is still to be had.

    The newest checkpoint has it. The model file has it too, unless another was put in its place.
    """
    kept = model.settings.ema
    length = kept.length if kept.kind == "power" else None
    try:
        found, _, _ = checkpoint.load_newest(RunFolder(run).checkpoints)
        weights, about = found.tensors.get(MODEL_AVERAGE, {}), found.state["progress"]
    except LoangError:
        if model.facts.get("average_snapshots"):
            return None
        # The judge loads other weights into this very network.
        state = model.denoiser.network.state_dict()
        weights = {name: tensor.cpu().clone() for name, tensor in state.items()}
        weights = {**strengths.weighed(weights, 1 / strengths.of_model(model))}
        about = {"step": model.facts.get("steps"), **model.facts}
    shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    # A stranger's files may be whole, and of another run.
    if shapes != dict(snapshots.shapes) or any(about.get(name) is None for name in _ABOUT):
        return None
    return Average(weights, length, about={name: about[name] for name in _ABOUT})


def _images(run: Path, model: Model, data: str | None, on_progress: Progress | None) -> Dataset:
    settings, places = model.settings, beside(run, model.settings.data)
    if data is not None:
        chosen = located(settings.data, places).model_copy(update={"source": data})
        settings, places = settings.model_copy(update={"data": chosen}), None
    gone = f"Name the images, wherever they are: loang average {run} --best --data DATA"
    dataset = open_images(settings, on_progress, places=places, gone=gone)
    if dataset.fingerprint != model.facts.get("fingerprint"):
        raise LoangError(
            f"The images of {dataset.name} are not those that this run learned from.",
            "Name the same images with --data.",
        )
    return dataset


def _with(model: Model, average: Average) -> Model:
    """The model with that average's weights, and what is known of it then.

    Labels count as strongly as in the model, though that was measured of other weights.
    """
    weights = strengths.weighed(average.weights, strengths.of_model(model))
    model.denoiser.network.load_state_dict(dict(weights))
    about = average.about
    # What was measured of others.
    of_weights = ("average_", "guidance_", "label_strength_chosen_by")
    known = {name: fact for name, fact in model.facts.items() if not name.startswith(of_weights)}
    if about["step"] != known.get("steps"):
        known["loss"] = None
    facts = {
        **known,
        "loang": loang.__version__,
        "torch": torch.__version__,
        "steps": about["step"],
        "images": about["images"],
        "seconds": round(about["seconds"], 1),
        "validation_loss": None,
        **average.facts(),
    }
    return Model(model.denoiser, model.spec, model.settings, facts)
