"""A weight for each noise level that is learnt along with the network."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from loang import random

FEATURES = 128
WIDEST = 20.0
"""Of log-SNR: beyond, all levels are as this one."""


class Uncertainty(nn.Module):
    """L / exp(u) + u, for a learnt u of the noise level.

    It is least where u = log(L), so exp(u) becomes the error to be expected at a level, and every
    level pulls the network as strongly as the others (Kendall et al. 2018, of tasks; Karras et al.
    2024, "EDM2", of noise levels). u is a linear layer on Fourier features of log(sigma) / 4, and
    0 at first: then the loss is L.
    """

    frequency: Tensor
    phase: Tensor

    def __init__(self) -> None:
        super().__init__()
        drawn = random.normal(
            (FEATURES,), seed=0, purpose="uncertainty", step=0, indices=torch.arange(1)
        )[0]
        phase = random.uniform(
            seed=0, purpose="uncertainty phase", step=0, indices=torch.arange(FEATURES)
        )
        # The same in every run, so no part of a checkpoint.
        self.register_buffer("frequency", 2 * math.pi * drawn, persistent=False)
        self.register_buffer("phase", 2 * math.pi * phase.float(), persistent=False)
        self.weight = nn.Parameter(torch.zeros(FEATURES))

    def forward(self, log_snr: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """u at these levels; log_snr may be infinite."""
        position = log_snr.clamp(-WIDEST, WIDEST).float() / -8  # log(sigma) / 4
        features = torch.cos(position[:, None] * self.frequency + self.phase)
        # Not a matrix product, which autocast would round.
        return (features * self.weight).sum(1) * math.sqrt(2 / FEATURES)

    def weighed(
        self, error: Float[Tensor, " n"], log_snr: Float[Tensor, " n"]
    ) -> Float[Tensor, " n"]:
        """What is minimised in place of these errors."""
        u = self(log_snr)
        return error * (-u).exp() + u
