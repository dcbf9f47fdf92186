"""The optimizer that the settings ask for."""

import torch

from loang.config import OptimizerSettings
from loang.training.adamw import AdamW
from loang.training.muon import Muon
from loang.training.weights import Weights


def optimizer(
    chosen: OptimizerSettings, weights: Weights, precision: torch.dtype | None, fused: bool
) -> AdamW:
    """Of all that `weights` trains, in its order.

    Args:
        precision: that the network is computed in; None: float32.
        fused: whether a step is one operation, which sees by `found_inf` whether it may be done.
    """
    common = {
        "lr": chosen.learning_rate,
        "betas": chosen.betas,
        "eps": chosen.epsilon,
        "weight_decay": chosen.weight_decay,
        "fused": fused,
    }
    if chosen.kind == "muon":
        # Half precision's 5 bits of exponent do not hold the squares of small singular values.
        exact = None if precision == torch.float16 else precision
        return Muon(weights, momentum=chosen.momentum, precision=exact, **common)
    return AdamW(weights.trained().values(), **common)
