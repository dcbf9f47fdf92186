"""What decides a sample, as a name: equal names give equal samples, up to the last bits."""

import hashlib
import json
from collections.abc import Sequence

import torch

from loang import samplers
from loang.config import SamplingSettings
from loang.model import Model


def weights_digest(model: Model) -> str:
    """SHA-256, in hexadecimal, of a model's weights and of what makes samples of them."""
    settings = model.settings.to_dict()
    about = {key: settings[key] for key in ("network", "schedule", "denoiser")}
    digest = hashlib.sha256(json.dumps([about, model.spec.to_dict()], sort_keys=True).encode())
    for name, tensor in model.denoiser.network.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def samples_name(
    model: Model,
    seed: int,
    sampling: SamplingSettings,
    shares: Sequence[float] | None = None,
    guide: Model | None = None,
    label: int | None = None,
) -> str:
    """A name of 16 letters for all samples of a model that are drawn so.

    Args:
        model: what draws them.
        seed: of the noise.
        sampling: sampler and steps.
        shares: of the classes, where labels follow from them.
        guide: a worse model that guides it.
        label: of all samples; None for labels that follow from their numbers.
    """
    decides = [
        samplers.REVISION,
        weights_digest(model),
        seed,
        sampling.model_dump(),
        model.settings.training.precision,
        model.device.type,
        None if shares is None else list(map(float, shares)),
        None if guide is None else weights_digest(guide),
        *([] if label is None else [label]),
    ]
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]
