"""A run as a process sees it that another leads: it must learn from the same images."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from trainers import TINY

from jobs import Job
from loang.errors import LoangError
from loang.team.lost import Dismissed
from loang.team.place import Place
from loang.team.team import Team
from loang.training.asked import open_images, resolve
from loang.training.display import Display
from loang.training.following import END, Following


class Told(Team):
    """The second of two, who is told something."""

    def __init__(self, told):
        super().__init__(Place(1, 2, 1, 2))
        self.told = told

    def tell(self, value=None):
        return self.told


@pytest.fixture
def told(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "pictures.npz", images=rng.integers(0, 256, (60, 8, 8), np.uint8))
    settings = resolve(tmp_path / "pictures.npz", changes=[*TINY, "network.fold=1"])
    fingerprint = open_images(settings).fingerprint
    return {"settings": settings.to_dict(), "places": {}, "fingerprint": fingerprint}


def test_with_the_same_images_it_computes_its_part(told):
    following = Following(Told(told))
    assert following.trainer.part == range(4, 8)


def test_other_images_than_the_leader_s_are_refused(told):
    with pytest.raises(LoangError, match="process 1 of 2 finds are not those that the leading"):
        Following(Told({**told, "fingerprint": "0" * 64}))


def test_its_model_is_drawn_as_the_leader_s(told):
    """The leader may have measured another guidance than the settings had."""
    team = Told(told)
    following = Following(team)
    settings = following.settings.to_dict()
    settings["sampling"]["guidance"] = 1.75
    team.told = [END, {"steps": 3}, settings]
    weights = following.trainer.shown.network.state_dict()
    team.hand_out = lambda: {name: torch.zeros_like(each) for name, each in weights.items()}
    model = following.train(Display())
    assert model.settings.sampling.guidance == 1.75
    assert model.facts == {"steps": 3}
    assert not any(weight.any() for weight in model.denoiser.network.state_dict().values())


def test_a_leader_that_has_found_something_wrong_has_told_it():
    with pytest.raises(Dismissed):
        Following(Told(None))


def test_the_average_is_validated_by_all():
    script = Path(__file__).with_name("validating.py")
    for status, said in Job([(script,)] * 3, PYTHONPATH=":".join(filter(None, sys.path))).ended():
        assert status == 0, said
