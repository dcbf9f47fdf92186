"""Small models of every kind for Keras, and what torch answers for them."""

import numpy as np
import torch

from loang import build, presets
from loang.config import changed
from loang.data.spec import ImageSpec
from loang.model import Model

GREY = ImageSpec(8, 8, 1, class_names=("boot", "bag"))
PLAIN = ImageSpec(10, 6, 3)
SMALL = ("network.width=8", "network.multipliers=1,1", "network.heads=2", "network.fold=1")
IN_STEPS = ("schedule.kind=cosine", "denoiser.predicts=v", "training.levels=uniform")
TUTORIAL = ("network.kind=tutorial", "network.width=4")


def model_of(spec=GREY, *changes, base=SMALL):
    """Untrained, and with weights that answer something."""
    wishes = [*base, *IN_STEPS, "sampling.sampler=ddim", "sampling.steps=6", *changes]
    settings = changed(presets.quick(), wishes)
    denoiser = build.build_denoiser(settings, spec)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():  # a fresh network answers 0 everywhere
        for parameter in denoiser.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return Model(denoiser.eval(), spec, settings, {"steps": 3, "data": "boots"})


def tutorial_of(spec=PLAIN, *changes):
    return model_of(spec, "data.labels=false", *changes, base=TUTORIAL)


def inputs_of(model, conditions):
    """Inputs of every name that its Keras model may have, and the same ones for torch."""
    generator = np.random.default_rng(0)
    spec, network, n = model.spec, model.denoiser.network, len(conditions)
    shape = n, spec.height, spec.width, spec.channels
    told = {
        "x": generator.standard_normal(shape, np.float32),
        "t": np.array(conditions, np.float32),
    }
    if network.classes:
        told["label"] = (np.arange(n) % (network.classes + 1)).astype(np.int32)
    if getattr(network, "given", 0):
        told["given"] = generator.standard_normal(shape, np.float32)
    if getattr(network, "augmentations", 0):
        told["augmentation"] = generator.standard_normal((n, network.augmentations), np.float32)
    return told


def answer_of(model, told):
    """torch's, channels last, as numpy."""
    first = {"x", "given"}
    inward = {
        name: torch.from_numpy(each).permute(0, 3, 1, 2)
        if name in first
        else torch.from_numpy(each)
        for name, each in told.items()
    }
    label = inward.pop("label", None)
    x, t = inward.pop("x"), inward.pop("t")
    with torch.no_grad():
        out = model.denoiser.network(x, t, None if label is None else label.long(), **inward)
    return out.permute(0, 2, 3, 1).numpy()


def apart(one, other):
    """The largest difference, as a share of the largest value."""
    assert one.shape == other.shape
    return np.abs(one - other).max() / np.abs(other).max()


NETWORKS = {
    "plain": (GREY,),
    "three halvings of 28, added codes": (
        ImageSpec(28, 28, 1),
        "network.multipliers=1,1,1,2",
        "network.blocks=1",
        "network.attention=1,3",
        "network.modulate=false",
    ),
    "odd sizes, folded": (ImageSpec(13, 9, 3), "network.fold=2", "network.blocks=1"),
    "told and shown": (
        GREY,
        "data.flips=true",
        "data.shifts=2",
        "data.told=true",
        "network.self_conditioning=true",
        "denoiser.learn_variance=true",
        "network.dropout=0.1",
    ),
    "as elsewhere": (
        GREY,
        "network.norm_groups=2",
        "network.norm_epsilon=1e-3",
        "network.downsample_padding=after",
        "network.cosine_first=true",
        "network.reaches_last=false",
        "network.head_width=2",
        "network.middle_attention=false",
        "network.blocks=1",
    ),
    "resampled within blocks": (GREY, "network.resample_blocks=true", "network.blocks=1"),
}
