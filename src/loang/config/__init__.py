"""The settings of a run: frozen, typed, complete; what config.json holds.

A preset (presets.py) is a whole `Settings`; `changed` applies `section.key=value` to one.
"""

from loang.config.networks import DenoisingDiffusionSettings, TutorialSettings, UNetSettings
from loang.config.reading import LONGEST, changed, load
from loang.config.sections import (
    DataSettings,
    DenoiserSettings,
    DistillationSettings,
    EmaSettings,
    EvaluationSettings,
    OptimizerSettings,
    SamplingSettings,
    ScheduleSettings,
    Section,
    TrainingSettings,
)
from loang.config.settings import Settings

__all__ = [
    "LONGEST",
    "DataSettings",
    "DenoiserSettings",
    "DenoisingDiffusionSettings",
    "DistillationSettings",
    "EmaSettings",
    "EvaluationSettings",
    "OptimizerSettings",
    "SamplingSettings",
    "ScheduleSettings",
    "Section",
    "Settings",
    "TrainingSettings",
    "TutorialSettings",
    "UNetSettings",
    "changed",
    "load",
]
