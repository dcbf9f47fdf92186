"""A distilled model is asked for the walk that it has learnt, and for nothing else."""

import numpy as np
import pytest
from editing_models import GREY, WALKS, pixels_of, student_of

from loang.config import SamplingSettings
from loang.data import Images
from loang.editing import output
from loang.editing.denoise import denoise
from loang.editing.inpaint import inpaint
from loang.editing.interpolate import between_pictures, between_seeds
from loang.editing.start_from import start_from
from loang.errors import LoangError
from loang.likelihood import check

LEVELS = (1000.0, 500.0, 0.0)
KNOWN = np.pad(np.zeros((4, 4), bool), 2, constant_values=True)


def times_asked(model):
    """The times that the denoiser is asked at from now on."""
    asked, predict = [], model.denoiser.predict

    def noted(x_t, t, *others, **named):
        asked.append(float(t[0]))
        return predict(x_t, t, *others, **named)

    model.denoiser.predict = noted
    return asked


@pytest.mark.parametrize("method", WALKS)
def test_holes_are_filled_along_a_students_own_walk(method):
    model = student_of(method)
    for settings in (None, output.sampling(model, None, None)):
        asked = times_asked(model)
        filled = inpaint(model, pixels_of(GREY), KNOWN, sampling=settings)
        assert asked == [1000, 500]
        assert np.array_equal(filled[0][KNOWN], pixels_of(GREY)[KNOWN])


def test_the_last_leaps_of_a_walk_are_its_own():
    model = student_of("leaps")
    asked = times_asked(model)
    start_from(model, pixels_of(GREY), 0.5)
    between_seeds(model, 0, 1, 2)
    list(model.walk([0], sampling=SamplingSettings(levels=LEVELS)))
    assert asked == [500, 1000, 500, 1000, 500]


def test_a_student_by_leaps_walks_from_no_other_level():
    model = student_of("leaps")
    asked = times_asked(model)
    for ask in (
        lambda: denoise(model, pixels_of(GREY), 0.1, walk=True),
        lambda: inpaint(model, pixels_of(GREY), KNOWN, sampling=SamplingSettings(steps=4)),
        lambda: list(model.walk([0], levels=[1000.0, 0.0])),
        lambda: list(model.walk([0], levels=[750.0, 500.0, 0.0])),
        lambda: list(model.walk([0], sampling=SamplingSettings(sampler="heun", levels=LEVELS))),
        lambda: list(model.walk([0], sampling=SamplingSettings(levels=LEVELS, eta=1.0))),
    ):
        with pytest.raises(LoangError, match="has learnt no other walk"):
            ask()
    assert asked == []


def test_a_student_that_leaps_to_the_image_does_so_from_any_level_by_its_sampler_alone():
    model = student_of("consistency")
    asked = times_asked(model)
    denoise(model, pixels_of(GREY), 0.1, walk=True)
    assert 0 < asked[0] < 500
    list(model.walk([0], sampling=model.settings.sampling.model_copy(update={"steps": 4})))
    with pytest.raises(LoangError, match="has learnt no steps of ddpm"):
        model.sample(1, sampling=SamplingSettings(sampler="ddpm"))
    with pytest.raises(LoangError) as caught:
        between_seeds(model, 0, 1)
    assert "--sampler" not in caught.value.remedy


@pytest.mark.parametrize("method", WALKS)
def test_no_student_is_asked_for_mean_images(method):
    model = student_of(method)
    asked, pixels = times_asked(model), pixels_of(GREY)
    images = Images(np.stack([pixels, pixels]), GREY, np.zeros(2, np.int64))
    for ask in (
        lambda: denoise(model, pixels, 0.1),
        lambda: between_pictures(model, pixels, pixels),
        lambda: check(model, images),
    ):
        with pytest.raises(LoangError, match="mean images"):
            ask()
    assert asked == []
