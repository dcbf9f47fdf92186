"""Gradients that are clipped by their norm (Pascanu et al. 2013, algorithm 1)."""

import pytest
import torch
from torch import nn

from loang.training.weights import clipped


def weights(seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = [(4, 3, 3, 3), (7,), (5, 2), ()]
    found = [nn.Parameter(torch.zeros(shape)) for shape in shapes]
    for weight in found:
        weight.grad = torch.randn(weight.shape, generator=generator)
    found[0].grad = found[0].grad.contiguous(memory_format=torch.channels_last)
    return [*found, nn.Parameter(torch.zeros(3))]  # the last was not used, and has none


@pytest.mark.parametrize("times", [1e-3, 0.5, 1.0, 1.5, float("inf")])
def test_as_torch_clips(times):
    norm = torch.stack([weight.grad.norm() for weight in weights()[:-1]]).norm()
    ours, theirs = weights(), weights()
    limit = times * float(norm)

    found = clipped(ours, limit)

    assert found == nn.utils.clip_grad_norm_(theirs, limit)
    torch.testing.assert_close(found, norm)
    for mine, other in zip(ours, theirs, strict=True):
        assert (mine.grad is None) == (other.grad is None)
        if mine.grad is not None:
            assert torch.equal(mine.grad, other.grad)


def test_none_is_longer_than_the_limit_then():
    ours, before = weights(), weights()
    clipped(ours, 0.25)
    after = torch.stack([weight.grad.norm() for weight in ours[:-1]]).norm()
    assert float(after) == pytest.approx(0.25, rel=1e-5)
    ratios = torch.cat(
        [(a.grad / b.grad).flatten() for a, b in zip(ours[:-1], before, strict=False)]
    )
    assert float(ratios.max() - ratios.min()) < 1e-6  # all of them by one factor


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("limit", [1.0, float("inf")])
def test_a_gradient_that_is_no_number_is_told_by_the_norm(bad, limit):
    ours = weights()
    ours[1].grad[2] = bad
    assert not torch.isfinite(clipped(ours, limit))
