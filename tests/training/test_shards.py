"""Weights in parts: what a step, a checkpoint and a look at it promise, among real processes."""

import sys
from pathlib import Path

import pytest
import torch
from trainers import TINY

from jobs import Job
from loang import presets
from loang.config import changed
from loang.errors import LoangError
from loang.team.place import Place
from loang.team.team import Team
from loang.training import shards
from loang.training.asked import resume

SCRIPT = Path(__file__).with_name("sharing.py")
HERE, TWO = torch.device("cpu"), Team(Place(1, 2, 1, 2))
SPREADS = pytest.mark.skipif(
    tuple(map(int, torch.__version__.split(".")[:2])) < (2, 6), reason="torch 2.6 is the first to"
)


@SPREADS
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(
            (
                *("training.weighting=learned", "training.recompute=true", "ema.snapshots=2"),
                "training.micro_batch=2",
            ),
            id="with-learnt-weights-and-layers-computed-again",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            (
                *("optimizer.kind=muon", "network.width=24", "optimizer.clip_norm=0.1"),
                *("network.self_conditioning=true", "training.micro_batch=2"),
            ),
            id="by-muon-and-micro-batches-that-see-their-estimate",
        ),
        pytest.param(
            (
                *("network.kind=denoising-diffusion", "network.width=8"),
                *("network.multipliers=1,2", "network.heads=1", "data.labels=false"),
                "training.micro_batch=2",
            ),
            id="of-another-library-s-network",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_parts_of_the_weights_learn_what_all_of_them_would(changes):
    """Steps, averages, checkpoints and a step without a number, beside a trainer that has all."""
    ended = Job([(SCRIPT, *changes)] * 2, PYTHONPATH=":".join(filter(None, sys.path))).ended()
    held = []
    for rank, (status, said) in enumerate(ended):
        assert status == rank, said  # the other one is dismissed in the end
        held.append(float(said.split("holds")[1]))
    # Each has half of it, but for what can't be halved: a weight of an odd length, above all of 1.
    assert sum(held) == pytest.approx(1)
    assert max(held) < 0.55


def settings(*changes):
    return changed(presets.preset("quick"), [*TINY, *changes])


def test_a_run_that_shares_its_weights_may_go_on_with_fewer_images_at_once():
    """Its processes can't take fewer by themselves when memory is short; others can, and do."""
    asked = "training.shard=true", "training.micro_batch=2"
    assert resume(settings(), changes=asked).training.micro_batch == 2
    with pytest.raises(LoangError, match=r"training\.micro_batch is None, not 2"):
        resume(settings(), changes=asked[1:])


@SPREADS
def test_weights_that_can_be_spread_are():
    shards.check(settings(), HERE, TWO)


def test_a_batch_that_can_t_be_halved_is_refused():
    with pytest.raises(LoangError, match=r"batch of 7 can't be divided by 2.*training\.batch=8"):
        shards.check(settings("training.batch=7"), HERE, TWO)


def test_a_student_s_weights_are_not_spread():
    with pytest.raises(LoangError, match=r"a student has a teacher.*training\.shard=false"):
        shards.check(settings("training.objective=consistency"), HERE, TWO)


def test_devices_that_torch_knows_no_such_thing_of_are_refused():
    with pytest.raises(LoangError, match="devices of the kind mps"):
        shards.check(settings(), torch.device("mps"), TWO)


def test_a_torch_that_is_too_old_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.distributed.fsdp", None)
    with pytest.raises(LoangError, match=r"torch .* can't spread weights.*torch 2\.6"):
        shards.check(settings(), HERE, TWO)
