"""Signatures are checked while testing, here in whole runs; the tests of whole runs go without."""

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError, config

import checking
import loang
from checking import FIRST, ONE_IN, numeric, sparing, unchecked
from in_steps import IN_STEPS
from loang import drawing
from loang.loss import denoising_loss
from loang.sampling import SAMPLERS

SMALL = (
    *("network.width=8", "network.multipliers=1,1", "network.attention=[1]", "network.heads=1"),
    *(*IN_STEPS, "network.blocks=1", "training.batch=8", "training.reports=2"),
    *("schedule.steps=50", "sampling.steps=5", "data.flips=true", "training.micro_batch=5"),
)


def mistaken():
    """An image where a batch of them is asked for."""
    denoising_loss(None, torch.zeros(1, 8, 8), None, torch.zeros(1, 8, 8))


def doubled(number: int) -> int:
    return 2 * number


def test_a_wrong_shape_is_seen_and_after_whole_runs_seen_again():
    with pytest.raises(TypeCheckError):
        mistaken()
    with unchecked(), unchecked(), pytest.raises(AttributeError):
        mistaken()
    with pytest.raises(TypeCheckError):
        mistaken()


def test_what_is_made_within_a_function_is_checked_too():
    """Only where nothing is checked is it left as it is."""

    def given(number: int) -> int:
        return number

    assert sparing(given, typechecker=numeric) is not given
    with unchecked():
        assert sparing(given, typechecker=numeric) is given
        assert sparing(doubled, typechecker=numeric) is not doubled  # as of a module that is new


def test_of_a_loop_the_first_calls_and_some_of_the_others_are_checked():
    checked = sparing(doubled, typechecker=numeric)

    def mistakes(calls):
        seen = []
        for number in range(calls):
            try:
                assert checked("a") == "aa"
            except TypeCheckError:
                seen.append(number)
        return seen

    assert mistakes(3 * ONE_IN) == [*range(FIRST), ONE_IN - 1, 2 * ONE_IN - 1, 3 * ONE_IN - 1]
    checking.anew()
    assert mistakes(FIRST + 1) == list(range(FIRST))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A whole run; whatever its functions are given first is checked, and more."""
    assert not config.jaxtyping_disable
    folder = tmp_path_factory.mktemp("checked")
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 255, (40, 8, 8), np.uint8), np.arange(40) % 3
    np.savez(folder / "pictures.npz", images=images, labels=labels)
    loang.train(
        folder / "pictures.npz", out=folder / "run", budget="64 images", changes=SMALL, device="cpu"
    )
    return folder / "run"


def test_a_whole_run_gives_its_functions_what_they_ask_for(run):
    assert loang.load(run, device="cpu").facts["images"] == 64
    assert (run / "samples.png").exists()


def test_so_does_a_distillation(run, tmp_path):
    loang.distill(run, out=tmp_path / "student", budget="32 images", device="cpu")
    assert loang.load(tmp_path / "student", device="cpu").sample(2).shape == (2, 8, 8, 1)


@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name != "consistency"])
def test_so_does_every_sampler(run, sampler):
    model = loang.load(run, device="cpu")
    sampling = drawing.sampling(model, sampler=sampler, steps=4)
    assert model.sample(2, sampling=sampling, label=1).shape == (2, 8, 8, 1)
