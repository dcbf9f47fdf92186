"""What the machine offers."""

import contextlib
from types import SimpleNamespace

import psutil
import pytest
import torch

from loang import device

MEMORY = 10 * 2**30
NAMES = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
    2: ("memory.max", "memory.current", ""),
}
OWN = {1: "5:cpu,cpuacct:/other\n4:memory:{}\n0::/\n", 2: "0::{}\n"}


@pytest.fixture
def group(tmp_path, monkeypatch):
    """Makes a control group, of a version, with a limit and what is used of it."""
    monkeypatch.setattr(device, "GROUPS", tmp_path / "groups")
    monkeypatch.setattr(device, "OWN_GROUPS", tmp_path / "own")
    free = SimpleNamespace(available=MEMORY)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)

    def make(version, place, limit, used):
        folder = tmp_path / "groups" / ("memory" if version == 1 else "") / place
        folder.mkdir(parents=True, exist_ok=True)
        most, held, prefix = NAMES[version]
        (folder / most).write_text(f"{limit}\n")
        (folder / held).write_text(f"{used}\n")
        said = f"{prefix}inactive_file 300\n{prefix}active_file 40\n"
        (folder / "memory.stat").write_text(f"inactive_file 1\nactive_file 1\n{said}")

    return make


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("seen", ["/jobs/ours", "/of/the/machine"])
def test_a_limit_of_a_group_counts_in_both_versions(group, tmp_path, version, seen):
    """Within a container the group's name may be the machine's, and the root be the group."""
    (tmp_path / "own").write_text(OWN[version].format(seen))
    group(version, "", 2**30 if "ours" not in seen else 2**40, 0)
    assert device.memory_free() == (MEMORY if "ours" in seen else 2**30 + 340)
    if "ours" in seen:
        group(version, "jobs", 5000, 4000)
        group(version, "jobs/ours", 4000, 200)
        assert device.memory_free() == 1340  # of the one that leaves the least


def test_without_groups_or_limits_the_systems_figure_counts(group, tmp_path):
    assert device.memory_free() == MEMORY
    (tmp_path / "own").write_text(OWN[1].format("/") + "nonsense\n")
    group(1, "", 9223372036854771712, 10**9)
    group(2, "", "max", 10**9)
    assert device.memory_free() == MEMORY


NEW = hasattr(torch.backends.mkldnn, "matmul")
WITH_NEW = pytest.mark.skipif(not NEW, reason="this torch has only the old way")


def told():
    """All that torch was told of the precision of products and convolutions."""
    cudnn = torch.backends.cudnn
    kinds = [torch.backends.cuda.matmul]
    mkldnn = torch.backends.mkldnn
    kinds += [mkldnn.matmul, cudnn.conv, cudnn.rnn, mkldnn.conv] if NEW else []
    found = [getattr(kind, "fp32_precision", None) for kind in kinds]
    for old in torch.get_float32_matmul_precision, lambda: cudnn.allow_tf32:
        try:
            found.append(old())
        except RuntimeError:  # where the new way and the old one differ
            found.append(None)
    return found


def by_the_new_way():
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"
    torch.backends.cudnn.conv.fp32_precision = "ieee"
    torch.backends.mkldnn.conv.fp32_precision = "bf16"


def by_the_newest_way():
    torch.backends.fp32_precision = "tf32"


def by_the_oldest_way():
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = False


@pytest.fixture
def untold():
    """What a test tells torch, the next one is not told."""

    def start():
        if NEW:
            torch.backends.fp32_precision = "none"
            torch.backends.mkldnn.conv.fp32_precision = "none"
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = True

    start()
    yield
    start()


@pytest.mark.parametrize("convolutions", [False, True])
@pytest.mark.parametrize(
    "tell",
    [
        pytest.param(lambda: None, id="nothing"),
        pytest.param(lambda: torch.set_float32_matmul_precision("high"), id="high"),
        pytest.param(lambda: torch.set_float32_matmul_precision("medium"), id="medium"),
        by_the_oldest_way,
        pytest.param(by_the_new_way, marks=WITH_NEW, id="new"),
        pytest.param(by_the_newest_way, marks=WITH_NEW, id="newest"),
    ],
)
def test_products_are_whole_within_and_as_they_were_told_after(untold, tell, convolutions):
    tell()
    before = told()
    with contextlib.suppress(KeyError), device.full_precision(convolutions):
        *kinds, matrices, cudnn = told()
        raise KeyError  # it may end in an error
    assert told() == before
    assert matrices == "highest"
    assert {*kinds[:2]} <= {"none", "ieee", None}
    if convolutions:
        assert cudnn is False
        assert {*kinds[2:]} <= {"none", "ieee"}
    else:
        assert [*kinds[2:], cudnn] == [*before[2:-2], before[-1]]
