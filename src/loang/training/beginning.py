"""A run before its first step: by its seed, or from weights that come from elsewhere."""

from collections.abc import Mapping

import torch
from torch import Tensor

from loang.build import build_denoiser
from loang.errors import LoangError
from loang.training.checkpoint import Checkpoint
from loang.training.folder import RunFolder
from loang.training.plan import Plan
from loang.training.trainer import Trainer


def beginning(plan: Plan, weights: Mapping[str, Tensor] | None = None) -> Checkpoint:
    """What a checkpoint would hold that were written before the first step.

    Args:
        plan: of the run.
        weights: of the network, by name; None takes those that the seed gives.
    """
    denoiser = build_denoiser(plan.settings, plan.dataset.spec)
    if weights is not None:
        denoiser.network.load_state_dict(weights)
    fresh = Trainer(denoiser, plan.dataset.train, plan.settings, torch.device("cpu"))
    return fresh.checkpoint({})


def require_seeded(seeded: bool, folder: RunFolder) -> None:
    """Whether a run without a checkpoint can begin as it began at first.

    Args:
        seeded: whether its first weights are those of its seed.
        folder: of the run.

    Raises:
        LoangError: they were another model's, and are gone with the checkpoints.
    """
    if not seeded:
        raise LoangError(
            f"There is no checkpoint in {folder.path}, and no seed gives the weights that this run"
            " began with: they were another model's.",
            "Begin again from that model, with --overwrite.",
        )
