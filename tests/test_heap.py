"""Memory that is kept while something is computed: fetched once, and given back at the end."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import loang
from loang import heap
from loang.training.trainer import Step, Trainer

pytestmark = pytest.mark.skipif(
    heap.library({}) is None, reason="of Linux with glibc alone is it known how it keeps memory"
)
MEASURED = """
import contextlib, resource, sys
import psutil, torch
from loang import device, heap

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
    if "asked" in sys.argv:
        device.memory_free()
        print(psutil.Process().memory_info().rss)
print(psutil.Process().memory_info().rss)
"""
SPLIT = """
import os, sys
from loang import heap

with heap.kept():
    heap.kept._lock.acquire()  # as another thread does while it gives memory back
    child = os.fork()
    if child == 0:
        with heap.kept():
            pass
        os._exit(heap.kept._within)
    heap.kept._lock.release()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
PAGES = 4 * 40 * 2**20 // os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
"""That one turn of the work takes."""


def measured(how: str, *more: str, **environment: str) -> list[int]:
    """Pages fetched in ten turns after five; bytes held within, and after it."""
    clean = {name: value for name, value in os.environ.items() if name not in heap.OWN_WAYS}
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, how, *more],
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


def test_where_it_is_asked_what_is_free_all_is_given_back_first() -> None:
    _, before, asked, _ = measured("kept", "asked")
    assert before - asked > 0.8 * 4 * 40 * 2**20


def test_trainings_and_draws_are_within(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = list[int]()
    loang.load("built-in").sample(1, on_step=lambda *_: seen.append(heap.kept._within))
    whole = Trainer.step

    def step(self: Trainer, share: float) -> Step:
        seen.append(heap.kept._within)
        return whole(self, share)

    monkeypatch.setattr(Trainer, "step", step)
    np.save(tmp_path / "noise.npy", np.random.default_rng(0).integers(0, 256, (40, 8, 8), np.uint8))
    changes = ["network.width=16", "network.group_channels=4", "sampling.steps=2"]
    loang.train(tmp_path / "noise.npy", budget="16 images", out=tmp_path / "run", changes=changes)
    assert len(seen) > 2
    assert all(seen)
    assert heap.kept._within == 0


def test_a_walk_that_is_left_in_its_midst_keeps_nothing() -> None:
    model = loang.load("built-in")
    walk = model.walk([0])
    next(walk)
    assert heap.kept._within == 0
    model.sample(1)
    assert heap.kept._within == 0


def test_a_walk_that_is_left_until_the_process_ends_says_nothing() -> None:
    code = "import loang; walk = loang.load('built-in').walk([0]); next(walk)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert not ended.stderr


def test_a_process_that_was_split_off_within_it_waits_for_no_thread_of_the_first() -> None:
    ended = subprocess.run([sys.executable, "-c", SPLIT], timeout=60, check=False)
    assert ended.returncode == 0


def test_who_has_arranged_memory_in_another_way_is_left_alone() -> None:
    fetched, _, _ = measured("kept", MALLOC_MMAP_THRESHOLD_="65536")
    assert fetched > 9 * PAGES
