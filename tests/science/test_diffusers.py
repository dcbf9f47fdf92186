"""Step by step beside DDPM's and DDIM's schedulers of diffusers, on the same network and noise.

The largest difference at any level is told as a share of the largest value there. Their tables
are float32: with ours they agree to the rounding of float64.
"""

import pytest
import torch

from loang import schedule
from loang.denoiser import Denoiser
from loang.samplers import ddim, ddpm

pytest.importorskip("diffusers", reason="needs loang[conformance]")

from diffusers import DDIMScheduler, DDPMScheduler
from diffusers_steps import (
    DRAWS,
    THEIR_NAMES,
    Network,
    differences,
    exact,
    from_generator,
    ours,
    theirs,
    whole_levels,
)

SAME, NEAR = 1e-9, 1e-5
SPACINGS = ["leading", "linspace", "trailing"]
KINDS = ["eps", "x0", "v"]
VARIANCES = {
    "fixed_small": "fixed-small",
    "fixed_small_log": "fixed-small",
    "fixed_large": "fixed-large",
    "learned_range": "learned",
}
LINEAR = schedule.linear()
TABLES = {
    "linear": LINEAR,
    "scaled_linear": schedule.scaled_linear(1000, 1e-4, 0.02),
    "squaredcos_cap_v2": schedule.cosine(),
}


def close(one, other, tolerance):
    found = differences(one, other)
    assert max(found) < tolerance, found


def of_ddpm(spacing, steps, table=None, **settings):
    scheduler = DDPMScheduler(timestep_spacing=spacing, **settings)
    scheduler = scheduler if table is None else exact(scheduler, table)
    scheduler.set_timesteps(steps)
    return scheduler, whole_levels(scheduler)


def of_ddim(spacing, steps, table=None, **settings):
    scheduler = DDIMScheduler(timestep_spacing=spacing, **settings)
    scheduler = scheduler if table is None else exact(scheduler, table)
    scheduler.set_timesteps(steps)
    return scheduler, whole_levels(scheduler)


@pytest.mark.parametrize("steps", [1, 4, 30])
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("kind", KINDS)
def test_ddpm_of_every_prediction_and_spacing_clipped(kind, spacing, steps):
    scheduler, levels = of_ddpm(spacing, steps, LINEAR, prediction_type=THEIR_NAMES[kind])
    network = Network(LINEAR, kind, reach=1.3)
    walk = theirs(scheduler, network, levels, from_generator)
    close(ours(ddpm, Denoiser(network, LINEAR, kind), levels), walk, SAME)


@pytest.mark.parametrize("variance", VARIANCES)
@pytest.mark.parametrize("spacing", SPACINGS)
def test_ddpm_of_every_variance(variance, spacing):
    settings = {"variance_type": variance, "clip_sample": False}
    scheduler, levels = of_ddpm(spacing, 20, LINEAR, **settings)
    network = Network(LINEAR, variance=variance == "learned_range")
    walk = theirs(scheduler, network, levels, from_generator)
    denoiser = Denoiser(network, LINEAR, clip=False)
    found = differences(ours(ddpm, denoiser, levels, variance=VARIANCES[variance]), walk)
    # Their last step adds noise unless it is from time 0: see the test of this further down.
    last_is_theirs = spacing == "trailing" and not variance.startswith("fixed_small")
    assert max(found[:-1] if last_is_theirs else found) < SAME, found


@pytest.mark.parametrize("spacing", SPACINGS)
def test_ddpm_of_a_variance_that_the_network_answers_itself(spacing):
    """Their "learned" takes the variance as it is; ours, where it lies between the two fixed."""

    class Answering(Network):
        """The variance that the share comes to."""

        def forward(self, x, t, label=None):
            answer, share = super().forward(x, t, label).chunk(2, 1)
            time = int(t[0])
            follower = levels[levels.index(time) + 1]
            bar, next_bar = LINEAR.alpha_bar[time], LINEAR.alpha_bar[follower]
            large = 1 - bar / next_bar
            small = large * (1 - next_bar) / (1 - bar)
            share = (share + 1) / 2
            return torch.cat((answer, large**share * small ** (1 - share)), 1)

    scheduler, levels = of_ddpm(spacing, 20, LINEAR, variance_type="learned", clip_sample=False)
    walk = theirs(scheduler, Answering(LINEAR, variance=True), levels, from_generator)
    denoiser = Denoiser(Network(LINEAR, variance=True), LINEAR, clip=False)
    close(ours(ddpm, denoiser, levels, variance="learned"), walk, SAME)


@pytest.mark.parametrize(
    ("table", "steps"), [("linear", 1000), ("scaled_linear", 100), ("squaredcos_cap_v2", 100)]
)
def test_ddpm_of_every_table_and_over_all_thousand_steps(table, steps):
    settings = {"beta_schedule": table, "prediction_type": "v_prediction"}
    scheduler, levels = of_ddpm("leading", steps, TABLES[table], **settings)
    network = Network(TABLES[table], "v")
    walk = theirs(scheduler, network, levels, from_generator)
    close(ours(ddpm, Denoiser(network, TABLES[table], "v"), levels), walk, SAME)


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(("spacing", "steps"), [("leading", 7), ("leading", 30), ("trailing", 20)])
@pytest.mark.parametrize("kind", KINDS)
def test_ddim(kind, spacing, steps, eta, clip):
    settings = {"prediction_type": THEIR_NAMES[kind], "clip_sample": clip}
    scheduler, levels = of_ddim(spacing, steps, LINEAR, **settings)
    network = Network(LINEAR, kind, reach=1.3)

    def options(step):
        # Clipped, the noise must be that of the clipped image, or x is no longer of its level.
        return {"eta": eta, "variance_noise": DRAWS(step), "use_clipped_model_output": clip}

    walk = theirs(scheduler, network, levels, options)
    close(ours(ddim, Denoiser(network, LINEAR, kind, clip), levels, eta=eta), walk, SAME)


@pytest.mark.parametrize("kind", ["x0", "v"])
def test_from_zero_terminal_snr(kind):
    pure = LINEAR.with_zero_terminal_snr()
    settings = {
        "prediction_type": THEIR_NAMES[kind],
        "clip_sample": False,
        "rescale_betas_zero_snr": True,
    }
    network = Network(pure, kind)
    denoiser = Denoiser(network, pure, kind, clip=False)
    for make, sampler, options in (
        (of_ddpm, ddpm, from_generator),
        (of_ddim, ddim, lambda step: {}),
    ):
        scheduler, levels = make("trailing", 20, **settings)
        torch.testing.assert_close(
            scheduler.alphas_cumprod.double(), pure.alpha_bar[1:], rtol=0, atol=1e-6
        )
        scheduler.alphas_cumprod = pure.alpha_bar[1:]
        walk = theirs(scheduler, network, levels, options)
        close(ours(sampler, denoiser, levels), walk, SAME)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spacing", ["leading", "trailing"])
def test_as_they_are_shipped(kind, spacing):
    """With their own tables, ours with ours; leading steps stop where float32 rounds beta off."""
    network = Network(LINEAR, kind)
    denoiser = Denoiser(network, LINEAR, kind, clip=False)
    settings = {"prediction_type": THEIR_NAMES[kind], "clip_sample": False, "steps_offset": 20}
    for make, sampler, options in (
        (of_ddpm, ddpm, from_generator),
        (of_ddim, ddim, lambda step: {}),
    ):
        scheduler, levels = make(spacing, 20, **settings)
        close(ours(sampler, denoiser, levels), theirs(scheduler, network, levels, options), NEAR)
