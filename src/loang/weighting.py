"""How much the error at each noise level counts: fixed weights, each right for every prediction."""

from typing import Literal, get_args

import torch
from jaxtyping import Float, Real
from torch import Tensor

from loang.parameterization import Parameterization, squared_error_ratio
from loang.schedule import Discrete, Schedule

Weighting = Literal["simple", "eps", "vlb", "min-snr", "truncated-snr", "p2", "edm"]
WEIGHTINGS: tuple[Weighting, ...] = get_args(Weighting)

MIN_SNR_GAMMA = 5.0
P2_GAMMA, P2_K = 1.0, 1.0


def weight(
    weighting: Weighting,
    kind: Parameterization,
    schedule: Schedule,
    t: Real[Tensor, " n"],
    deviation: float = 0.5,
    gamma: float = MIN_SNR_GAMMA,
) -> Float[Tensor, " n"]:
    """The factor of the squared error of a prediction of this kind at time t, above 0 and up to T.

    Each but "simple" is a weight of the squared error of x0, and so the same objective whatever
    is predicted: it is divided by `squared_error_ratio`.

    - "simple": 1, whatever is predicted (Ho et al. 2020, eq. 14).
    - "eps": SNR; as if the noise's squared error were taken with weight 1.
    - "vlb": the variational bound's, (21): Ho et al. 2020, eq. 12, in nats for each value. At
      t = 1 the posterior's variance is 0; its term is a likelihood, not a KL, and that of t = 2
      takes its place. Of a schedule in steps only.
    - "min-snr": min(SNR, gamma) (Hang et al. 2023), so divided by SNR for eps and by SNR + 1 for v.
    - "truncated-snr": max(SNR, 1) (Salimans and Ho 2022, section 4).
    - "p2": SNR / (1 + SNR): levels at which only noise that nobody sees is left count for less
      (Choi et al. 2022, with gamma = k = 1).
    - "edm": (sigma² + d²) / (sigma d)², for images of standard deviation d: as if the squared
      error of a prediction of kind "edm" were taken with weight 1 (Karras et al. 2022, table 1).

    Raises:
        ValueError: "vlb" of a schedule of real time.
    """
    signal, noise = schedule.signal(t), schedule.noise(t)
    snr = (signal / noise).square()
    if weighting == "simple":
        return torch.ones_like(snr)
    if weighting == "eps":
        of_x0 = snr
    elif weighting == "min-snr":
        of_x0 = snr.clamp(max=gamma)
    elif weighting == "truncated-snr":
        of_x0 = snr.clamp(min=1)
    elif weighting == "p2":
        of_x0 = snr / (P2_K + snr) ** P2_GAMMA
    elif weighting == "edm":
        of_x0 = squared_error_ratio("edm", signal, noise, deviation)
    else:
        of_x0 = _bound(schedule, t)
    return of_x0 / squared_error_ratio(kind, signal, noise, deviation)


def _bound(schedule: Schedule, t: Real[Tensor, " n"]) -> Float[Tensor, " n"]:
    """(21) for eps, times SNR: half the SNR that the step from t to t - 1 wins.

    Kingma et al. 2021, eq. 13.
    """
    if not isinstance(schedule, Discrete):
        raise ValueError("the bound of a schedule of real time has no finite weight")
    later = t.clamp(min=2)
    of_x0 = (schedule.log_snr(later - 1).exp() - schedule.log_snr(later).exp()) / 2
    at_first = schedule.log_snr(t).exp() / schedule.log_snr(later).exp()
    return torch.where(t >= 2, of_x0, of_x0 * at_first)
