"""A team of processes: what each way of speaking promises, among real processes."""

from pathlib import Path

import numpy as np
import pytest
import torch

from jobs import Job
from loang.team.place import Place
from loang.team.team import ALONE, Dismissed, Lost, Team

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
