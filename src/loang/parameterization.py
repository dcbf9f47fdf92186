"""What a network predicts, each to each: noise, image, velocity, flow, EDM's mixture.

`x_t = signal * x0 + noise * eps`. Every kind is one linear combination of x0 and eps:

- "eps", "x0": the noise, the image.
- "v": signal * eps - noise * x0 (Salimans and Ho 2022, appendix D).
- "flow": eps - x0, the velocity of a straight line from image to noise (Liu et al. 2023).
- "edm": (noise * x0 - signal * d² * eps) / (d * sqrt(noise² + signal² * d²)), of unit variance
  for images whose standard deviation is d: the F of Karras et al. 2022, eq. 7-8, written for any
  schedule. For d = 1 it is -v.

Together with x_t each gives x0 and eps, by solving two equations.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Parameterization = Literal["eps", "x0", "v", "flow", "edm"]

_Image = Float[Tensor, "n *shape"]
_Factor = Float[Tensor, "n *ones"]


def mixture(
    kind: Parameterization, signal: _Factor, noise: _Factor, deviation: float = 0.5
) -> tuple[_Factor, _Factor]:
    """(p, q): a network of this kind should answer p * x0 + q * eps."""
    one, zero = torch.ones_like(signal), torch.zeros_like(signal)
    if kind == "eps":
        return zero, one
    if kind == "x0":
        return one, zero
    if kind == "v":
        return -noise, signal
    if kind == "flow":
        return -one, one
    size = edm_size(signal, noise, deviation)
    return noise / (deviation * size), -signal * deviation / size


def edm_size(signal: _Factor, noise: _Factor, deviation: float) -> _Factor:
    """The standard deviation of x_t, for images whose own is `deviation`."""
    return (noise.square() + (signal * deviation).square()).sqrt()


def target(
    kind: Parameterization,
    x0: _Image,
    eps: _Image,
    signal: _Factor,
    noise: _Factor,
    deviation: float = 0.5,
) -> _Image:
    """What a network of this kind should answer for x_t = signal * x0 + noise * eps."""
    if kind == "eps":
        return eps
    if kind == "x0":
        return x0
    p, q = mixture(kind, signal, noise, deviation)
    return p * x0 + q * eps


def to_x0(
    kind: Parameterization,
    prediction: _Image,
    x_t: _Image,
    signal: _Factor,
    noise: _Factor,
    deviation: float = 0.5,
) -> _Image:
    """The image in a prediction; from eps, undefined where the signal is 0."""
    if kind == "x0":
        return prediction
    p, q = mixture(kind, signal, noise, deviation)
    return (q * x_t - noise * prediction) / (q * signal - p * noise)


def to_eps(
    kind: Parameterization,
    prediction: _Image,
    x_t: _Image,
    signal: _Factor,
    noise: _Factor,
    deviation: float = 0.5,
) -> _Image:
    """The noise in a prediction; from x0, undefined where the noise is 0."""
    if kind == "eps":
        return prediction
    p, q = mixture(kind, signal, noise, deviation)
    return (signal * prediction - p * x_t) / (q * signal - p * noise)


def to_v(
    kind: Parameterization,
    prediction: _Image,
    x_t: _Image,
    signal: _Factor,
    noise: _Factor,
    deviation: float = 0.5,
) -> _Image:
    """The velocity in a prediction; from eps undefined at signal 0, from x0 at noise 0."""
    if kind == "v":
        return prediction
    x0 = to_x0(kind, prediction, x_t, signal, noise, deviation)
    return signal * to_eps(kind, prediction, x_t, signal, noise, deviation) - noise * x0


def squared_error_ratio(
    kind: Parameterization,
    signal: Float[Tensor, " n"],
    noise: Float[Tensor, " n"],
    deviation: float = 0.5,
) -> Float[Tensor, " n"]:
    """How many times the squared error of x0 the squared error of a prediction is.

    An error e in x0 is one of -e * signal / noise in eps, so of (p - q * signal / noise) * e in
    p * x0 + q * eps. eps: SNR; x0: 1; v: SNR + 1 where signal² + noise² = 1 (Salimans and Ho
    2022, section 4).
    """
    p, q = mixture(kind, signal, noise, deviation)
    return (p - q * signal / noise).square()
