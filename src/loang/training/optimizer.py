"""The optimizer that the settings ask for."""

from typing import Any

from loang.config import OptimizerSettings
from loang.training.adamw import AdamW
from loang.training.muon import Muon
from loang.training.weights import Weights


def optimizer(chosen: OptimizerSettings, weights: Weights, fused: bool) -> AdamW:
    """Of all that `weights` trains, in its order.

    Args:
        fused: whether a step is one operation, which sees by `found_inf` whether it may be done.
    """
    common: dict[str, Any] = {
        "lr": chosen.learning_rate,
        "betas": chosen.betas,
        "eps": chosen.epsilon,
        "weight_decay": chosen.weight_decay,
        "fused": fused,
    }
    if chosen.kind == "muon":
        return Muon(weights, momentum=chosen.momentum, **common)
    return AdamW(weights.trained().values(), **common)
