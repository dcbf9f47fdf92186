"""The processors that loang may use, and those that others keep busy."""

import os
import threading
import time

import psutil
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


def test_what_others_keep_busy_is_not_this_process(monkeypatch):
    count = psutil.cpu_count()

    def idle(interval):
        time.sleep(0.01)
        return 50.0

    def working(interval):
        began, own = time.perf_counter(), time.process_time()
        while time.process_time() - own < 0.1:
            pass
        return 100 / count * 0.1 / (time.perf_counter() - began)

    monkeypatch.setattr(psutil, "cpu_percent", idle)
    assert processors.busy_otherwise() == pytest.approx(0.5 * count, abs=0.3)
    monkeypatch.setattr(psutil, "cpu_percent", working)
    assert processors.busy_otherwise() == pytest.approx(0, abs=0.1)
