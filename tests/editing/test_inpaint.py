"""Inpainting keeps what is known to the last bit, and fills the rest as the model's images are."""

import numpy as np
import pytest
import torch
from editing_models import DEEP, GREY, SCHEDULES, SPECS, Gaussian, model_of, pixels_of
from PIL import Image

from loang import schedule
from loang.config import DataSettings, SamplingSettings
from loang.data.spec import ImageSpec
from loang.denoiser import Estimate
from loang.editing.inpaint import Known, inpaint, resampled
from loang.editing.picture import read, read_with_holes
from loang.errors import LoangError
from loang.samplers import ddim, ddpm, named

FEW = SamplingSettings(sampler="ddpm", steps=4)
HOLE = (slice(2, 5), slice(1, 4))
WAYS = {
    "repaint": ({"sampler": "ddpm", "steps": 4}, {"resample": 2, "jump": 2}),
    "ddim": ({"sampler": "ddim", "steps": 4}, {"resample": 1}),
    "ddim resampled": ({"sampler": "ddim", "steps": 4}, {"resample": 2, "jump": 3}),
    "dpmpp-2m": ({"sampler": "dpmpp-2m", "steps": 4}, {"resample": 1}),
    "heun": ({"sampler": "heun", "steps": 3}, {"resample": 1}),
}


def known_of(spec):
    known = np.ones((spec.height, spec.width), bool)
    known[HOLE] = False
    return known


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize("spec", SPECS)
def test_known_pixels_are_kept_to_the_last_bit(way, kind, spec):
    model, spec = model_of(SPECS[spec], kind), SPECS[spec]
    pixels, known = pixels_of(spec), known_of(spec)
    settings, options = WAYS[way]
    filled = inpaint(model, pixels, known, 2, sampling=SamplingSettings(**settings), **options)
    assert filled.dtype == pixels.dtype
    for one in filled:
        assert np.array_equal(one[known], pixels[known])
        assert not np.array_equal(one[~known], pixels[~known])
    assert not np.array_equal(filled[0], filled[1])


def test_what_lies_in_a_hole_decides_nothing():
    model, pixels, known = model_of(DEEP), pixels_of(DEEP), known_of(DEEP)
    other = pixels.copy()
    other[~known] = 17
    assert np.array_equal(*(inpaint(model, each, known, sampling=FEW) for each in (pixels, other)))


def test_a_filling_depends_on_seed_and_number_alone():
    model, pixels, known = model_of(), pixels_of(GREY), known_of(GREY)
    given = {"sampling": FEW, "resample": 2, "jump": 2}
    together = inpaint(model, pixels, known, 3, seed=4, **given)
    apart = inpaint(model, pixels, known, 3, seed=4, batch=1, **given)
    assert np.abs(together.astype(int) - apart).max() <= 1
    assert np.array_equal(together, inpaint(model, pixels, known, 3, seed=4, **given))
    assert not np.array_equal(together, inpaint(model, pixels, known, 3, seed=5, **given))


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("resample", [1, 3])
@pytest.mark.parametrize("kind", [schedule.cosine(), schedule.Edm(), schedule.Flow()], ids=str)
def test_at_each_level_the_known_part_is_the_pictures_own_diffusion(kind, resample, eta):
    """Of 4,000 draws, mean signal * x_0 and deviation noise, within 5 standard errors."""
    generator = torch.Generator().manual_seed(1)

    def noise(step):
        return torch.randn(4000, 1, 1, 2, generator=generator, dtype=torch.float64)

    picture = torch.tensor([[[[0.7, 0.0]]]], dtype=torch.float64)
    known = torch.tensor([[[[True, False]]]])
    denoiser = Known(Gaussian(kind, torch.eye(2)), picture, known)
    levels = kind.levels(6)
    x = denoiser.begin(noise(0), levels[0])
    for state in resampled(denoiser, x, levels, noise, resample=resample, jump=2, eta=eta):
        at = torch.tensor(state.t, dtype=torch.float64)
        signal, deviation = float(kind.signal(at)), float(kind.noise(at))
        seen = state.x[..., 0]
        assert float(seen.mean()) == pytest.approx(signal * 0.7, abs=5 * deviation / 63 + 1e-12)
        assert float(seen.std()) == pytest.approx(deviation, rel=5 / 89, abs=1e-12)
    assert float((state.x[..., 0] - 0.7).abs().max()) == 0


