"""Every test runs with the shapes in loang's signatures checked (jaxtyping, through beartype)."""

import os
import shutil
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

from checking import unchecked

# Several processes test at once: one thread each is faster than all of them for each.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"

install_import_hook("loang", "checking.numeric").__enter__()

# How long an example takes says nothing on a machine that does other work too.
settings.register_profile("loang", deadline=None)
settings.load_profile("loang")


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


@pytest.fixture(scope="module")
def unchecked_signatures() -> Iterator[None]:
    """Asked for by a file of tests that train whole runs, whose point is no shape and no type."""
    with unchecked():
        yield
