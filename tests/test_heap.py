"""Memory that is kept while something is computed: fetched once, and given back at the end."""

import os
import subprocess
import sys

import pytest

from loang import heap

pytestmark = pytest.mark.skipif(
    heap._library({}) is None, reason="of Linux with glibc alone is it known how it keeps memory"
)
MEASURED = """
import contextlib, resource, sys
import psutil, torch
from loang import heap

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def work(turns):
    for _ in range(turns):
        several = [torch.ones(10 * 2**20) for _ in range(4)]  # 40 MiB each: glibc keeps less
        del several

torch.set_num_threads(1)
with heap.kept() if sys.argv[1] == "kept" else contextlib.nullcontext():
    with heap.kept() if sys.argv[1] == "kept" else contextlib.nullcontext():
        work(5)
    before = faults()
    work(10)
    print(faults() - before)
    print(psutil.Process().memory_info().rss)
print(psutil.Process().memory_info().rss)
"""
PAGES = 4 * 40 * 2**20 // os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
"""That one turn of the work takes."""


def measured(how: str, **environment: str) -> list[int]:
    """Pages fetched in ten turns after five; bytes held within, and after it."""
    clean = {name: value for name, value in os.environ.items() if name not in heap.OWN_WAYS}
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, how],
        env={**clean, **environment},
        check=True,
        capture_output=True,
        text=True,
    )
    return [int(line) for line in done.stdout.split()]


def test_what_is_freed_is_kept_for_the_next_step_and_given_back_at_the_end() -> None:
    fetched, within, after = measured("kept")
    assert fetched < PAGES / 10
    assert within - after > 0.8 * 4 * 40 * 2**20


def test_who_has_arranged_memory_in_another_way_is_left_alone() -> None:
    fetched, _, _ = measured("kept", MALLOC_MMAP_THRESHOLD_="65536")
    assert fetched > 9 * PAGES
