"""SDEdit: noised to a level, and sampled from just there."""

import numpy as np
import pytest
import torch
from editing_models import DEEP, GREY, SCHEDULES, SPECS, model_of, pixels_of

from loang.config import SamplingSettings
from loang.data.scaling import to_model
from loang.editing.start_from import levels_from, start_from
from loang.errors import LoangError

FIVE = SamplingSettings(steps=5)


@pytest.mark.parametrize("spec", SPECS)
def test_strength_0_is_the_picture(spec):
    pixels = pixels_of(SPECS[spec])
    for one in start_from(model_of(SPECS[spec]), pixels, 0.0, 2):
        assert np.array_equal(one, pixels)


@pytest.mark.parametrize("kind", SCHEDULES)
def test_strength_1_is_a_sample(kind):
    model = model_of(GREY, kind)
    drawn = start_from(model, pixels_of(GREY), 1.0, 3, seed=2, label="bag")
    assert np.array_equal(drawn, model.sample(3, seed=2, label=1))


@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize("strength", [0.2, 0.6, 0.8])
def test_the_network_is_told_the_level_that_the_picture_was_noised_to(kind, strength):
    model, pixels = model_of(DEEP, kind), pixels_of(DEEP)
    seen = []
    model.denoiser.register_forward_pre_hook(lambda _, given: seen.append(given[:2]))
    start_from(model, pixels, strength, 40, sampling=FIVE)
    assert len(seen) == round(5 * strength)
    x, t = seen[0]
    schedule = model.denoiser.schedule
    assert t[0] == schedule.levels(5)[5 - len(seen)]
    signal, noise = float(schedule.signal(t[:1])), float(schedule.noise(t[:1]))
    eps = (x - signal * to_model(pixels[np.newaxis], DEEP)) / noise
    assert float(eps.mean()) == pytest.approx(0, abs=0.06)
    assert float(eps.std()) == pytest.approx(1, abs=0.05)


def test_a_model_of_one_picture_gives_that_picture_from_any_strength(monkeypatch):
    """The round trip: a level that differs on the way down would leave noise, or take image."""
    model, pixels = model_of(DEEP), pixels_of(DEEP)
    x0 = to_model(pixels[np.newaxis], DEEP)

    def knows(x, condition, label=None):
        signal, noise = (
            f(condition).float().reshape(-1, 1, 1, 1)
            for f in (model.denoiser.schedule.signal, model.denoiser.schedule.noise)
        )
        return (signal * x - x0) / noise  # v

    monkeypatch.setattr(model.denoiser.network, "forward", knows)
    for strength in (0.2, 0.6, 1.0):
        for settings in (FIVE, SamplingSettings(sampler="ddpm", steps=5)):
            drawn = start_from(model, pixels, strength, 2, sampling=settings)
            assert np.abs(drawn.astype(int) - pixels).max() <= 1


def test_the_less_strength_the_more_alike():
    model, pixels = model_of(GREY), pixels_of(GREY)
    settings = SamplingSettings(steps=20)
    drawn = [start_from(model, pixels, s, 8, sampling=settings) for s in (0.1, 0.4, 0.9)]
    apart = [np.abs(each.astype(float) - pixels).mean() for each in drawn]
    assert apart == sorted(apart)
    assert apart[0] < 0.5 * apart[2]


def test_seeds_and_batches():
    model, pixels = model_of(), pixels_of(GREY)
    one = start_from(model, pixels, 0.5, 3, seed=1)
    assert np.array_equal(one, start_from(model, pixels, 0.5, 3, seed=1))
    assert not np.array_equal(one, start_from(model, pixels, 0.5, 3, seed=2))
    apart = start_from(model, pixels, 0.5, 3, seed=1, batch=1)
    assert np.abs(one.astype(int) - apart).max() <= 1


def test_steps_are_told_to_the_last():
    told = []
    start_from(
        *(model_of(), pixels_of(GREY), 0.6, 3),
        sampling=FIVE,
        batch=2,
        on_step=lambda *step: told.append(step),
    )
    assert told[-1] == (6, 6)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


@pytest.mark.parametrize(
    ("strength", "steps", "walked"),
    [
        *((0.0, 10, 0), (1e-12, 10, 1), (0.01, 10, 1), (0.5, 5, 3), (0.61, 10, 7), (1.0, 10, 10)),
        *((tenths / 10, 10, tenths) for tenths in range(11)),
    ],
)
def test_any_strength_walks_its_share_rounded_up(strength, steps, walked):
    levels = levels_from(model_of(), strength, SamplingSettings(steps=steps))
    assert max(len(levels) - 1, 0) == walked


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_a_strength_is_a_share(strength):
    with pytest.raises(LoangError, match="strength"):
        levels_from(model_of(), strength)


def test_nothing_global_is_drawn_from():
    state = torch.get_rng_state()
    start_from(model_of(), pixels_of(GREY), 0.5)
    assert torch.equal(state, torch.get_rng_state())
