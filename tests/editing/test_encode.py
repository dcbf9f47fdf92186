"""To latents and back: right against a formula, of order 4, and the same image again."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from editing_models import GREY, Gaussian, model_of
from torch.nn.functional import avg_pool2d

from loang import schedule
from loang.data.places.sample import read_sample
from loang.editing.encode import angles, decode, encode, unclipped
from loang.loss import denoising_loss

KINDS = {
    "cosine": schedule.cosine(),
    "linear": schedule.linear(),
    "no signal at T": schedule.cosine().with_zero_terminal_snr(),
    "edm": schedule.Edm(),
    "flow": schedule.Flow(),
}
DEVIATION = 0.5


def exact(kind, x0):
    """Of data N(0, DEVIATION²) the flow keeps x / (its own deviation)."""
    path = angles(kind, 4)
    low, high = (math.hypot(math.cos(a) * DEVIATION, math.sin(a)) for a in (path[0], path[-1]))
    return x0 * high / low


@pytest.mark.parametrize("name", KINDS)
def test_the_latents_of_gaussian_images_are_those_of_the_formula(name):
    denoiser = Gaussian(KINDS[name], DEVIATION**2 * torch.eye(4))
    x0 = torch.randn(3, 1, 2, 2, dtype=torch.float64)
    latents = encode(denoiser, x0, 100)
    assert denoiser.asked == 100
    torch.testing.assert_close(latents, exact(KINDS[name], x0), rtol=2e-5, atol=0)
    torch.testing.assert_close(decode(denoiser, latents, 100), x0, rtol=2e-5, atol=0)


def test_the_error_falls_with_the_fourth_power_of_the_steps():
    kind, x0 = schedule.Edm(), torch.ones(1, 1, 1, 1, dtype=torch.float64)
    denoiser, truth = Gaussian(kind, DEVIATION**2 * torch.eye(1)), float(exact(kind, x0))
    errors = [
        abs(float(encode(denoiser, x0, evaluations)) - truth) for evaluations in (400, 800, 1600)
    ]
    slopes = [math.log2(more / less) for more, less in pairwise(errors)]
    assert slopes == pytest.approx([4, 4], abs=0.25)


def test_the_way_goes_from_the_first_trained_time_to_where_no_image_is_left():
    for kind in KINDS.values():
        path = angles(kind, 40)
        sigma = float(kind.sigma(torch.tensor(float(kind.first), dtype=torch.float64)))
        assert path == sorted(path)
        assert path[0] == pytest.approx(math.atan(sigma))
        assert math.tan(path[-1]) > 79
    with pytest.raises(ValueError, match="0 evaluations"):
        angles(schedule.Edm(), 0)


@pytest.fixture(scope="module")
def trained():
    """A small network after 60 steps on the shipped images, and images that it never saw."""
    model = model_of(replace(GREY, class_names=()), "cosine", "network.width=8")
    pixels = torch.from_numpy(read_sample()[0][:2000, 2:26, 2:26].copy()).float()
    images = avg_pool2d(pixels[:, None] / 127.5 - 1, 3)
    denoiser = model.denoiser.train()
    optimizer = torch.optim.Adam(denoiser.parameters(), 3e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(60):
        x0 = images[torch.randint(1990, (16,), generator=generator)]
        t = torch.randint(1, 1001, (16,), generator=generator)
        eps = torch.randn(x0.shape, generator=generator)
        optimizer.zero_grad()
        denoising_loss(denoiser, x0, t, eps).weighted.mean().backward()
        optimizer.step()
    return denoiser.eval(), images[1990:]


def test_an_image_comes_back_from_its_latent_within_a_hundredth(trained):
    """Promised of a trained network, in float32, at 100 evaluations each way."""
    denoiser, x0 = unclipped(trained[0]), trained[1]
    with torch.inference_mode():
        latents = encode(denoiser, x0, 100)
        back = decode(denoiser, latents, 100)
    assert float((back - x0).abs().max()) < 0.01
    assert 0.5 < float(latents.std()) < 1.5
    assert float((latents - x0).abs().max()) > 0.5


def test_unclipped_shares_the_network():
    denoiser = model_of().denoiser
    other = unclipped(denoiser)
    assert other.network is denoiser.network
    assert denoiser.clip
    assert not other.clip
