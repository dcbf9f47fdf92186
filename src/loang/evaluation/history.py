"""A run's checkpoints, each scored alike: the distance by training step."""

from collections.abc import Callable, Mapping
from typing import Any

from loang.data.images import Dataset
from loang.errors import LoangError
from loang.evaluation.cast import choose
from loang.evaluation.subject import Subject
from loang.evaluation.table import column
from loang.evaluation.vectors import vectors
from loang.metrics.features import Features
from loang.model import Model
from loang.training import checkpoint
from loang.training.folder import CHECKPOINT, RunFolder, checkpoint_steps
from loang.training.strengths import of_model, weighed


def score_checkpoints(
    folder: RunFolder,
    model: Model,
    dataset: Dataset,
    sample: Callable[[str], Subject],
    space: Features,
    seed: int,
) -> list[Mapping[str, Any]]:
    """Every measure of each checkpoint's averaged weights, in the order of steps.

    All are drawn from the same noise and measured against the same real images.

    Args:
        folder: the run's.
        model: the run's; its weights are changed, and put back.
        dataset: the real images.
        sample: draws the model's samples, under the name of a checkpoint.
        space: of features.
        seed: of which real images are compared with.

    Raises:
        LoangError: the run holds no checkpoint, or a damaged one.
    """
    steps = checkpoint_steps(folder.checkpoints)
    if not steps:
        raise LoangError(
            f"{folder.path} holds no checkpoints to score.",
            "Leave --history away, or train with --set training.keep=20 to keep more of them.",
        )
    network = model.denoiser.network
    own = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    found: list[Mapping[str, Any]] = []
    try:
        for step in steps:
            place = folder.checkpoints / f"{CHECKPOINT}{step:08d}"
            held = checkpoint.load(place)
            # With labels that count as the model's do.
            network.load_state_dict(dict(weighed(held.tensors["ema"], of_model(model))))
            images = sample(place.name).images
            rows = choose(dataset, len(images), seed).reference
            reference = vectors(space, dataset.train, dataset.fingerprint, "train", rows)
            measured = column(space(images.pixels, images.spec), reference, seed)
            found.append(
                {
                    "step": step,
                    "training_images": held.state["progress"]["images"],
                    "space": space.name,
                    **measured.to_dict(),
                }
            )
    finally:
        network.load_state_dict(own)
    return found
