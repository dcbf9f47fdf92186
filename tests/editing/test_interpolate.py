"""From one picture to another: the ends are the inputs, and what lies between is between."""

import numpy as np
import pytest
import torch
from editing_models import DEEP, GREY, SCHEDULES, SPECS, model_of, pixels_of

from loang.config import SamplingSettings
from loang.editing.interpolate import between_pictures, between_seeds, deterministic, slerp
from loang.errors import LoangError


def test_on_the_great_circle_lengths_and_angles_are_shared_out():
    one = torch.tensor([[3.0, 0.0], [0.0, 0.0]])
    other = torch.tensor([[0.0, 0.0], [0.0, 3.0]])
    frames = slerp(one, other, [0, 0.25, 0.5, 0.75, 1])
    assert torch.equal(frames[0], one)
    assert torch.equal(frames[-1], other)
    for frame in frames:
        assert float(frame.norm()) == pytest.approx(3)
    for share, frame in zip((0, 0.25, 0.5, 0.75, 1), frames, strict=True):
        angle = torch.atan2(frame[1, 1], frame[0, 0])
        assert float(angle) == pytest.approx(share * torch.pi / 2, abs=1e-6)


def test_noise_stays_as_strong_as_noise_where_a_line_would_weaken_it():
    one, other = torch.randn(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    middle = slerp(one, other, [0.5])[0]
    assert float(middle.std()) == pytest.approx(1, abs=0.03)
    assert float(((one + other) / 2).std()) < 0.75


def test_between_the_same_there_is_nothing_else():
    one = torch.randn(1, 3, 3)
    for other in (one, 2 * one):
        frames = slerp(one, other, [0, 0.5, 1])
        torch.testing.assert_close(frames[1], (one + other) / 2)
    assert bool(slerp(torch.zeros(2), torch.zeros(2), [0.3]).eq(0).all())
    assert bool(slerp(one, -one, [0.5]).isfinite().all())


@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize("spec", SPECS)
def test_the_ends_are_the_very_pictures(kind, spec):
    spec, model = SPECS[spec], model_of(SPECS[spec], kind)
    one, other = pixels_of(spec, 1), pixels_of(spec, 2)
    frames, error = between_pictures(model, one, other, 3, evaluations=40)
    assert np.array_equal(frames[0], one)
    assert np.array_equal(frames[2], other)
    assert frames.dtype == one.dtype
    assert not np.array_equal(frames[1], one)
    assert error < 0.005


def test_what_comes_back_of_the_ends_is_what_is_told():
    """With few evaluations it differs, and says so."""
    one, other = pixels_of(GREY, 1), pixels_of(GREY, 2)
    errors = [
        between_pictures(model_of(), one, other, 2, evaluations=evaluations)[1]
        for evaluations in (4, 100)
    ]
    assert errors[0] > 10 * errors[1]


@pytest.mark.parametrize("sampler", ["ddim", "dpmpp-2m", "heun"])
def test_the_ends_of_seeds_are_their_first_samples(sampler):
    model, settings = model_of(GREY), SamplingSettings(sampler=sampler, steps=5)
    frames = between_seeds(model, 3, 7, 4, sampling=settings, label="bag")
    for frame, seed in ((frames[0], 3), (frames[-1], 7)):
        sample = model.sample(1, seed=seed, sampling=settings, label=1)[0]
        assert np.abs(frame.astype(int) - sample).max() <= 1
    assert np.array_equal(frames, between_seeds(model, 3, 7, 4, sampling=settings, label="bag"))


@pytest.mark.parametrize("sampler", ["ddpm", "auto"])
def test_a_model_that_is_sampled_with_noise_goes_by_ddim_where_nobody_says(sampler):
    model = model_of(GREY, "cosine", f"sampling.sampler={sampler}", "sampling.guidance=2")
    within = model.settings.sampling.guidance_interval
    ddim = SamplingSettings(sampler="ddim", steps=50, guidance=2, guidance_interval=within)
    expected = between_seeds(model, 3, 7, 3, sampling=ddim, label="bag")
    assert np.array_equal(between_seeds(model, 3, 7, 3, label="bag"), expected)


def test_the_middle_lies_between():
    model = model_of(DEEP)
    frames = between_seeds(model, 3, 7, 9).astype(float)
    apart = [[np.abs(frame - frames[end]).mean() for frame in frames] for end in (0, -1)]
    assert apart[0] == sorted(apart[0])
    assert apart[1] == sorted(apart[1], reverse=True)


def test_no_noise_is_drawn_on_the_way():
    names = {"ddpm": False, "ddim": True, "euler-ancestral": False, "dpmpp-2m-sde": False}
    for name, expected in names.items():
        assert deterministic(SamplingSettings(sampler=name)) is expected
    assert not deterministic(SamplingSettings(sampler="ddim", eta=0.5))
    assert not deterministic(SamplingSettings(sampler="heun", churn=1))
    with pytest.raises(LoangError, match="draws new noise"):
        between_seeds(model_of(), 1, 2, sampling=SamplingSettings(sampler="ddpm"))
    with pytest.raises(LoangError, match="1 frames"):
        between_pictures(model_of(), pixels_of(GREY), pixels_of(GREY), 1)
