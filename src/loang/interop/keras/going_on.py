"""An imported model as a run that was interrupted: `loang train --resume` goes on with it."""

from dataclasses import asdict
from pathlib import Path

import torch

import loang
from loang.interop.arrival import settle
from loang.interop.keras.article import Imported
from loang.training import checkpoint
from loang.training.checkpoint import Checkpoint
from loang.training.ema import MODEL_AVERAGE
from loang.training.folder import RunFolder
from loang.training.inspection import UNKNOWN_IMAGES
from loang.training.progress import Progress


def leave(imported: Imported, out: Path) -> Path:
    """Write the model into a run's folder; with its optimizer, as a checkpoint to go on from.

    The checkpoint does not know the images: those of the next session are taken for those of the
    last. The average, which the article has not, begins with the weights.

    Args:
        imported: as it was read.
        out: the folder; it must be new, or empty.

    Returns:
        The model's file.

    Raises:
        LoangError: there is something at that place, or the disk refuses.
    """
    path = settle(imported.model, out)
    moments = imported.moments
    if moments is None:
        return path
    settings, weights = imported.model.settings, imported.model.denoiser.network.state_dict()
    slots = {}
    for name in moments.first:
        slots[f"{name}/step"] = torch.tensor(float(moments.steps))
        slots[f"{name}/exp_avg"] = moments.first[name]
        slots[f"{name}/exp_avg_sq"] = moments.second[name]
    progress = Progress(moments.steps, moments.steps * settings.training.batch)
    made = Checkpoint(
        {"model": weights, MODEL_AVERAGE: weights, "optimizer": slots},
        {
            "progress": asdict(progress),
            "micro_batch": None,
            "facts": {"fingerprint": UNKNOWN_IMAGES},
        },
    )
    folder = RunFolder(out)
    about = {"images": imported.model.spec.to_dict(), "versions": {"loang": loang.__version__}}
    folder.write_config(settings, about)
    checkpoint.save(folder.checkpoints, moments.steps, made)
    return path
