"""The same steps as torch's own optimizer, to the bit, wherever weights lie."""

import pytest
import torch
from torch import nn

from loang.training.adamw import AdamW


def trained(kind, layout, *, fused=True, clone=False):
    """Weights and moments after a few steps of a small network."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(4, 8, 3), nn.Conv2d(8, 2, 1), nn.Conv2d(2, 6, 3), nn.Flatten(), nn.Linear(150, 3)
    ).to(memory_format=layout)
    optimizer = kind(network.parameters(), lr=0.01, weight_decay=0.1, fused=fused)
    for _ in range(4):
        optimizer.zero_grad()
        network(torch.randn(2, 4, 9, 9)).square().mean().backward()
        if clone:  # as another layer may give it
            weight = network[0].weight
            weight.grad = weight.grad.contiguous()
        optimizer.step()
    state = [optimizer.state[weight] for weight in network.parameters()]
    return [
        *network.parameters(),
        *(each[slot] for each in state for slot in ("exp_avg", "exp_avg_sq")),
    ]


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("fused", [True, False])
def test_each_step_is_torchs_own(layout, fused):
    ours, torchs = (trained(kind, layout, fused=fused) for kind in (AdamW, torch.optim.AdamW))
    for one, other in zip(ours, torchs, strict=True):
        assert one.shape == other.shape
        assert one.stride() == other.stride()
        assert torch.equal(one, other)


def test_a_gradient_that_lies_otherwise_is_taken_as_torch_takes_it():
    ours, torchs = (
        trained(kind, torch.channels_last, clone=True) for kind in (AdamW, torch.optim.AdamW)
    )
    assert all(torch.equal(one, other) for one, other in zip(ours, torchs, strict=True))


def test_what_lies_with_the_channels_last_is_turned():
    """Or nothing is gained: where torch has changed, this says so."""
    weight = nn.Parameter(torch.randn(8, 4, 3, 3).to(memory_format=torch.channels_last))
    weight.grad = torch.randn_like(weight)
    optimizer = AdamW([weight], fused=True)
    asked = []

    def step(weights, *_, **__):
        asked.extend(weights)

    own, torch._fused_adamw_ = torch._fused_adamw_, step
    try:
        optimizer.step()
    finally:
        torch._fused_adamw_ = own
    assert [each.shape for each in asked] == [(8, 3, 3, 4)]
    assert asked[0].is_contiguous()
