"""Every test runs with the shapes in loang's signatures checked (jaxtyping, through beartype)."""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

import checking
from undrawing import undrawn

# Several processes test at once: one thread each is faster than all of them for each.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"

checking.install()

# By how long they take, most of all in few tests; each stays with one process, for its fixtures.
FIRST = (
    *("promises/test_many_processes.py", "promises/test_resume.py", "promises/test_fuzz.py"),
    *("doctor/test_doctor_run.py", "promises/test_two_at_once.py", "promises/test_numbers.py"),
    *("promises/test_torture.py", "promises/test_disk.py", "promises/test_snapshots.py"),
    *("training/test_learning.py", "promises/test_distill.py", "test_augmentation.py"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first: one that is begun last keeps one process busy and no other."""
    here = Path(__file__).parent
    begun = {here / name: place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: begun.get(item.path, len(FIRST)))


# How long an example takes says nothing on a machine that does other work too.
settings.register_profile("loang", deadline=None)
settings.load_profile("loang")


@pytest.fixture(autouse=True)
def _checked_anew() -> None:
    """Each test has its own share of checks."""
    checking.anew()


@pytest.fixture(scope="session", autouse=True)
def _own_cache() -> Iterator[None]:
    """Nothing that a test packs lands in the person's cache."""
    before, folder = os.environ.get("LOANG_CACHE"), tempfile.mkdtemp()
    os.environ["LOANG_CACHE"] = folder
    yield
    del os.environ["LOANG_CACHE"]
    if before is not None:
        os.environ["LOANG_CACHE"] = before
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is fetched, and the cache is the test's own."""
    monkeypatch.setenv("LOANG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LOANG_OFFLINE", "1")


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs a command in this process; returns exit status, standard output and errors."""
    from loang import cli

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["loang", *map(str, arguments)])
        try:
            cli.main()
            status = 0
        except SystemExit as leave:
            status = int(leave.code or 0)
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


@pytest.fixture(scope="module")
def unchecked_signatures() -> Iterator[None]:
    """Asked for by a file of tests that train whole runs, whose point is no shape and no type."""
    with checking.unchecked():
        yield


@pytest.fixture(scope="module")
def no_last_pictures() -> Iterator[None]:
    """Asked for by a file of tests that train whole runs and look at none of their pictures."""
    with undrawn():
        yield
