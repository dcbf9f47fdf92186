"""The map from stored values to the network's range [-1, 1], and back: the spec's own rule.

What comes back is what was stored, to the last bit: for whole numbers of 8 and 16 bits always, for
real numbers where their range is [-1, 1] (the map is then the identity). In any other range of real
numbers the network's float32 has fewer steps near `low` than the stored float32 may have there;
what comes back differs by at most 2^-24 of the range.
"""

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from loang.data.spec import FULL_RANGE, ImageSpec


def to_model(pixels: Shaped[np.ndarray, "n h w c"], spec: ImageSpec) -> Float[Tensor, "n c h w"]:
    """Stored values to [-1, 1], float32, channels first."""
    return scaled(torch.from_numpy(np.array(pixels, dtype=np.float32)), spec)


def scaled(values: Float[Tensor, "n h w c"], spec: ImageSpec) -> Float[Tensor, "n c h w"]:
    """The same, for stored values that are in a tensor, on any device."""
    values = values.permute(0, 3, 1, 2)
    if spec.depth == "float32":
        centre, half = _centre(spec)
        return ((values - centre) * (1.0 / half)).clamp(-1.0, 1.0)
    return ((values - spec.low) * (2.0 / (spec.high - spec.low)) - 1.0).clamp(-1.0, 1.0)


def to_pixels(x: Float[Tensor, "n c h w"], spec: ImageSpec) -> Shaped[np.ndarray, "n h w c"]:
    """[-1, 1] to stored values, channels last; what lies outside is clipped."""
    values = x.detach().cpu().double().clamp(-1.0, 1.0).permute(0, 2, 3, 1)
    if spec.depth == "float32":
        centre, half = _centre(spec)
        stored = (values * half + centre).numpy()
    else:
        exact = (values + 1.0) * ((spec.high - spec.low) / 2.0) + spec.low
        stored = np.rint(exact.clamp(min=FULL_RANGE[spec.depth][0]).numpy())
    return np.ascontiguousarray(stored.astype(spec.depth))


def _centre(spec: ImageSpec) -> tuple[float, float]:
    """The middle of the range, and half its width."""
    return (spec.low + spec.high) / 2.0, (spec.high - spec.low) / 2.0
