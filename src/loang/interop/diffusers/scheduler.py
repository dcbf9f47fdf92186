"""diffusers' schedulers and loang's schedule, parameterisation and way of sampling.

Their schedule is that of training; the rest says how to walk. Facts: diffusers 0.42.1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loang.build import build_schedule
from loang.config import Settings
from loang.interop.diffusers.keys import Keys
from loang.schedule import Discrete

KINDS = {"linear": "linear", "scaled_linear": "scaled-linear", "squaredcos_cap_v2": "cosine"}
PREDICTS = {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}
VARIANCES = {
    "fixed_small": "fixed-small",
    "fixed_large": "fixed-large",
    "learned_range": "learned",
}
SAMPLERS = {
    "DDPMScheduler": "ddpm",
    "DDIMScheduler": "ddim",
    "PNDMScheduler": "ipndm",
    "DPMSolverMultistepScheduler": "dpmpp-2m",
    "DPMSolverSinglestepScheduler": "dpmpp-2m",
    "UniPCMultistepScheduler": "unipc",
    "DEISMultistepScheduler": "deis",
    "EulerDiscreteScheduler": "euler",
    "EulerAncestralDiscreteScheduler": "euler-ancestral",
    "HeunDiscreteScheduler": "heun",
}
"""Those that are trained on the same schedule, and the sampler nearest to each."""
CLIPPING = {"DDPMScheduler": True, "DDIMScheduler": True, "HeunDiscreteScheduler": False}
"""Those that can clip, and whether they do where nothing is said."""
LEADING = ("DDPMScheduler", "DDIMScheduler", "PNDMScheduler")
"""Those whose walks are spaced as "leading" ones where nothing is said; others' as "linspace"."""
_OF_A_WALK = (
    *("algorithm_type", "disable_corrector", "euler_at_final", "final_sigmas_type", "flow_shift"),
    *("interpolation_type", "lambda_min_clipped", "lower_order_final", "predict_x0"),
    *("sigma_max", "sigma_min", "skip_prk_steps", "solver_order", "solver_p", "solver_type"),
    *("time_shift_type", "timestep_type", "shift_terminal", "use_beta_sigmas"),
    *("use_exponential_sigmas", "use_karras_sigmas", "use_lu_lambdas"),
)
"""How such a solver takes its steps, which is loang's own affair here."""
_OF_THRESHOLDS = ("dynamic_thresholding_ratio", "sample_max_value")
FEW = 50
"""Steps where diffusers' pipeline takes as many."""


@dataclass(frozen=True)
class Scheduler:
    """What a configuration says.

    Args:
        schedule: loang's settings, as plain values.
        denoiser: the same.
        sampling: the same.
        notices: sentences on what is done otherwise than in diffusers.
    """

    schedule: dict[str, Any]
    denoiser: dict[str, Any]
    sampling: dict[str, Any]
    notices: tuple[str, ...]


