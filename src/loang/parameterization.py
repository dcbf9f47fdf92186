"""What a network predicts: the noise (eps), the image (x0) or the velocity (v), each to each.

With `x_t = signal * x0 + noise * eps` and signal² + noise² = 1, the pair (x0, eps) turned by the
angle of (signal, noise) is (x_t, v), `v = signal * eps - noise * x0` (Salimans and Ho 2022,
appendix D). Two of the four give the others.
"""

from typing import Literal

from jaxtyping import Float
from torch import Tensor

Parameterization = Literal["eps", "x0", "v"]

_Image = Float[Tensor, "n *shape"]
_Factor = Float[Tensor, "n *ones"]


def target(
    kind: Parameterization, x0: _Image, eps: _Image, signal: _Factor, noise: _Factor
) -> _Image:
    """What a network of this kind should answer for x_t = signal * x0 + noise * eps."""
    if kind == "eps":
        return eps
    if kind == "x0":
        return x0
    return signal * eps - noise * x0


def to_x0(
    kind: Parameterization, prediction: _Image, x_t: _Image, signal: _Factor, noise: _Factor
) -> _Image:
    """The image in a prediction; from eps, undefined where the signal is 0."""
    if kind == "eps":
        return (x_t - noise * prediction) / signal
    if kind == "x0":
        return prediction
    return signal * x_t - noise * prediction


def to_eps(
    kind: Parameterization, prediction: _Image, x_t: _Image, signal: _Factor, noise: _Factor
) -> _Image:
    """The noise in a prediction; from x0, undefined where the noise is 0."""
    if kind == "eps":
        return prediction
    if kind == "x0":
        return (x_t - signal * prediction) / noise
    return noise * x_t + signal * prediction


def to_v(
    kind: Parameterization, prediction: _Image, x_t: _Image, signal: _Factor, noise: _Factor
) -> _Image:
    """The velocity in a prediction; from eps undefined at signal 0, from x0 at noise 0."""
    if kind == "eps":
        return (prediction - noise * x_t) / signal
    if kind == "x0":
        return (signal * x_t - prediction) / noise
    return prediction


def squared_error_ratio(kind: Parameterization, snr: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """How many times the squared error of x0 the squared error of a prediction is.

    eps: SNR; x0: 1; v: SNR + 1 (Salimans and Ho 2022, section 4).
    """
    if kind == "eps":
        return snr
    if kind == "x0":
        return snr.new_ones(()).expand_as(snr)
    return snr + 1
