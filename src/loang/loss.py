"""What training minimises: a weighted squared error of the network's answer."""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int, Real
from torch import Tensor

from loang import parameterization, process
from loang.denoiser import Denoiser
from loang.parameterization import Parameterization, squared_error_ratio
from loang.process import like
from loang.schedule import Schedule

Weighting = Literal["simple", "eps", "vlb", "min-snr"]


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
    weighting: Weighting = "simple",
    augmentation: Float[Tensor, "n parameters"] | None = None,
) -> Loss:
    """The squared error of the network's own answer, mean over an image's values: (22).

    Ho et al. 2020, algorithm 1 and eq. 14, for an eps-network and the weighting "simple".
    `augmentation` says how x0 was changed, to a network that is told (augment.py).
    """
    schedule, kind = denoiser.schedule, denoiser.kind
    x_t = process.diffuse(schedule, x0, t, eps)
    signal, noise = like(schedule.signal(t), x0), like(schedule.noise(t), x0)
    target = parameterization.target(kind, x0, eps, signal, noise, denoiser.deviation)
    answer = denoiser.predict(x_t, t, label, augmentation).image
    plain = (answer - target).square().flatten(1).mean(1)
    factor = weight(weighting, kind, schedule, t, denoiser.deviation)
    return Loss(factor.to(plain.dtype) * plain, plain)


def weight(
    weighting: Weighting,
    kind: Parameterization,
    schedule: Schedule,
    t: Real[Tensor, " n"],
    deviation: float = 0.5,
) -> Float[Tensor, " n"]:
    """The factor of the squared error of a prediction of this kind at time t in 1..T.

    - "simple": 1, whatever is predicted (Ho et al. 2020, eq. 14).
    - "eps": as if the noise's squared error were taken with weight 1.
    - "vlb": the variational bound's, (21): Ho et al. 2020, eq. 12, in nats for each value. At
      t = 1 the posterior's variance is 0; its term is a likelihood, not a KL, and that of t = 2
      takes its place.
    - "min-snr": min(SNR, 5) in units of x0 (Hang et al. 2023), so divided by SNR for eps and by
      SNR + 1 for v.
    """
    snr = schedule.log_snr(t).exp()
    if weighting == "simple":
        return torch.ones_like(snr)
    if weighting == "eps":
        of_x0 = snr
    elif weighting == "min-snr":
        of_x0 = snr.clamp(max=5.0)
    else:
        # (21) for eps, times SNR for x0, comes to half the SNR that the step from t to t-1 wins
        # (Kingma et al. 2021, eq. 13).
        later = t.clamp(min=2)
        of_x0 = (schedule.log_snr(later - 1).exp() - schedule.log_snr(later).exp()) / 2
        of_x0 = torch.where(t >= 2, of_x0, of_x0 * snr / schedule.log_snr(later).exp())
    return of_x0 / squared_error_ratio(kind, schedule.signal(t), schedule.noise(t), deviation)
