"""A network that counts steps from 1, told of them from 0: one turn of its first weights.

What it sees of a time t are sin(w t) and cos(w t), and those of t + 1 are a turn of these by w. So
the matrix behind them times that turn makes of t what it made of t + 1.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from loang.config import UNetSettings
from loang.networks.layers import time_frequencies

WEIGHT = "time.mlp.0.weight"


def shifted(
    weight: Float[Tensor, "out width"], settings: UNetSettings
) -> Float[Tensor, "out width"]:
    """The matrix that makes of the code of t what `weight` makes of the code of t + 1.

    Args:
        weight: of the first linear layer behind sines and cosines.
        settings: of the network: which of them come first, and how low their frequencies are.
    """
    angle = time_frequencies(settings.width // 2, settings.reaches_last).double()
    first, second = weight.double().cpu().chunk(2, dim=1)
    sines, cosines = (second, first) if settings.cosine_first else (first, second)
    # sin(a + w) = sin a cos w + cos a sin w, cos(a + w) = cos a cos w - sin a sin w
    of_sine = sines * angle.cos() - cosines * angle.sin()
    of_cosine = sines * angle.sin() + cosines * angle.cos()
    parts = (of_cosine, of_sine) if settings.cosine_first else (of_sine, of_cosine)
    return torch.cat(parts, dim=1).to(weight.dtype)
