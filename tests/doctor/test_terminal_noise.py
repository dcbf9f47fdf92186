"""What is left of the image where sampling starts."""

import numpy as np
import pytest

from in_steps import IN_STEPS
from loang import presets
from loang.config import changed
from loang.data.images import Images
from loang.data.spec import ImageSpec
from loang.doctor import terminal

BRIGHT = Images(np.full((20, 32, 32, 3), 230, np.uint8), ImageSpec(32, 32, 3))
GREY = Images(np.full((20, 32, 32, 1), 127, np.uint8), ImageSpec(32, 32, 1))


def found(images, *changes, pixels=32 * 32):
    settings = changed(presets.quick(), (*IN_STEPS, *changes))
    part = terminal.examine(settings, images, pixels)
    return part.findings[0], part.facts


SHORT = ("schedule.kind=linear", "schedule.steps=500", "denoiser.predicts=eps")


def test_the_shift_is_the_mean_times_what_is_left():
    finding, facts = found(BRIGHT, *SHORT)
    alpha_bar = np.prod(1 - np.linspace(1e-4, 0.02, 500))
    mean = 2 * 230 / 255 - 1
    assert facts["shift"] == pytest.approx(3 * [mean * alpha_bar**0.5], rel=1e-6)
    seen = mean * (alpha_bar / (1 - alpha_bar)) ** 0.5 * 32
    assert facts["brightness_in_noise"] == pytest.approx(seen, rel=1e-6)
    assert finding.verdict == "warning"
    assert "zero_terminal_snr=true" in finding.remedy
    assert "predicts=v" in finding.remedy  # eps can't start from there


def test_grey_images_have_no_brightness_to_lose():
    assert found(GREY, *SHORT)[0].verdict == "good"


def test_the_published_schedule_is_enough_for_small_images_and_not_for_large_ones():
    """Lin et al. 2023: sqrt(alpha_bar_T) = 0.0064 for Ho et al.'s, 0.068 for Rombach et al.'s."""
    finding, facts = found(BRIGHT, "schedule.kind=linear")
    assert facts["signal"] == pytest.approx(0.0064, abs=1e-4)
    assert finding.verdict == "good"
    assert found(BRIGHT, "schedule.kind=linear", pixels=512 * 512)[0].verdict == "warning"
    finding, facts = found(BRIGHT, "schedule.kind=scaled-linear")
    assert facts["signal"] == pytest.approx(0.0683, abs=1e-3)
    assert finding.verdict == "warning"


def test_the_noise_of_edm_drowns_small_images_and_not_large_ones():
    edm = ("schedule.kind=edm", "denoiser.predicts=edm")
    finding, facts = found(BRIGHT, *edm)
    mean = 2 * 230 / 255 - 1
    assert facts["brightness_in_noise"] == pytest.approx(mean / 80 * 32, rel=1e-6)
    assert "1.2 % of the image" in finding.what
    finding, _ = found(BRIGHT, *edm, pixels=512 * 512)
    assert finding.verdict == "warning"
    assert "schedule.sigma_max=320" in finding.remedy
    assert found(BRIGHT, "schedule.kind=flow", "denoiser.predicts=flow")[0].verdict == "good"


@pytest.mark.parametrize("images", [BRIGHT, None])
def test_zero_terminal_snr_leaves_nothing(images):
    assert found(images, "schedule.zero_terminal_snr=true", *SHORT[:2])[0].verdict == "good"


def test_without_images_a_bad_schedule_is_seen_all_the_same():
    assert found(None, *SHORT)[0].verdict == "warning"
    assert found(None)[0].verdict == "good"
