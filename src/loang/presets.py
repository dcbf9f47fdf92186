"""Presets: each a function named for what it reproduces, that gives complete settings."""

import difflib
from collections.abc import Callable

from loang.config import (
    DataSettings,
    DenoiserSettings,
    EmaSettings,
    EvaluationSettings,
    OptimizerSettings,
    SamplingSettings,
    ScheduleSettings,
    Settings,
    TrainingSettings,
    TutorialSettings,
    UNetSettings,
)
from loang.errors import LoangError

UNGUIDED = SamplingSettings(sampler="dpmpp-2m-sde", steps=8)
"""In the place of a preset's guided sampling, where no label can guide: noise that a walk draws
mends its errors, which guidance else does (docs/benchmarks.md)."""

GUIDING = ("guidance", "guidance_interval", "guidance_rescale")
"""Keys of `sampling` that say how labels guide."""


def quick() -> Settings:
    """Recognisable clothes from Fashion-MNIST after five minutes on two CPU cores."""
    return Settings(
        preset="quick",
        data=DataSettings(source="fashion-mnist"),
        network=UNetSettings(
            width=48,
            multipliers=(1, 2),
            blocks=1,
            attention=(1,),
            heads=2,
            fold=None,
            group_channels=16,
        ),
        # Of sixteen objectives the best after the same time, and small steps, many of them:
        # docs/benchmarks.md has what was tried.
        schedule=ScheduleSettings(kind="flow"),
        denoiser=DenoiserSettings(predicts="flow"),
        optimizer=OptimizerSettings(kind="muon", learning_rate=1e-3, warm_up=50, decay_from=0.3),
        training=TrainingSettings(
            batch=16,
            budget="5m",
            validation_share=0.05,
            levels="logit-normal",
            stratified=True,
        ),
        sampling=SamplingSettings(
            sampler="dpmpp-2m", steps=8, guidance=3.0, guidance_interval=(0.2, 5.0)
        ),
        evaluation=EvaluationSettings(guidance_samples=250),
    )


def tutorial() -> Settings:
    """The article: its network and hyperparameters, with its slips put right (docs/article.md)."""
    return Settings(
        preset="tutorial",
        data=DataSettings(source="fashion-mnist", size=(32, 32), labels=False),
        network=TutorialSettings(),
        schedule=ScheduleSettings(kind="linear", steps=500, beta_start=1e-4, beta_end=0.02),
        denoiser=DenoiserSettings(predicts="eps"),
        # tensorflow_addons subtracts weight_decay * w without the learning rate: 1e-4 / 1e-3.
        optimizer=OptimizerSettings(
            learning_rate=1e-3,
            weight_decay=0.1,
            betas=(0.9, 0.999),
            epsilon=1e-7,
            clip_norm=None,
            warm_up=0,
            decay_from=1.0,
        ),
        training=TrainingSettings(batch=256, budget="50 epochs"),
        sampling=SamplingSettings(sampler="ddpm", steps=500, variance="fixed-large"),
    )


def ddpm_cifar10() -> Settings:
    """Ho et al. 2020 on CIFAR-10: appendix B and their code."""
    return Settings(
        preset="ddpm-cifar10",
        data=DataSettings(size=(32, 32), channels=3, labels=False, flips=True),
        network=UNetSettings(
            width=128,
            multipliers=(1, 2, 2, 2),
            blocks=2,
            attention=(1,),
            heads=1,
            dropout=0.1,
            modulate=False,
        ),
        schedule=ScheduleSettings(kind="linear", steps=1000, beta_start=1e-4, beta_end=0.02),
        denoiser=DenoiserSettings(predicts="eps"),
        optimizer=OptimizerSettings(
            learning_rate=2e-4, betas=(0.9, 0.999), warm_up=5000, decay_from=1.0
        ),
        ema=EmaSettings(kind="constant", decay=0.9999),
        training=TrainingSettings(batch=128, budget="102400000 images", reports=80),
        sampling=SamplingSettings(sampler="ddpm", steps=1000, variance="fixed-large"),
    )


PRESETS: dict[str, Callable[[], Settings]] = {
    "quick": quick,
    "tutorial": tutorial,
    "ddpm-cifar10": ddpm_cifar10,
}


def preset(name: str) -> Settings:
    """The settings of a preset.

    Raises:
        LoangError: there is none of that name.
    """
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, 1)
        remedy = f"Did you mean {near[0]}?" if near else f"There are {', '.join(PRESETS)}."
        raise LoangError(f"There is no preset {name!r}.", remedy)
    return PRESETS[name]()
