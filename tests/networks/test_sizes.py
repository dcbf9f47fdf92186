"""Images that a network can't halve: padded inside, cropped after, and nothing else changes."""

import pytest
import torch

from loang.networks.sizes import cropped, padded
from loang.networks.unet import UNet


def numbered(height, width):
    return torch.arange(1.0, 1 + 2 * height * width).reshape(1, 2, height, width)


def network(**changes):
    plain = {"channels": 2, "width": 8, "multipliers": (1, 1, 2), "blocks": 1, "attention": (1,)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = UNet(**{**plain, **changes}).eval()
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    return made


@pytest.mark.parametrize("multiple", [1, 2, 8, 12])
def test_every_size_grows_to_the_next_multiple_and_comes_back(multiple):
    for height in range(1, 41):
        for width in range(1, 41):
            x = numbered(height, width)
            grown = padded(x, multiple)
            for before, after in zip(x.shape[2:], grown.shape[2:], strict=True):
                assert after % multiple == 0
                assert 0 <= after - before < multiple
            assert torch.equal(cropped(grown, height, width), x)


def test_a_size_that_fits_is_not_touched():
    x = numbered(16, 24)
    assert padded(x, 8) is x


def test_edges_are_repeated_as_often_on_both_sides():
    x = numbered(2, 1)[:, :1]
    assert padded(x, 4).tolist() == [
        [[[1.0] * 4, [1.0] * 4, [2.0] * 4, [2.0] * 4]],
    ]


@pytest.mark.parametrize("width", [1, 2, 6, 10])
def test_a_mirrored_image_is_padded_as_its_mirror_image_where_the_columns_are_even(width):
    multiple = 4 if width % 2 == 0 else 3
    x = numbered(5, width)
    assert (-width % multiple) % 2 == 0
    assert torch.equal(padded(x.flip(3), multiple), padded(x, multiple).flip(3))


@torch.no_grad()
@pytest.mark.parametrize("fold", [1, 2])
def test_the_unet_takes_any_size(fold):
    made = network(fold=fold)
    for side in range(1, 41):
        x = torch.randn(1, 2, side, (7 * side) % 40 + 1)
        out = made(x, torch.tensor([3]))
        assert out.shape == x.shape
        assert bool(out.isfinite().all())


@torch.no_grad()
def test_the_answer_is_that_for_the_padded_image_cut_out_of_it():
    made, t = network(fold=2), torch.tensor([3])
    x = torch.randn(1, 2, 27, 30, generator=torch.Generator().manual_seed(0))
    whole = made(padded(x, 8), t)
    assert whole.shape == (1, 2, 32, 32)
    assert torch.equal(made(x, t), whole[:, :, 2:29, 1:31])


@pytest.mark.parametrize(("height", "width"), [(7, 9), (1, 1), (13, 3)])
def test_every_pixel_reaches_the_answer_the_border_too(height, width):
    x = torch.randn(1, 2, height, width, requires_grad=True)
    out = network()(x, torch.tensor([3]))
    (out * torch.randn_like(out)).sum().backward()
    assert bool((x.grad != 0).all())


def test_an_image_in_a_batch_is_padded_by_its_own_edges():
    made, t = network(), torch.tensor([3, 3])
    x = torch.randn(2, 2, 7, 9)
    with torch.no_grad():
        both = made(x, t)
        torch.testing.assert_close(made(x[1:], t[1:]), both[1:], rtol=0, atol=1e-5)
