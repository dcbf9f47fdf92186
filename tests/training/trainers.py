"""Trainers of a tiny network on 37 images of noise, and what they have learnt."""

import numpy as np
import torch

from in_steps import IN_STEPS
from loang import build, presets
from loang.config import changed
from loang.data import Images, ImageSpec
from loang.team.team import ALONE
from loang.training.trainer import Trainer

SPEC = ImageSpec(8, 8, 1, class_names=("a", "b", "c"))
TINY = (
    "network.width=8",
    "network.multipliers=1,1",
    "network.heads=1",
    "training.batch=8",
    "training.precision=float32",
    *IN_STEPS,
)


def trainer(*changes, preset="quick", team=ALONE):
    rng = np.random.default_rng(0)
    images = Images(rng.integers(0, 256, (37, 8, 8, 1), np.uint8), SPEC, np.arange(37) % 3)
    tiny = TINY if preset == "quick" else ("training.batch=2",)
    settings = changed(presets.preset(preset), [*tiny, *changes])
    denoiser = build.build_denoiser(settings, SPEC)
    return Trainer(denoiser, images, settings, torch.device("cpu"), team)


def weights(subject):
    return torch.cat([p.detach().flatten() for p in subject.denoiser.parameters()])
