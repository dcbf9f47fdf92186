"""Small models of all networks for ONNX, each with weights that answer something."""

import hashlib

import jaxtyping
import pytest
import torch

from in_steps import IN_STEPS
from loang import build, presets
from loang.config import changed
from loang.data.spec import ImageSpec
from loang.interop.onnx import export, graph
from loang.model import Model

onnx = pytest.importorskip("onnx")

GRAPHS = {}
CLASSES = ("boot", "bag", "coat")
SMALL = ("network.width=8", "network.heads=1", "network.multipliers=1,1")
DISCRETE = (*IN_STEPS, "sampling.steps=5")
MODELS = {
    # size, channels, classes, settings
    "labels, padded for three halvings": (
        ImageSpec(28, 28, 1, class_names=CLASSES),
        (*SMALL, "network.multipliers=1,1,1,1", "network.fold=1"),
    ),
    "folded, learnt variance, in steps": (
        ImageSpec(32, 32, 3),
        (*SMALL, *DISCRETE, "network.fold=4", "denoiser.learn_variance=true"),
    ),
    "tutorial": (
        ImageSpec(24, 40, 1),
        (*DISCRETE, "network.kind=tutorial", "network.width=8", "denoiser.predicts=eps"),
    ),
    "self-conditioned, labels, edm": (
        ImageSpec(17, 33, 2, "uint16", 0.0, 255.0, CLASSES),
        (
            *(*SMALL, "network.self_conditioning=true", "network.fold=2"),
            *("schedule.kind=edm", "denoiser.predicts=edm", "training.levels=log-normal"),
        ),
    ),
}
PLAIN = "plain"
OTHERS = {
    PLAIN: (ImageSpec(8, 6, 1, class_names=CLASSES), SMALL),
    "denoising-diffusion": (
        ImageSpec(9, 13, 3),
        ("network.kind=denoising-diffusion", "network.width=8", "network.multipliers=1,2"),
    ),
    "its relatives' options": (
        ImageSpec(8, 8, 3, class_names=CLASSES),
        (
            *(*SMALL, *DISCRETE, "network.downsample_padding=after", "network.cosine_first=true"),
            *("network.no_label=false", "training.label_dropout=0", "network.modulate=false"),
            *("schedule.counted_from=0", "schedule.told_in_thousands=true", "schedule.steps=50"),
        ),
    ),
}
EVERY = MODELS | OTHERS


@pytest.fixture(autouse=True)
def sizes_may_be_tensors(monkeypatch):
    """As they are while a network is traced, which is no case for the checks of signatures."""
    traced = graph._traced

    def unchecked(*arguments):
        jaxtyping.config.update("jaxtyping_disable", True)
        try:
            return traced(*arguments)
        finally:
            jaxtyping.config.update("jaxtyping_disable", False)

    monkeypatch.setattr(graph, "_traced", unchecked)


@pytest.fixture(autouse=True)
def written_once(monkeypatch):
    """Of the same weights in the same network the same graph: it takes a second to be made."""

    def remembered(network, inputs, opset, exporter=None):
        digest = hashlib.sha256(repr((network, inputs[0].shape, opset, exporter)).encode())
        for weight in network.state_dict().values():
            digest.update(weight.numpy().tobytes())
        key = digest.digest()
        if key not in GRAPHS:
            GRAPHS[key] = graph.graph(network, inputs, opset, exporter).SerializeToString()
        return onnx.load_model_from_string(GRAPHS[key])

    monkeypatch.setattr(export, "graph", remembered)


def model_of(spec, changes):
    settings = presets.quick()
    kind = [change for change in changes if change.startswith("network.kind=")]
    if kind:  # with its own settings, not those of the preset's
        plain = {"network": {"kind": kind[0].partition("=")[2]}}
        settings = type(settings)(**{**settings.to_dict(), **plain})
    settings = changed(settings, [change for change in changes if change not in kind])
    denoiser = build.build_denoiser(settings, spec)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():  # a fresh network answers 0 everywhere
        for parameter in denoiser.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return Model(denoiser.eval(), spec, settings)
