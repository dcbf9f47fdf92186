"""Gradients of several processes are added up as they come, and are those of one process."""

from pathlib import Path

import pytest

from jobs import Job

SCRIPT = Path(__file__).with_name("summing.py")


@pytest.mark.parametrize("size", [2, 3])
def test_gradients_are_added_up_while_others_are_still_unknown(size):
    for status, said in Job([(SCRIPT,)] * size).ended():
        assert (status, said.strip()) == (0, "all is well")
