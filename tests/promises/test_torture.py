"""The short form of `python benchmarks/torture.py`: runs that are killed again and again."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "torture.py"
pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork"),
    pytest.mark.skipif(not BENCHMARK.exists(), reason="the benchmarks are not here"),
]


@pytest.mark.slow
def test_runs_that_are_killed_lose_nothing():
    ended = subprocess.run(
        [sys.executable, str(BENCHMARK), "--kills", "5", "--seed", "1", "--steps", "40"],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert '"kills": 5' in ended.stdout
    assert '"failures": 0' in ended.stdout


@pytest.mark.parametrize("damage", ["weights", "stray"])
def test_the_torture_sees_what_it_should(tmp_path, damage):
    """A torture that could not fail would prove nothing."""
    spec = importlib.util.spec_from_file_location("torture", BENCHMARK)
    torture = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(torture)
    from loang.training import checkpoint

    weights = {"w": torture.torch.ones(3)}
    progress = {"progress": {"step": torture.STEPS}}
    state = checkpoint.Checkpoint({"model": weights, "ema": weights}, progress)
    place = checkpoint.save(tmp_path / "checkpoints", torture.STEPS, state)
    assert torture.look(tmp_path) == ("elsewhere", [])
    assert sorted(torture.everything(tmp_path)) == ["ema/w", "model/w"]
    if damage == "weights":
        file = place / "ema.safetensors"
        file.write_bytes(file.read_bytes()[:-1] + b"\1")
        assert torture.look(tmp_path)[1]
        with pytest.raises(Exception, match="whole checkpoint"):
            torture.everything(tmp_path)
    else:
        for name in (".step-1", ".step-2.deleted", ".step-3.replaced"):
            (tmp_path / "checkpoints" / name).mkdir()
        assert torture.look(tmp_path)[1]
