"""What a person asks of `Model.sample`: taken in any usual form, or refused in words."""

import numpy as np
import pytest
import torch

from answering import answering
from in_steps import IN_STEPS
from loang import build, presets
from loang.config import changed
from loang.data import ImageSpec
from loang.errors import LoangError
from loang.model import Model

# Signatures are what a person need not keep to.
pytestmark = pytest.mark.usefixtures("unchecked_signatures")
SPEC = ImageSpec(8, 12, 3, class_names=("boot", "bag", "ankle boot"))
TINY = ("network.width=8", "network.multipliers=1,1", "network.heads=1", "sampling.steps=3")


@pytest.fixture(scope="module")
def model():
    settings = changed(presets.quick(), [*TINY, *IN_STEPS])
    return answering(settings, SPEC)


def test_a_class_is_asked_for_by_name_or_number(model):
    images = model.sample(2, label="boot", precision="float32")
    for asked in (
        {"label": 0},
        {"label": np.int64(0)},
        {"labels": [0, 0]},
        {"labels": np.zeros(2, np.int64)},
        {"labels": torch.zeros(2, dtype=torch.int32)},
    ):
        assert np.array_equal(model.sample(2, precision="float32", **asked), images)
    assert not np.array_equal(model.sample(2, label="bag", precision="float32"), images)
    hidden = model.sample(2, labels=[3, 3], precision="float32")
    assert not np.array_equal(hidden, images)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"label": 3}, "no class has the number 3.*from 0 to 2"),
        ({"label": -1}, "no class has the number -1"),
        ({"label": "coat"}, "no class is called 'coat'.*boot, bag, ankle boot"),
        ({"labels": [0]}, r"2 whole numbers.*shape \[1\]"),
        ({"labels": [0.0, 1.0]}, "2 whole numbers.*float32"),
        ({"labels": [0, 4]}, "outside of 0 to 3"),
        ({"labels": ["boot", "bag"]}, "no array of numbers"),
        ({"labels": [0, 1], "label": 1}, "Both label and labels"),
        ({"count": 0}, "0 images can't be drawn"),
        ({"batch": 0}, "A batch of 0 can't be drawn"),
        ({"seed": None}, "The seed None is no whole number"),
        ({"seed": 1.5}, "The seed 1.5 is no whole number"),
    ],
)
def test_samples_that_can_not_be_asked_for_are_refused_in_words(model, asked, words):
    with pytest.raises(LoangError, match=words):
        model.sample(**{"count": 2, **asked})


def test_a_model_without_classes_is_asked_for_none(model):
    spec = ImageSpec(8, 12, 3)
    plain = Model(build.build_denoiser(model.settings, spec), spec, model.settings)
    for asked in ({"label": 1}, {"labels": [0, 0]}):
        with pytest.raises(LoangError, match="knows no classes"):
            plain.sample(2, **asked)
    with pytest.raises(LoangError, match="0 images"):
        next(plain.walk([]))
