"""Spoilt files of every kind: read, or refused in words. The short form of benchmarks/fuzz.py."""

import importlib.util
import random
from pathlib import Path

import pytest
import readers
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "fuzz.py"
FEW = {"resume": 4, "folder": 30, "checkpoint": 40}  # the others are faster
KERAS = {"keras-checkpoint": 20, "keras-h5": 40, "keras": 20}
EXAMPLES = {**KERAS, **FEW, "denoising-diffusion": 30, "guided-diffusion": 30}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The readers, each made once."""
    torch.set_num_threads(1)
    place, known = tmp_path_factory.mktemp("fuzz"), {}

    def reader(name):
        if name not in known:
            kinds = {**readers.READERS, **readers.FAULTY}
            known[name] = kinds[name](name, place / name)
        return known[name]

    return reader


@pytest.mark.parametrize("name", readers.READERS)
def test_a_spoilt_file_is_read_or_refused_and_nothing_else(made, name):
    reader = made(name)

    @settings(
        max_examples=EXAMPLES.get(name, 80),
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.randoms(use_true_random=False))
    def spoil(case):
        assert reader.outcome(case) in ("read", "refused")

    spoil()


@pytest.mark.parametrize("name", [name for name in readers.READERS if name != "resume"])
def test_files_are_neither_all_read_nor_all_refused(made, name):
    """Else they would be spoilt too little or too much to show anything."""
    reader = made(name)
    expected = {"read"} if name == "log" else {"read", "refused"}
    outcomes = set()
    for case in range(60):
        outcomes.add(reader.outcome(random.Random(f"both/{name}/{case}")))
        if len(outcomes) == 2:
            break
    assert outcomes == expected


@pytest.mark.slow
@pytest.mark.skipif(not BENCHMARK.exists(), reason="the benchmarks are not here")
def test_the_long_run_finds_every_fault_and_goes_on():
    spec = importlib.util.spec_from_file_location("fuzz", BENCHMARK)
    fuzz = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fuzz)
    tally = fuzz.Tally()
    fuzz.run(0, 0, 25, {"broken": 1}, tally)
    assert tally.cases == 25
    found = {failure["what"] for failure in tally.failures}
    kinds = {"TypeError", "AssertionError", "RuntimeWarning", "ended with -6"}
    assert found == {f"failed: {kind}" for kind in kinds}
    assert set(tally.outcomes["broken"]) == {"read", "refused", "failed"}
    assert len(tally.failures) == tally.outcomes["broken"]["failed"]
