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


@pytest.mark.parametrize("rank", [1, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_directions_that_a_gradient_lacks_are_not_made_up(rank, dtype):
    """Also in a network of another precision, and where whoever calls computes in one."""
    generator = torch.Generator().manual_seed(0)
    out, seen = (torch.randn(each, rank, generator=generator) for each in (64, 64 * 9))
    given = (out @ seen.mT).reshape(64, 64, 3, 3).to(dtype)
    for calling in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=calling):
            found = orthogonal([given])[0]
        assert found.dtype == dtype
        values = torch.linalg.svdvals(found.float().movedim(1, -1).reshape(64, -1))
        values /= AS_ADAMW * (64 * 9) ** 0.5
        assert 0.6 < values[rank - 1] <= values[0] < 1.3
        if dtype == torch.float32:
            assert values[rank:].max() < 0.01


def test_what_torch_was_told_of_products_changes_nothing(monkeypatch):
    """Whose squares in bfloat16 made steps of 700 for 1; a processor that has none ignores it."""
    given = [torch.randn(64, 64, 3, 3, generator=torch.Generator().manual_seed(0))]
    right = orthogonal(given)[0]
    multiplied, told = torch.baddbmm, []

    def listening(*args, **kwargs):
        told.append(torch.get_float32_matmul_precision())
        return multiplied(*args, **kwargs)

    monkeypatch.setattr(torch, "baddbmm", listening)
    torch.set_float32_matmul_precision("medium")
    try:
        assert torch.equal(orthogonal(given)[0], right)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert {*told} == {"highest"}


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


def test_the_gradients_of_a_closure_are_those_of_the_step():
    one, other = Layers(), Layers()
    other.load_state_dict(one.state_dict())
    ours, theirs = (
        Muon(Weights(layers, HERE, ALONE), momentum=0.9, lr=0.01) for layers in (one, other)
    )
    images = torch.randn(2, 16, 4, 4, generator=torch.Generator().manual_seed(0))

    def loss(layers):
        found = layers.two(layers.one(images).mean((2, 3))).square().mean()
        found.backward()
        return found

    answer = ours.step(lambda: loss(one))
    assert answer == loss(other)
    theirs.step()
    assert all(map(torch.equal, one.parameters(), other.parameters()))


def test_a_kernel_that_two_layers_share_is_moved_once():
    shared = nn.Sequential(nn.Conv2d(16, 16, 1), nn.Conv2d(16, 16, 1))
    shared[1].weight = shared[0].weight
    optimizer = Muon(Weights(shared, HERE, ALONE), momentum=0.9, lr=0.01, weight_decay=0.0)
    given(shared, 1.0)
    before = shared[0].weight.detach().clone()
    optimizer.step()
    step = orthogonal([torch.ones(16, 16, 1, 1)])[0]
    assert torch.allclose(shared[1].weight, before - 0.01 * step, atol=1e-6)


@pytest.mark.parametrize("kind", [Muon, AdamW])
def test_what_is_kept_must_be_of_this_optimizer(kind):
    def make():
        weights = Weights(Layers(), HERE, ALONE)
        more = {"momentum": 0.9} if kind is Muon else {}
        optimizer = kind(weights if kind is Muon else weights.trained().values(), lr=0.1, **more)
        given(weights.network, 1.0)
        optimizer.step()
        return optimizer

    whole = make().state_dict()
    make().load_state_dict(whole)
    for number, kept in whole["state"].items():
        for slot in kept:
            less = {name: each for name, each in kept.items() if name != slot}
            for found in (less, {**less, "other": kept[slot]}):
                if found:
                    spoilt = {**whole, "state": {**whole["state"], number: found}}
                    with pytest.raises(ValueError, match="of a weight it keeps"):
                        make().load_state_dict(spoilt)


@pytest.mark.parametrize("ahead", [False, True], ids=["asked", "ahead, as on a GPU"])
def test_a_gradient_that_is_no_number_changes_nothing(ahead):
    subject = trainer(MUON, "network.width=16", "network.group_channels=4", "network.heads=1")
    subject.ahead = ahead
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
