"""Samples that the processes of a job draw together."""

import sys
from pathlib import Path

from jobs import Job

SCRIPT = Path(__file__).with_name("helped.py")


def test_whatever_models_are_asked_for_in_turn_all_processes_have_them():
    for status, said in Job([(SCRIPT,)] * 2, PYTHONPATH=":".join(filter(None, sys.path))).ended():
        assert (status, said.strip()) == (0, "all is well"), said
