"""What training minimises: a weighted squared error of the network's answer."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int, Real
from torch import Tensor

from loang import gaussian, parameterization, process
from loang.denoiser import Denoiser, Prediction
from loang.process import like
from loang.schedule.base import widest
from loang.uncertainty import Uncertainty
from loang.weighting import MIN_SNR_GAMMA, Weighting, weight

HYBRID = 0.001
"""The bound's share of the hybrid loss: Nichol and Dhariwal 2021, section 3.1."""


class Loss(NamedTuple):
    """Per image: the error that is minimised, and the same without its weight."""

    weighted: Float[Tensor, " n"]
    plain: Float[Tensor, " n"]


def denoising_loss(
    denoiser: Denoiser,
    x0: Float[Tensor, "n c h w"],
    t: Real[Tensor, " n"],
    eps: Float[Tensor, "n c h w"],
    label: Int[Tensor, " n"] | None = None,
    weighting: Weighting | Uncertainty = "simple",
    augmentation: Float[Tensor, "n parameters"] | None = None,
    *,
    given: Float[Tensor, "n c h w"] | None = None,
    gamma: float = MIN_SNR_GAMMA,
    pixel_levels: int = 256,
) -> Loss:
    """The squared error of the network's own answer, mean over an image's values: (22).

    Ho et al. 2020, algorithm 1 and eq. 14, for an eps-network and the weighting "simple". Where
    the network answers a variance too, that is learnt by the variational bound, which joins the
    weighted loss: L_hybrid = L_simple + 0.001 L_vlb (Nichol and Dhariwal 2021, eq. 16), L_vlb being
    a sum over all T steps, in nats for each value.

    Args:
        denoiser: in training, or not.
        x0: images in [-1, 1].
        t: times, above 0 and up to T.
        eps: standard normal noise.
        label: one an image.
        weighting: a fixed weight (weighting.py) or a learnt one.
        augmentation: how x0 was changed, for a network that is told (augment.py).
        given: another image, for a network that is shown its own last estimate.
        gamma: of "min-snr".
        pixel_levels: how many values a pixel can have, for the bound's last step.
    """
    schedule, kind = denoiser.schedule, denoiser.kind
    x_t = process.diffuse(schedule, x0, t, eps)
    signal, noise = like(schedule.signal(t), x0), like(schedule.noise(t), x0)
    target = parameterization.target(kind, x0, eps, signal, noise, denoiser.deviation)
    prediction = denoiser.predict(x_t, t, label, augmentation, given)
    plain = (prediction.image - target).square().flatten(1).mean(1)
    if isinstance(weighting, Uncertainty):
        weighted = weighting.weighed(plain, schedule.log_snr(t))
    else:
        factor = weight(weighting, kind, schedule, t, denoiser.deviation, gamma)
        weighted = factor.to(plain.dtype) * plain
    if prediction.variance is not None:
        bound = step_bound(denoiser, prediction, x0, x_t, t, pixel_levels)
        weighted = weighted + HYBRID * schedule.T * bound
    return Loss(weighted, plain)


def step_bound(
    denoiser: Denoiser,
    prediction: Prediction,
    x0: Float[Tensor, "n c h w"],
    x_t: Float[Tensor, "n c h w"],
    t: Real[Tensor, " n"],
    pixel_levels: int = 256,
) -> Float[Tensor, " n"]:
    """The term of step t of the variational bound, in nats, mean over an image's values.

    Ho et al. 2020, eq. 5: for t of 2 and more KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t)), for
    t = 1 the negative log-likelihood of the image. It teaches the variance alone: the prediction
    of the image is taken as it is, without a gradient (Nichol and Dhariwal 2021, section 3.1).

    Args:
        denoiser: whose prediction it is; of a schedule in steps.
        prediction: with a variance.
        x0: images whose values lie on `pixel_levels` even levels from -1 to 1.
        x_t: as the network saw it.
        t: in 1..T.
        pixel_levels: 256 for 8 bits.

    Raises:
        ValueError: the prediction has no variance.
    """
    if prediction.variance is None:
        raise ValueError("the network answers no variance")
    schedule = denoiser.schedule
    seen = parameterization.to_x0(
        denoiser.kind,
        prediction.image.detach(),
        x_t,
        like(schedule.signal(t), x_t),
        like(schedule.noise(t), x_t),
        denoiser.deviation,
    )
    s = t - 1
    mean = process.posterior_mean(schedule, x_t, seen, t, s)
    log_variance = process.learned_log_variance(schedule, t, s, prediction.variance)
    true_mean = process.posterior_mean(schedule, x_t, x0, t, s)
    true_log_variance = like(process.posterior_log_variance(schedule, t, s), x_t)
    apart = gaussian.kl(true_mean, true_log_variance, mean, log_variance)
    # The bins of 16 bits are too narrow for the digits of float32.
    wide = widest(x0.device)
    last = -gaussian.discretized_log_likelihood(
        x0.to(wide), mean.to(wide), log_variance.to(wide), pixel_levels
    )
    apart, last = (each.flatten(1).mean(1) for each in (apart, last))
    return torch.where(s == 0, last.to(apart.dtype), apart)