def test_one_pass_is_the_samplers_own_walk():
    kind = schedule.cosine()
    denoiser = Gaussian(kind, torch.eye(4))
    draws = torch.randn(9, 5, 1, 2, 2, dtype=torch.float64)
    given = denoiser, draws[0], kind.levels(7), lambda step: draws[step + 1]
    for sampler, eta in ((ddpm, 1.0), (ddim, 0.0)):
        *_, theirs = sampler(*given)
        *_, ours = resampled(*given, resample=1, eta=eta, jump=3)
        torch.testing.assert_close(ours.x, theirs.x, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("steps", "jump", "ways"),
    [
        (4, 2, [4, 3, 4, 3, 4, 3, 2, 1, 2, 1, 2, 1]),
        (4, 3, [4, 4, 4, 3, 2, 1, 3, 2, 1, 3, 2, 1]),
        (2, 10, [2, 1, 2, 1, 2, 1]),
    ],
)
def test_every_stretch_is_gone_through_as_often_as_is_asked(steps, jump, ways):
    """The levels that are left at each step; stretches are counted from the clean image."""
    kind = schedule.cosine()
    denoiser = Gaussian(kind, torch.eye(4))
    x = torch.randn(2, 1, 2, 2, dtype=torch.float64)
    states = list(resampled(denoiser, x, kind.levels(steps), lambda _: x, resample=3, jump=jump))
    assert denoiser.asked == 3 * steps
    assert len(states) == 3 * steps + 1
    left = [kind.levels(steps)[::-1].index(state.t) for state in states[:-1]]
    assert left == ways


def test_resampling_brings_the_filling_nearer_to_what_belongs_there():
    """Two pixels, correlated by 0.9, one of them known: the other's mean is 0.9 of it."""
    kind, picture = schedule.cosine(), torch.tensor([[[[1.5, 0.0]]]], dtype=torch.float64)
    exact = Gaussian(kind, torch.tensor([[1.0, 0.9], [0.9, 1.0]]))
    denoiser = Known(exact, picture, torch.tensor([[[[True, False]]]]))
    wrong = {}
    for resample in (1, 5):
        generator = torch.Generator().manual_seed(0)

        def noise(step, generator=generator):
            return torch.randn(4000, 1, 1, 2, generator=generator, dtype=torch.float64)

        levels = kind.levels(20)
        x = denoiser.begin(noise(0), levels[0])
        *_, last = resampled(denoiser, x, levels, noise, resample=resample, jump=5)
        wrong[resample] = abs(float(last.x[..., 1].mean()) - 0.9 * 1.5)
    assert wrong[1] > 0.15
    assert wrong[5] < 0.5 * wrong[1]


def test_a_learnt_variance_does_not_move_what_is_known():
    class Learnt(Gaussian):
        def __call__(self, x_t, t, label=None):
            estimate = super().__call__(x_t, t)
            return Estimate(estimate.x0, estimate.eps, torch.full_like(x_t, 0.8))

    known = torch.tensor([[[[True, False]]]])
    denoiser = Known(
        Learnt(schedule.cosine(), torch.eye(2)), torch.zeros(1, 1, 1, 2).double(), known
    )
    estimate = denoiser(torch.ones(3, 1, 1, 2).double(), torch.full((3,), 500))
    assert estimate.variance is not None
    assert estimate.variance[:, 0, 0].tolist() == [[0.0, pytest.approx(0.8)]] * 3


@pytest.mark.parametrize("name", ["euler-ancestral", "dpmpp-2m-sde", "unipc", "ipndm"])
def test_every_sampler_ends_at_what_is_known(name):
    kind = schedule.Flow()
    picture, known = torch.rand(1, 1, 2, 2), torch.tensor([[[[True, False], [False, True]]]])
    denoiser = Known(Gaussian(kind, torch.eye(4)), picture.double(), known)
    x = torch.randn(3, 1, 2, 2, dtype=torch.float64)
    *_, last = named(name)(denoiser, denoiser.begin(x, 1.0), kind.levels(6), lambda _: x)
    at_ends = known.expand_as(last.x)
    expected = picture.double().expand_as(last.x)
    torch.testing.assert_close(last.x[at_ends], expected[at_ends], rtol=0, atol=1e-12)


def test_resampling_by_a_sampler_that_knows_none_is_refused():
    with pytest.raises(LoangError, match="--resample 1 for heun"):
        inpaint(
            model_of(), pixels_of(GREY), known_of(GREY), sampling=SamplingSettings(sampler="heun")
        )
    with pytest.raises(LoangError, match="no class is called"):
        inpaint(model_of(), pixels_of(GREY), known_of(GREY), label="hat")
    with pytest.raises(LoangError, match="less than once"):
        inpaint(model_of(), pixels_of(GREY), known_of(GREY), resample=0)


def test_a_padded_picture_is_padded_as_training_pads_it(tmp_path):
    spec = ImageSpec(16, 16, 1)
    pixels = np.full((16, 32), 60, np.uint8)
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    mask = np.zeros((16, 32), np.uint8)
    mask[6:10, 4:10] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    data = DataSettings(fit="pad")
    whole = read(tmp_path / "wide.png", spec, data)
    picture, known = read_with_holes(tmp_path / "wide.png", spec, data, tmp_path / "mask.png")
    assert whole.pixels[0].min() == 255
    np.testing.assert_array_equal(picture.pixels[known], whole.pixels[known])
    assert 0 < (~known).sum() < 30
