"""The processors that loang may use."""

import os
import threading
import time

import pytest

from loang import processors
from loang.data.workers import in_threads


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system binds no processes")
def test_only_the_processors_of_this_process_are_counted_and_get_threads():
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert processors.available() == 1

        def work(item):
            time.sleep(0.001)
            return threading.get_ident()

        assert len(set(in_threads(work, range(8)))) == 1
    finally:
        os.sched_setaffinity(0, before)
