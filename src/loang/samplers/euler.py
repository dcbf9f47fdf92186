"""Euler's method in sigma = noise / signal, and its ancestral form: DDIM by other names.

In y = x / signal the probability-flow ODE is dy = eps dsigma (Karras et al. 2022, eq. 3), and
Euler's step is y_s = y_t + (sigma_s - sigma_t) eps. With y_t = x0 + sigma_t eps that is
y_s = x0 + sigma_s eps, and times signal_s x_s = signal_s x0 + noise_s eps: DDIM with eta = 0.

The ancestral form steps down to sqrt(sigma_s² - up²) instead and adds noise of the size
up² = sigma_s² (sigma_t² - sigma_s²) / sigma_t². Times signal_s² that is noise_s² / noise_t² *
(noise_t² - noise_s² signal_t² / signal_s²), the variance of q(x_s | x_t, x_0): DDIM with eta = 1.
Written as DDIM, both also start from pure noise, where sigma is infinite.
"""

from collections.abc import Iterator, Sequence

from jaxtyping import Float, Int
from torch import Tensor

from loang.denoiser import DenoiserLike
from loang.samplers.ddim import ddim
from loang.samplers.state import Noise, State


def euler(
    denoiser: DenoiserLike,
    x: Float[Tensor, "n c h w"],
    levels: Sequence[float],
    noise: Noise,
    label: Int[Tensor, " n"] | None = None,
) -> Iterator[State]:
    """Order 1."""
    return ddim(denoiser, x, levels, noise, label, eta=0.0)


def euler_ancestral(
    denoiser: DenoiserLike,
    x: Float[Tensor, "n c h w"],
    levels: Sequence[float],
    noise: Noise,
    label: Int[Tensor, " n"] | None = None,
) -> Iterator[State]:
    """As much new noise a step as Ho et al. 2020 add."""
    return ddim(denoiser, x, levels, noise, label, eta=1.0)
