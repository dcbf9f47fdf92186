"""Other programs may slow a run down tenfold; then it says so, once."""

import pytest
import torch

from loang.training.folder import RunFolder
from loang.training.slowdown import Slowdown


def told(rates, seconds=10.0):
    slowdown = Slowdown()
    return [slowdown.note(rate, seconds) for rate in rates]


def test_it_is_said_once_and_only_of_what_lasts():
    assert told([100, 15, 15, 15, 15, 15]) == [False, False, False, True, False, False]
    assert not any(told([100, 15, 15, 90, 15, 15, 90]))
    assert not any(told([100, 25, 25, 25, 25, 25]))  # a student's samples cost three times as much
    assert not any(told([100, 1, 90, 95], seconds=60))  # stopped by Ctrl-Z for an hour, and gone on
    assert not any(told([5, 6, 7, 8, 200, 190, 180]))


@pytest.mark.parametrize("threads", [1, 2])
def test_fewer_threads_are_proposed_where_there_are_several(tmp_path, threads, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    slowdown = Slowdown()
    slowdown.note(180, 10)
    said = slowdown.sentence(12, torch.device("cpu"), RunFolder(tmp_path))
    assert said.startswith("Warning: 12 images/s, where this run had 180")
    assert ("OMP_NUM_THREADS=1" in said) is (threads == 2)
    assert "OMP" not in slowdown.sentence(12, torch.device("cuda"), RunFolder(tmp_path))
