"""Layers that are computed again: the same gradients, from less memory."""

import pytest
import torch
from trainers import trainer

from loang.networks.recompute import recompute
from loang.training.memory import layer_bytes


def learnt(preset, *changes):
    subject = trainer(*changes, preset=preset)
    loss = subject.gradients()
    return loss, [p.grad for p in subject.denoiser.parameters() if p.grad is not None]


@pytest.mark.parametrize("preset", ["quick", "tutorial"])
@pytest.mark.parametrize(
    "changes",
    [(), ("training.precision=bfloat16",), ("training.micro_batch=1",)],
    ids=["float32", "bfloat16", "parts"],
)
def test_the_gradients_are_the_same_to_the_bit(preset, changes):
    loss, kept = learnt(preset, *changes)
    other, again = learnt(preset, *changes, "training.recompute=true")
    assert torch.equal(loss, other)
    assert len(kept) == len(again) > 10
    assert all(torch.equal(a, b) for a, b in zip(kept, again, strict=True))


def test_dropout_drops_the_same():
    dropped = "network.dropout=0.5"
    _, kept = learnt("quick", dropped)
    _, again = learnt("quick", dropped, "training.recompute=true")
    assert all(torch.equal(a, b) for a, b in zip(kept, again, strict=True))


@pytest.mark.parametrize("preset", ["quick", "tutorial"])
def test_it_takes_less_memory(preset):
    kept, again = (
        layer_bytes(trainer(change, preset=preset))
        for change in ("training.recompute=false", "training.recompute=true")
    )
    assert again < 0.6 * kept


def test_nothing_is_computed_again_where_no_gradient_is_wanted():
    subject = trainer()
    recompute(subject.denoiser, True)
    calls = []
    for part in subject.denoiser.network.down[0].blocks:
        part.register_forward_hook(lambda *_: calls.append(1))
    x = torch.zeros(1, 1, 8, 8)
    with torch.no_grad():
        subject.denoiser.network(x, torch.ones(1), torch.zeros(1, dtype=torch.long))
    assert len(calls) == len(subject.denoiser.network.down[0].blocks)