def read(values: Mapping[str, Any], *, learns_variance: bool) -> Scheduler:
    """What the configuration of a scheduler says.

    Args:
        values: of it.
        learns_variance: whether the network answers twice the channels.

    Raises:
        LoangError: loang's schedules can't be like that; says which key.
    """
    keys, notices = Keys(values, "scheduler"), []
    name = values.get("_class_name", "DDPMScheduler")
    if not isinstance(name, str) or name not in SAMPLERS:
        raise keys.refusal("_class_name", name)
    sampler = SAMPLERS[name]
    steps = keys.whole("num_train_timesteps", 1000)
    kind = keys.one_of("beta_schedule", "linear", KINDS)
    ends = {
        "beta_start": keys.real("beta_start", 0.00085 if sampler == "heun" else 1e-4),
        "beta_end": keys.real("beta_end", 0.012 if sampler == "heun" else 0.02),
    }
    schedule = {
        "kind": kind,
        "steps": steps,
        "zero_terminal_snr": keys.flag("rescale_betas_zero_snr", False),
        "counted_from": 0,
        **(ends if kind != "cosine" else {}),
    }
    keys.must_be("trained_betas", None)
    keys.must_be("timestep_values", None)  # as the next, of versions before 0.12
    keys.must_be("predict_epsilon", True)
    keys.must_be("thresholding", False)
    keys.must_be("use_flow_sigmas", False)
    keys.must_be("use_dynamic_shifting", False)
    clip = keys.flag("clip_sample", CLIPPING.get(name, False))
    if clip:
        keys.must_be("clip_sample_range", 1)
    keys.ignore("clip_sample_range", *_OF_THRESHOLDS, *_OF_A_WALK)
    predicts = keys.one_of("prediction_type", "epsilon", PREDICTS)
    sampling: dict[str, Any] = {"sampler": sampler, "steps": min(FEW, steps)}
    if sampler == "ddpm":
        sampling["steps"] = steps
        sampling["variance"] = keys.one_of("variance_type", "fixed_small", VARIANCES)
        if (sampling["variance"] == "learned") != learns_variance:
            raise keys.refusal("variance_type", values.get("variance_type", "fixed_small"))
    else:
        keys.ignore("variance_type")
    spacings = {"leading": "leading", "linspace": "linspace", "trailing": "trailing"}
    usual = "leading" if name in LEADING else "linspace"
    spacing = keys.one_of("timestep_spacing", usual, spacings)
    if spacing != "trailing" and sampling["steps"] < steps:
        sampling["spacing"] = "trailing"
        notices.append(
            f"Its walks are spaced as diffusers' {spacing!r}; loang's begin at the last step, as"
            " 'trailing' ones do."
        )
    if clip and sampler != "ddpm":
        notices.append(
            "Where an estimate of the image is clipped, loang derives that of the noise anew, as"
            " diffusers does with use_clipped_model_output=True."
        )
    if sampler not in ("ddpm", "ddim"):
        notices.append(f"In the place of its {name}, loang walks by its own {sampler}.")
    if not keys.flag("set_alpha_to_one", name != "PNDMScheduler"):
        notices.append("Its walks end at the noise of the first step; loang's, at the image.")
    keys.ignore("steps_offset", "tensor_format")  # the first is of a spacing that is not loang's
    keys.finish()
    denoiser = {"predicts": predicts, "clip": clip, "learn_variance": learns_variance}
    return Scheduler(schedule, denoiser, sampling, tuple(notices))


def write(settings: Settings) -> dict[str, Any]:
    """The configuration of the DDPMScheduler of the same schedule, which DDIMPipeline takes too.

    Args:
        settings: of a model that `limits.check` let through.
    """
    chosen, sampling = settings.schedule, settings.sampling
    schedule = build_schedule(chosen)
    assert isinstance(schedule, Discrete)
    named = {ours: theirs for theirs, ours in KINDS.items()}
    of_steps = chosen.kind not in named
    fixed = "fixed-small" if sampling.variance == "learned" else sampling.variance
    variance = "learned" if settings.denoiser.learn_variance else fixed
    beta = schedule.beta[1:]
    curved = chosen.kind == "scaled-linear"
    defaults = (0.00085, 0.012) if curved else (1e-4, 0.02)
    return {
        "beta_end": defaults[1] if chosen.beta_end is None else chosen.beta_end,
        "beta_schedule": named.get(chosen.kind, "linear"),
        "beta_start": defaults[0] if chosen.beta_start is None else chosen.beta_start,
        "clip_sample": settings.denoiser.clip,
        "clip_sample_range": 1.0,
        "dynamic_thresholding_ratio": 0.995,
        "num_train_timesteps": chosen.steps,
        "prediction_type": {ours: name for name, ours in PREDICTS.items()}[
            settings.denoiser.predicts
        ],
        "rescale_betas_zero_snr": chosen.zero_terminal_snr and not of_steps,
        "sample_max_value": 1.0,
        "steps_offset": 0,
        "thresholding": False,
        "timestep_spacing": "trailing",
        "trained_betas": beta.tolist() if of_steps else None,
        "variance_type": {ours: name for name, ours in VARIANCES.items()}[variance],
    }
