"""An untrained model whose weights answer something."""

import torch

from loang import build
from loang.model import Model


def answering(settings, spec, facts=None):
    """A fresh network answers 0 everywhere; to this one's weights a little noise is added."""
    denoiser = build.build_denoiser(settings, spec)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in denoiser.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return Model(denoiser, spec, settings, facts or {})
