"""Step by step beside the fast solvers of diffusers, on the same network and noise.

They compute in float32, so 1e-5 of the largest value of a level is what can be asked for.
"""

import math
from functools import partial

import numpy as np
import pytest
import torch

from loang import schedule
from loang.denoiser import Denoiser
from loang.samplers import (
    dpmpp_2m,
    dpmpp_2m_sde,
    euler,
    euler_ancestral,
    heun,
    ipndm,
    unipc,
)
from loang.samplers.multistep import integrals, multistep, points

pytest.importorskip("diffusers", reason="needs loang[conformance]")

from diffusers import (
    DEISMultistepScheduler,
    DPMSolverMultistepScheduler,
    EDMDPMSolverMultistepScheduler,
    EDMEulerScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    HeunDiscreteScheduler,
    IPNDMScheduler,
    UniPCMultistepScheduler,
)
from diffusers_steps import (
    DRAWS,
    THEIR_NAMES,
    Network,
    Raw,
    differences,
    exact,
    from_generator,
    of_sigmas,
    ours,
    theirs,
    whole_levels,
)

# They hand torch tensors to numpy in a way that numpy 2 calls old.
pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")

NEAR = 1e-5
SPACINGS = ["leading", "linspace", "trailing"]
KINDS = ["eps", "x0", "v"]
LINEAR, EDM, FLOW = schedule.linear(), schedule.Edm(), schedule.Flow()


def close(one, other, tolerance=NEAR):
    found = differences(one, other)
    assert max(found) < tolerance, found


def no_options(step):
    return {}


def over_signal(sigma):
    """How large x / signal is beside x."""
    return (1 + sigma.square()).sqrt()


@pytest.mark.parametrize("steps", [4, 20])
@pytest.mark.parametrize("spacing", [*SPACINGS, "karras"])
@pytest.mark.parametrize("kind", KINDS)
def test_euler(kind, spacing, steps):
    chosen = {"use_karras_sigmas": True} if spacing == "karras" else {"timestep_spacing": spacing}
    scheduler = EulerDiscreteScheduler(prediction_type=THEIR_NAMES[kind], **chosen)
    exact(scheduler, LINEAR).set_timesteps(steps)
    network, levels = Network(LINEAR, kind), of_sigmas(scheduler, LINEAR)
    walk = theirs(scheduler, network, levels, size=over_signal)
    close(ours(euler, Denoiser(network, LINEAR, kind, clip=False), levels), walk)


@pytest.mark.parametrize("steps", [4, 20])
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("kind", ["eps", "v"])
def test_euler_ancestral(kind, spacing, steps):
    scheduler = EulerAncestralDiscreteScheduler(
        prediction_type=THEIR_NAMES[kind], timestep_spacing=spacing
    )
    exact(scheduler, LINEAR).set_timesteps(steps)
    network, levels = Network(LINEAR, kind), of_sigmas(scheduler, LINEAR)
    walk = theirs(scheduler, network, levels, from_generator, over_signal)
    close(ours(euler_ancestral, Denoiser(network, LINEAR, kind, clip=False), levels), walk)


@pytest.mark.parametrize("steps", [4, 20])
@pytest.mark.parametrize("spacing", [*SPACINGS, "karras"])
@pytest.mark.parametrize("kind", KINDS)
def test_heun(kind, spacing, steps):
    chosen = {"use_karras_sigmas": True} if spacing == "karras" else {"timestep_spacing": spacing}
    scheduler = HeunDiscreteScheduler(
        beta_start=1e-4, beta_end=0.02, prediction_type=THEIR_NAMES[kind], **chosen
    )
    exact(scheduler, LINEAR).set_timesteps(steps)
    # Their list names each level twice: once reached by Euler's step, once corrected.
    doubled = of_sigmas(scheduler, LINEAR)
    network, levels = Network(LINEAR, kind), [*doubled[::2], 0]
    walk = theirs(scheduler, network, doubled, size=over_signal, double=True)
    close(ours(heun, Denoiser(network, LINEAR, kind, clip=False), levels), walk[::2] + walk[-1:])


@pytest.mark.parametrize("steps", [2, 3, 10, 30])
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sampler", [dpmpp_2m, unipc])
def test_dpm_solver_pp_and_unipc(sampler, kind, spacing, steps):
    settings = {"prediction_type": THEIR_NAMES[kind], "timestep_spacing": spacing}
    if sampler is unipc:
        scheduler = UniPCMultistepScheduler(solver_order=3, **settings)
    else:
        scheduler = DPMSolverMultistepScheduler(**settings)
    exact(scheduler, LINEAR).set_timesteps(steps)
    network, levels = Network(LINEAR, kind), whole_levels(scheduler)
    walk = theirs(scheduler, network, levels)
    close(ours(sampler, Denoiser(network, LINEAR, kind, clip=False), levels), walk)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_sde_of_dpm_solver_pp(kind, spacing):
    scheduler = DPMSolverMultistepScheduler(
        algorithm_type="sde-dpmsolver++",
        prediction_type=THEIR_NAMES[kind],
        timestep_spacing=spacing,
    )
    exact(scheduler, LINEAR).set_timesteps(20)
    network, levels = Network(LINEAR, kind), whole_levels(scheduler)
    walk = theirs(scheduler, network, levels, lambda step: {"variance_noise": DRAWS(step)})
    close(ours(dpmpp_2m_sde, Denoiser(network, LINEAR, kind, clip=False), levels), walk)


