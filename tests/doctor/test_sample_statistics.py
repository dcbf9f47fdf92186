"""Samples beside real images: what is wrong with them is said, and chance is not."""

import numpy as np
import pytest
import torch

from loang.doctor import statistics


def real(count, seed, channels=3):
    """Smooth pictures of some contrast, each of its own brightness."""
    rng = np.random.default_rng(seed)
    waves = rng.normal(size=(count, channels, 3, 3))
    large = torch.from_numpy(waves)
    smooth = torch.nn.functional.interpolate(large, (16, 16), mode="bilinear")
    grain = torch.from_numpy(rng.normal(0, 0.05, smooth.shape))
    return (0.3 * smooth + 0.2 + grain).clamp(-1, 1).float()


REAL = real(500, 0)


def topics(samples):
    pairs = statistics.measure(samples, REAL)
    findings = statistics.examine(pairs, len(samples), "DDIM, 50 steps").findings
    return {finding.topic: finding for finding in findings}


def test_other_real_images_have_nothing_wrong_with_them():
    """100 times eight differences: a rule of two errors would find some 30."""
    found = [set(topics(real(64, seed))) for seed in range(1, 101)]
    assert sum(each != {"samples"} for each in found) <= 1


def test_a_certain_difference_that_is_not_seen_at_once_is_not_called_none():
    flatter = (lambda x: x.mean((2, 3), True) + 0.85 * (x - x.mean((2, 3), True)))(real(500, 1))
    found = topics(flatter)["samples"]
    assert found.verdict == "note"
    assert "contrast (" in found.what
    assert topics(real(64, 1))["samples"].verdict == "good"


SPOILT = {
    "tinted": (lambda x: x + torch.tensor([0.2, 0.0, -0.1])[:, None, None], "+0.2"),
    "noisy": (lambda x: x + 0.2 * torch.randn(x.shape, generator=torch.manual_seed(0)), "grain"),
    "blurred": (lambda x: torch.nn.functional.avg_pool2d(x, 3, 1, 1), "grain"),
    "flat": (lambda x: x.mean((2, 3), True) + 0.5 * (x - x.mean((2, 3), True)), "contrast"),
    "harsh": (lambda x: x.mean((2, 3), True) + 1.8 * (x - x.mean((2, 3), True)), "contrast"),
    "alike": (lambda x: x[:1] + 0.2 * (x - x[:1]), "much alike"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_what_is_wrong_is_named(name):
    spoil, words = SPOILT[name]
    found = topics(spoil(real(64, 1)).clamp(-1, 1))
    assert words in found[f"samples are {name}"].what
    assert "samples" not in found


def test_one_image_over_and_over_is_wrong():
    same = real(1, 3).expand(64, -1, -1, -1) + 0.01 * real(64, 4)
    assert topics(same)["samples are alike"].verdict == "wrong"


def test_a_white_picture_is_at_the_end_of_the_range():
    found = topics(torch.ones(64, 3, 16, 16))
    assert "100 % of the samples' values are at the brightest" in found["samples at the ends"].what


def test_grain_is_the_power_of_the_fine_frequencies():
    """A checkerboard of amplitude 0.3 is nothing but the finest; a slow wave has none."""
    y, x = np.mgrid[0:16, 0:16]
    checks = torch.from_numpy(0.3 * (-1.0) ** (x + y))[None, None].expand(2, 1, -1, -1)
    wave = torch.from_numpy(0.3 * np.sin(2 * np.pi * x / 8))[None, None].expand(2, 1, -1, -1)
    found = statistics.measure(checks, wave)["grain"]
    assert found.samples == pytest.approx(0.3)
    assert found.real == pytest.approx(0, abs=1e-12)


def test_the_error_of_variety_is_that_of_repeated_draws():
    drawn = [statistics.measure(real(32, seed), REAL)["variety"] for seed in range(200, 300)]
    values = np.array([each.samples for each in drawn])
    assert np.mean([each.error for each in drawn]) == pytest.approx(values.std(ddof=1), rel=0.3)
