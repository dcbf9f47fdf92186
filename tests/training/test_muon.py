"""Muon: what its matrices become, which ones they are, and what it leaves to AdamW."""

import pytest
import torch
from torch import nn
from trainers import trainer, weights

from loang import presets
from loang.build import build_denoiser
from loang.config import changed
from loang.data import ImageSpec
from loang.team.team import ALONE
from loang.training.adamw import AdamW
from loang.training.muon import AS_ADAMW, MOMENTUM, Muon, matrices, orthogonal
from loang.training.weights import Weights

HERE = torch.device("cpu")
MUON = "optimizer.kind=muon"


@pytest.mark.parametrize("shape", [(16, 40), (40, 16), (24, 48), (16, 20, 3, 3), (48, 16, 1, 1)])
def test_singular_values_become_alike_and_their_directions_stay(shape):
    """The oracle is U V^T of the singular value decomposition."""
    generator = torch.Generator().manual_seed(0)
    assert not orthogonal([torch.zeros(shape)])[0].any()
    given = [torch.randn(shape, generator=generator) * 10.0**power for power in (-6, 0, 6)]
    for before, after in zip(given, orthogonal(given), strict=True):
        assert after.shape == before.shape
        assert after.dtype == before.dtype
        rows = before.movedim(1, -1).reshape(shape[0], -1)
        found = after.movedim(1, -1).reshape(shape[0], -1) / (AS_ADAMW * max(rows.shape) ** 0.5)
        left, _, right = torch.linalg.svd(rows, full_matrices=False)
        within = left.mT @ found @ right.mT
        assert within.diagonal().min() > 0.6
        assert within.diagonal().max() < 1.3
        assert (within - within.diagonal().diag()).abs().max() < 1e-3


def test_a_step_is_as_large_as_adamw_s():
    step = orthogonal([torch.randn(64, 32, 3, 3, generator=torch.Generator().manual_seed(0))])[0]
    assert step.square().mean().sqrt() == pytest.approx(AS_ADAMW, rel=0.2)


def test_a_kernel_s_place_in_memory_changes_nothing():
    kernel = torch.randn(32, 16, 3, 3, generator=torch.Generator().manual_seed(0))
    last = kernel.contiguous(memory_format=torch.channels_last)
    assert torch.equal(orthogonal([kernel])[0], orthogonal([last])[0])


def test_matrices_are_of_layers_between_many_channels_and_many():
    """Not those that images come in and go out by, nor those that codes go through."""
    settings = changed(presets.preset("quick"), ["network.width=16", "network.heads=1"])
    spec = ImageSpec(16, 16, 1, class_names=tuple(map(str, range(40))))
    network = build_denoiser(settings, spec).network
    named, found = dict(network.named_parameters()), matrices(network)
    assert {"down.0.blocks.0.conv1.weight", "middle_attention.qkv.weight"} <= set(found)
    assert not {"first.weight", "last.weight", "label.weight", "time.mlp.0.weight"} & set(found)
    assert all(min(named[name].shape[:2]) >= 16 for name in found)
    assert not [name for name in found if name.endswith("bias")]


class Layers(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = nn.Conv2d(16, 24, 1)
        self.two = nn.Linear(24, 3)
        nn.init.ones_(self.one.weight)
        nn.init.ones_(self.two.weight)


def given(layers, value):
    for weight in layers.parameters():
        weight.grad = torch.full_like(weight, value)


def test_all_else_is_moved_as_adamw_moves_it():
    one, other = Layers(), Layers()
    other.load_state_dict(one.state_dict())
    common = {"lr": 0.01, "weight_decay": 0.1}
    ours = Muon(Weights(one, HERE, ALONE), momentum=0.95, **common)
    theirs = AdamW(other.parameters(), **common)
    for value in (1.0, -0.5, 2.0):
        for layers, subject in ((one, ours), (other, theirs)):
            given(layers, value)
            subject.step()
    assert torch.equal(one.two.weight, other.two.weight)
    assert torch.equal(one.one.bias, other.one.bias)
    assert not torch.equal(one.one.weight, other.one.weight)
    assert set(ours.state[one.one.weight]) == {MOMENTUM}


def test_a_step_is_nesterov_s_momentum_made_orthogonal_and_a_decay():
    """By hand, two steps of it."""
    generator = torch.Generator().manual_seed(0)
    layers = Layers()
    optimizer = Muon(Weights(layers, HERE, ALONE), momentum=0.9, lr=0.01, weight_decay=0.5)
    expected, momentum = layers.one.weight.detach().clone(), torch.zeros(24, 16, 1, 1)
    for _ in range(2):
        gradient = layers.one.weight.grad = torch.randn(24, 16, 1, 1, generator=generator)
        optimizer.step()
        momentum = 0.9 * momentum + 0.1 * gradient
        ahead = 0.9 * momentum + 0.1 * gradient
        expected = (1 - 0.01 * 0.5) * expected - 0.01 * orthogonal([ahead])[0]
    assert torch.allclose(layers.one.weight, expected, rtol=1e-4, atol=1e-6)


def test_a_gradient_that_is_no_number_changes_nothing():
    subject = trainer(MUON, "network.width=16", "network.group_channels=4", "network.heads=1")
    for _ in range(2):
        subject.step(0.0)
    before, moments = weights(subject), subject.held()["optimizer"]
    moments = {name: each.clone() for name, each in moments.items()}
    gradients = subject.gradients

    def broken(*part):
        loss = gradients(*part)
        for weight in subject.weights.trained().values():
            if weight.grad is not None:
                weight.grad.fill_(float("nan"))
        return loss

    subject.gradients = broken
    subject.step(0.0)
    after = weights(subject)
    assert torch.equal(before, after)
    left = subject.held()["optimizer"]
    assert any(each.any() for name, each in moments.items() if name.endswith(MOMENTUM))
    assert subject.progress.step == 3
    assert moments.keys() == left.keys()
    assert all(torch.equal(moments[name], left[name]) for name in moments)