@pytest.mark.parametrize(
    ("sampler", "make"),
    [
        (euler, EulerDiscreteScheduler),
        (dpmpp_2m, DPMSolverMultistepScheduler),
        (unipc, partial(UniPCMultistepScheduler, solver_order=3)),
    ],
)
@pytest.mark.parametrize("spacing", ["trailing", "karras"])
def test_as_they_are_shipped(sampler, make, spacing):
    """With their own tables, which are ours rounded to float32."""
    chosen = {"use_karras_sigmas": True} if spacing == "karras" else {"timestep_spacing": spacing}
    scheduler = make(**chosen)
    scheduler.set_timesteps(20)
    network, levels = Network(LINEAR), of_sigmas(scheduler, LINEAR)
    walk = theirs(scheduler, network, levels, size=over_signal if sampler is euler else None)
    close(ours(sampler, Denoiser(network, LINEAR, clip=False), levels), walk)


@pytest.mark.parametrize("steps", [3, 18])
@pytest.mark.parametrize(
    ("sampler", "scheduler", "options"),
    [
        (euler, EDMEulerScheduler(), no_options),
        (dpmpp_2m, EDMDPMSolverMultistepScheduler(), no_options),
        (
            dpmpp_2m_sde,
            EDMDPMSolverMultistepScheduler(algorithm_type="sde-dpmsolver++"),
            from_generator,
        ),
    ],
)
def test_edm(sampler, scheduler, options, steps):
    """Preconditioning, levels (Karras et al. 2022, eq. 5 and 7) and solvers."""
    scheduler.set_timesteps(steps)
    levels = EDM.levels(steps)
    assert scheduler.sigmas.tolist() == pytest.approx(levels, rel=1e-5)
    network = Raw(EDM)
    walk = theirs(scheduler, network, levels, options)
    close(ours(sampler, Denoiser(network, EDM, "edm", clip=False), levels), walk)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_euler_on_a_flow(shift):
    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(20)
    levels, network = scheduler.sigmas.tolist(), Raw(FLOW)
    assert levels[0] == FLOW.T
    for told, level in zip(scheduler.timesteps, levels, strict=False):
        assert float(told) == pytest.approx(float(FLOW.condition(torch.tensor(level))), rel=1e-6)
    walk = theirs(scheduler, network, levels)
    close(ours(euler, Denoiser(network, FLOW, "flow", clip=False), levels), walk)


def test_dpm_solver_pp_on_a_flow():
    scheduler = DPMSolverMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
    )
    scheduler.set_timesteps(12)
    levels, network = scheduler.sigmas.tolist(), Raw(FLOW)
    walk = theirs(scheduler, network, levels)
    close(ours(dpmpp_2m, Denoiser(network, FLOW, "flow", clip=False), levels), walk)


def test_ipndm():
    """On our levels, which their scheduler takes as a list of noises; it reads v alone.

    All but the last step: theirs extrapolates to the clean image, too.
    """
    scheduler, levels = IPNDMScheduler(), LINEAR.levels(12)
    scheduler.set_timesteps(12)
    at = torch.tensor(levels)
    scheduler.betas, scheduler.alphas = LINEAR.noise(at), LINEAR.signal(at)
    network = Network(LINEAR, "v")
    walk = theirs(scheduler, network, levels)
    found = ours(ipndm, Denoiser(network, LINEAR, "v", clip=False), levels)
    close(found[:-1], walk[:-1], 1e-9)


@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_multistep_of_noise_with_the_weights_of_log_rho_is_their_deis(kind, order):
    """Theirs takes the noise for a polynomial of log(sigma), our `deis` for one of the time.

    Theirs ends at time 1, and not at the clean image.
    """

    def of_log_sigma(schedule, levels, s):
        at, shares = points(math.log(levels[0].sigma), math.log(s.sigma))
        return integrals([math.log(t.sigma) for t in levels], at, shares * np.exp(at))[1:]

    def in_log(denoiser, x, levels, noise):
        return multistep(denoiser, x, levels, None, order=order, of="eps", weights=of_log_sigma)

    scheduler = DEISMultistepScheduler(
        solver_order=order, prediction_type=THEIR_NAMES[kind], timestep_spacing="trailing"
    )
    exact(scheduler, LINEAR).set_timesteps(20)
    network, levels = Network(LINEAR, kind), [*whole_levels(scheduler)[:-1], 1]
    walk = theirs(scheduler, network, levels, double=True)
    found = ours(in_log, Denoiser(network, LINEAR, kind, clip=False), [*levels, 0])
    close(found[:-1], walk)
