"""The map from stored values to the network's range [-1, 1], and back: the spec's own rule."""

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from loang.data.spec import ImageSpec


def to_model(pixels: Shaped[np.ndarray, "n h w c"], spec: ImageSpec) -> Float[Tensor, "n c h w"]:
    """Stored values to [-1, 1], float32, channels first."""
    values = torch.from_numpy(np.array(pixels, dtype=np.float32)).permute(0, 3, 1, 2)
    return (values - spec.low) * (2.0 / (spec.high - spec.low)) - 1.0


def to_pixels(x: Float[Tensor, "n c h w"], spec: ImageSpec) -> Shaped[np.ndarray, "n h w c"]:
    """[-1, 1] to stored values, channels last; what lies outside is clipped."""
    values = x.detach().cpu().double().clamp(-1.0, 1.0).permute(0, 2, 3, 1)
    stored = ((values + 1.0) * ((spec.high - spec.low) / 2.0) + spec.low).numpy()
    if spec.depth != "float32":
        stored = np.rint(stored)
    return np.ascontiguousarray(stored.astype(spec.depth))
