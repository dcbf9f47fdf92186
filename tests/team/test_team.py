"""A team of processes: what each way of speaking promises, among real processes."""

import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from jobs import Job
from loang.team import joining
from loang.team.lost import Dismissed, Lost
from loang.team.place import Place
from loang.team.team import ALONE, Team

SCRIPT = Path(__file__).with_name("together.py")


@pytest.mark.parametrize("size", [2, 3])
def test_what_one_process_says_all_know(size):
    for status, said in Job([(SCRIPT,)] * size).ended():
        assert (status, said.strip()) == (0, "all is well")


def test_alone_all_is_its_own():
    tensor = torch.arange(3.0)
    ALONE.add_up([tensor])
    assert torch.equal(tensor, torch.arange(3.0))
    assert ALONE.tell([1]) == [1]
    assert ALONE.part(5) == range(5)
    assert torch.equal(ALONE.whole(tensor), tensor)
    array = np.arange(3)
    assert ALONE.gather(array, [3])[0] is array
    assert ALONE.hand_out({"a": tensor})["a"] is tensor
    ALONE.dismiss()
    assert ALONE.leads


def test_more_processes_than_images_of_a_batch_leave_some_nothing():
    assert [len(Team(Place(rank, 5, rank, 5)).part(3)) for rank in range(5)].count(0) == 2


def test_what_is_said_of_a_loss_names_it():
    named = Lost(["process 1 of 2 (pid 7 on here)"], "reset")
    assert str(named).startswith("Process 1 of 2 (pid 7 on here) was lost.")
    assert "closed by peer" in str(Lost([], "closed by peer"))
    assert Dismissed().told


def test_a_job_that_nobody_joins_says_so():
    alone = Job([(SCRIPT,)], WORLD_SIZE="2", MASTER_PORT="no port")
    ((status, said),) = alone.ended()
    assert status != 0
    assert "This is process 0 of 2, and it can't reach the others" in said


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="nothing can be stopped here")
@pytest.mark.parametrize(
    "wait",
    [
        pytest.param("team.add_up([torch.ones(3)])", id="here"),
        pytest.param("team.within(lambda: dist.all_reduce(torch.ones(3)))", id="within-torch"),
    ],
)
def test_a_process_that_falls_silent_is_given_up_and_named(wait):
    """Its connections stay open, so that nothing fails: as of a machine that is gone."""
    code = f"""
import os, signal, torch
from torch import distributed as dist
from loang.team import pulse
pulse.BEAT, pulse.GIVEN_UP = 0.2, 2.0
from loang.team.joining import join
from loang.team.lost import Lost
team = join()
if not team.leads:
    os.kill(os.getpid(), signal.SIGSTOP)
try:
    {wait}
except Lost as lost:
    print(lost.problem, flush=True)
"""
    job = Job([("-c", code)] * 2)
    try:
        said, _ = job.processes[0].communicate(timeout=60)
    finally:
        job.kill()
    assert f"Process 1 of 2 (pid {job.processes[1].pid} on " in said
    assert "was lost" in said
    assert job.processes[0].returncode == 2  # and it has ended


INTERRUPTED = """
import os, signal, sys, threading, time, torch
from loang.team.joining import join
from loang.training.interruption import Interruption
team = join()
if not team.leads:
    time.sleep(2)
    team.add_up([torch.ones(3)])
    sys.exit(0)
threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
sum_, found = team.begin_sum([torch.ones(3)]), torch.zeros(3)
try:
    with Interruption(at_once=True):
        team.end_sums([sum_], [found])
except KeyboardInterrupt:
    if {minded}:
        raise SystemExit(128 + signal.SIGTERM)
team.end_sums([sum_], [found])
assert found.tolist() == [2, 2, 2]
"""


@pytest.mark.parametrize(("minded", "status"), [(True, 143), (False, 0)])
def test_who_is_interrupted_in_a_wait_ends_as_it_says_or_goes_on(minded, status):
    ended = Job([("-c", INTERRUPTED.format(minded=minded))] * 2).ended()
    assert ended[0][0] == status, ended


def test_who_has_lost_another_waits_for_nobody_at_the_end(monkeypatch):
    """To leave a group of NCCL's waits for its sums, of which one never comes then."""
    parted = []
    team = Team(Place(0, 2, 0, 2))
    monkeypatch.setattr(joining, "_joined", team)
    monkeypatch.setattr(joining.dist, "destroy_process_group", lambda: parted.append(1))
    joining._part()
    assert parted == [1]

    with pytest.raises(Lost):
        team._explain(RuntimeError("Connection closed by peer"))
    joining._part()
    assert parted == [1]
