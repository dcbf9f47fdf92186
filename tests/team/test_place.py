"""Which of a job's processes this one is, as the environment says."""

import subprocess
import sys

import pytest
import torch

import loang
from loang import device
from loang.errors import LoangError
from loang.team.place import Place

JOB = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}


@pytest.fixture
def environment(monkeypatch):
    for name in JOB:
        monkeypatch.delenv(name, raising=False)

    def set_to(**values):
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return set_to


def test_without_a_launcher_a_process_is_alone(environment):
    assert Place.here() == Place(0, 1, 0, 1)


def test_a_launcher_s_words(environment):
    environment(**JOB)
    assert Place.here() == Place(5, 8, 1, 4)
    assert str(Place.here()) == "process 5 of 8"


@pytest.mark.parametrize(
    "wrong",
    [
        {"RANK": "8"},
        {"LOCAL_RANK": "4"},
        {"LOCAL_WORLD_SIZE": "9"},
        {"RANK": "-1"},
        {"WORLD_SIZE": "many"},
    ],
)
def test_words_that_can_t_be_are_refused(environment, wrong):
    environment(**{**JOB, **wrong})
    with pytest.raises(LoangError, match="torchrun"):
        Place.here()


def test_each_process_takes_the_gpu_of_its_own_number(environment, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    environment(**JOB)
    assert device.choose("auto") == torch.device("cuda", 1)
    assert device.choose("cuda") == torch.device("cuda", 1)
    environment(LOCAL_RANK="2")
    with pytest.raises(LoangError, match=r"of this machine's 2 GPUs none is left"):
        device.choose("auto")


def test_a_process_that_is_shown_its_own_gpu_alone_takes_that(environment, monkeypatch):
    """As SLURM shows them; torchrun shows the same to all, and one GPU serves one process."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    environment(**JOB)
    assert device.choose("auto") == torch.device("cuda", 0)
    environment(**JOB, TORCHELASTIC_RUN_ID="none")
    with pytest.raises(LoangError, match=r"of this machine's 1 GPUs none is left"):
        device.choose("auto")


def test_a_job_s_process_opens_a_model_on_its_own_gpu(environment, monkeypatch, tmp_path):
    """Which no name tells: `cuda:1` would be for all of them."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    environment(**JOB)
    own = device.choose("auto")
    moved = []
    model = loang.load("built-in", device="cpu")
    monkeypatch.setattr(model.denoiser, "to", moved.append)
    model.to(own)
    assert moved == [own]
    with pytest.raises(LoangError, match="would share cuda:1"):
        model.to(str(own))


def test_a_rank_without_a_job_is_told_of_and_not_swallowed(environment):
    environment(RANK="1")
    done = subprocess.run(
        [sys.executable, "-m", "loang", "sample", "nowhere"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "RANK=1" in done.stderr
