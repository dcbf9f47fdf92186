"""What means nothing together is refused, with the reason; the rest is not."""

import pytest

from in_steps import IN_STEPS
from loang import presets
from loang.config import changed
from loang.errors import LoangError

EDM = ("schedule.kind=edm", "denoiser.predicts=edm")
FLOW = ("schedule.kind=flow", "denoiser.predicts=flow")


def settings(*changes):
    return changed(presets.quick(), (*IN_STEPS, *changes))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ((*EDM, "training.weighting=vlb"), "no end towards the image"),
        ((*FLOW, "training.weighting=vlb"), "no end towards the image"),
        (("training.weighting=vlb", "training.levels=log-normal"), "every step counts the same"),
        (
            ("training.weighting=truncated-snr", "denoiser.predicts=eps"),
            "says nothing of it: predict v",
        ),
        (("training.weighting=learned", "training.levels=importance"), "by their difference"),
        ((*EDM, "training.levels=logit-normal"), "take log-normal"),
        (("training.level_mean=0",), "training.level_mean is of log-normal"),
        (
            ("training.levels=importance", "training.level_deviation=1"),
            "training.level_deviation is of log-normal",
        ),
        ((*EDM, "denoiser.learn_variance=true"), "of the steps that a schedule has"),
        (("training.weighting=nearly",), "training.weighting"),
        (("training.min_snr_gamma=0",), "training.min_snr_gamma"),
    ],
)
def test_what_means_nothing_is_refused_with_the_reason(changes, reason):
    with pytest.raises(LoangError, match=reason):
        settings(*changes)


@pytest.mark.parametrize("kind", [(), EDM, FLOW], ids=["steps", "edm", "flow"])
@pytest.mark.parametrize(
    "weighting", ["simple", "eps", "min-snr", "truncated-snr", "p2", "edm", "learned"]
)
@pytest.mark.parametrize("levels", ["uniform", "log-normal", "importance"])
def test_all_else_goes_together(kind, weighting, levels):
    if (weighting, levels) == ("learned", "importance"):
        return
    chosen = settings(
        *kind,
        *(f"training.weighting={weighting}", f"training.levels={levels}"),
        *("training.stratified=true", "training.pairing=immiscible"),
    )
    assert chosen.training.weighting == weighting


def test_the_bound_goes_with_importance():
    assert settings("training.weighting=vlb", "training.levels=importance")
    assert settings("training.weighting=vlb", "denoiser.learn_variance=true")
