"""What each process of `test_shards.py` does: weights in parts beside whole ones, on the spot."""

import sys

import pytest
import torch
from trainers import trainer

from loang.errors import LoangError
from loang.team.joining import join
from loang.team.lost import Dismissed
from loang.training.checkpoint import snapshot
from loang.training.examination import examine
from loang.training.following import hand_out, obey

changes = sys.argv[1:]
SHARE = 0.5
team = join()
shared = trainer(*changes, "training.shard=true", team=team)
alone = trainer(*changes)  # of the same images and first weights, all by itself


def bytes_of(held):
    """Of weights, average and moments, of the network alone."""
    return sum(
        tensor.nbytes
        for file in ("model", "ema", "optimizer")
        for name, tensor in held[file].items()
        if tensor.ndim and not name.startswith("objective/")
    )


def assert_same(one, other, tolerance):
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(
            tensor.detach(), other[name].detach(), rtol=tolerance, atol=tolerance, msg=name
        )


def assert_same_state(tolerance=1e-5):
    parts, whole = shared.checkpoint({}), alone.checkpoint({})
    assert parts.tensors.keys() == whole.tensors.keys()
    for file in whole.tensors:
        assert_same(parts.tensors[file], whole.tensors[file], tolerance)
    assert {**parts.state, "micro_batch": None} == {**whole.state, "micro_batch": None}


def assert_same_steps(count):
    for _ in range(count):
        one, other = shared.step(SHARE), alone.step(SHARE)
        torch.testing.assert_close(one.loss, other.loss, rtol=1e-5, atol=0)
        torch.testing.assert_close(one.gradient, other.gradient, rtol=1e-4, atol=0)


def broken(subject):
    """The next loss is no number, in this process alone."""
    plain = subject._gradients

    def gradients(*part):
        subject._gradients = plain
        return plain(*part) * float("nan")

    subject._gradients = gradients


def lead():
    assert shared.weights.sharded
    hand_out(shared)
    assert_same_steps(3)
    assert_same_state()

    # What is shown has the average's weights; what is trained keeps its own.
    with shared.averaged():
        assert_same(shared.shown.network.state_dict(), alone.ema.tensors, 1e-5)
        loss = shared.validate(shared.images)
    with alone.averaged():
        assert abs(loss - alone.validate(alone.images)) < 1e-5

    # A loss that is no number changes nothing anywhere.
    for subject in (shared, alone):
        broken(subject)
        assert not torch.isfinite(subject.step(SHARE).loss)
    assert_same_state()

    # Each goes on from what the other has kept.
    kept, whole = shared.checkpoint({}), snapshot(alone.checkpoint({}))
    assert kept.apart
    assert_same_steps(1)
    alone.restore(kept)
    shared.restore(whole)
    hand_out(shared)
    assert_same_steps(2)
    assert_same_state()

    # A step that gave no number is looked at by all.
    assert examine(shared, 2) == examine(alone, 2)


def out_of_memory():
    def gradients():
        raise torch.OutOfMemoryError("out of memory")

    shared._gradients = gradients
    words = r"not enough memory to train on 2 images at once.*training\.micro_batch=1"
    with pytest.raises(LoangError, match=words):
        shared.step(SHARE)
    # The others wait for its part of a weight, and are told that it will not come.
    team.dismiss()


def follow():
    try:
        while told := team.tell():
            assert obey(told, shared, shared.images)
    except Dismissed:
        return
    raise AssertionError


if team.leads:
    lead()
    out_of_memory()
else:
    follow()
weights, slots = alone.held()["model"], shared.held()["optimizer"]
# Half of what all of it takes: weights, average and what the optimizer knows of each.
whole = 2 * bytes_of({"model": weights, "ema": {}, "optimizer": {}}) + sum(
    weights[path.rpartition("/")[0]].nbytes
    for path, tensor in slots.items()
    if tensor.ndim and not path.startswith("objective/")
)
print(f"holds {bytes_of(shared.held()) / whole:.3f}", flush=True)
sys.exit(team.place.rank)
