"""Which objective a run has, by its settings."""

from loang.config import Settings
from loang.denoiser import Denoiser
from loang.training.consistency import Consistency
from loang.training.denoising import Denoising
from loang.training.examples import Source
from loang.training.matching import Matching
from loang.training.objective import Objective


def objective(denoiser: Denoiser, source: Source, settings: Settings) -> Objective:
    """The one that the settings name.

    Raises:
        LoangError: this denoiser can't be trained so.
    """
    if settings.distilled:
        if settings.distillation.matched:
            return Matching(denoiser, source, settings)
        return Consistency(denoiser, source, settings)
    return Denoising(denoiser, source, settings)
