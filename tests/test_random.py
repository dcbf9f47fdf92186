"""Random numbers: the published Philox vectors, their statistics, and that nothing else matters."""

import math

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from in_steps import IN_STEPS
from loang import config, presets, random
from loang.build import build_denoiser
from loang.data import order
from loang.data.spec import ImageSpec

MANY = torch.arange(100_000)
ASK = {"seed": 0, "purpose": "test", "step": 0}


def hexadecimal(words):
    return tuple(int(word, 16) for word in words.split())


@pytest.mark.parametrize(
    ("counter", "key", "published"),
    [
        (
            "00000000 00000000 00000000 00000000",
            "00000000 00000000",
            "6627e8d5 e169c58d bc57ac4c 9b00dbd8",
        ),
        (
            "ffffffff ffffffff ffffffff ffffffff",
            "ffffffff ffffffff",
            "408f276d 41c83b0e a20bc7c6 6d5451fd",
        ),
        (
            "243f6a88 85a308d3 13198a2e 03707344",
            "a4093822 299f31d0",
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_philox_gives_the_known_answers_of_its_authors(counter, key, published):
    words = tuple(torch.tensor([word]) for word in hexadecimal(counter))
    answer = random.philox(words, hexadecimal(key))
    assert tuple(int(word) for word in answer) == hexadecimal(published)


def test_words_are_32_bits_each():
    words = random.words(4, indices=MANY, **ASK)
    assert int(words.min()) >= 0
    assert int(words.max()) < 2**32
    # Each of the 32 bits is set half of the time, within five standard deviations.
    share = ((words[..., None] >> torch.arange(32)) & 1).double().mean((0, 1))
    assert float((share - 0.5).abs().max()) < 5 * 0.5 / math.sqrt(words.numel())


@pytest.mark.parametrize("shape", [(), (1,), (3,), (5, 7), (3, 2, 3)])
def test_an_index_draws_the_same_whatever_is_drawn_beside_it(shape):
    together = random.normal(shape, indices=torch.arange(10), **ASK)
    assert together.shape == (10, *shape)
    assert together.dtype == torch.float32
    backwards = random.normal(shape, indices=torch.arange(10).flip(0), **ASK)
    assert torch.equal(backwards.flip(0), together)
    for i in (0, 3, 9):
        alone = random.normal(shape, indices=torch.tensor([i]), **ASK)
        assert torch.equal(alone[0], together[i])


def test_integers_and_uniform_numbers_do_not_depend_on_the_batch_either():
    some = torch.tensor([99, 5, 7])
    for draw in (random.uniform, lambda **ask: random.integers(1, 1000, **ask)):
        assert torch.equal(draw(indices=some, **ASK), draw(indices=MANY[:100], **ASK)[some])


def test_normal_numbers_have_the_moments_of_the_normal_distribution():
    x = random.normal((4,), indices=MANY, **ASK).double().flatten()
    # (mean, its variance a number) of the powers 1, 2, 3, 4
    for power, (expected, variance) in enumerate([(0, 1), (1, 2), (0, 15), (3, 96)], start=1):
        error = abs(float((x**power).mean()) - expected)
        assert error < 4 * math.sqrt(variance / len(x)), power


@pytest.mark.parametrize("shape", [(1,), (3,), (1, 5, 5)])
def test_an_odd_number_of_values_is_normal_in_every_one_of_them(shape):
    """The last word of a pair must be a word: with 0 in its place one value is never negative."""
    x = random.normal(shape, seed=0, purpose="test", step=0, indices=torch.arange(20_000))
    x = x.reshape(20_000, -1).double()
    assert float(x.mean(0).abs().max()) < 5 / 20_000**0.5
    assert float((x.square().mean(0) - 1).abs().max()) < 5 * (2 / 20_000) ** 0.5
    assert float(((x < 0).double().mean(0) - 0.5).abs().max()) < 5 * 0.5 / 20_000**0.5


def test_normal_numbers_lie_close_to_the_normal_distribution_function():
    """Kolmogorov and Smirnov: at this distance one honest sample of 10,000 would be refused."""
    x = random.normal((4,), indices=MANY, **ASK).double().flatten().sort().values
    expected = (1 + torch.erf(x / math.sqrt(2))) / 2
    steps = torch.arange(len(x) + 1) / len(x)
    distance = max(float((expected - steps[:-1]).max()), float((steps[1:] - expected).max()))
    assert distance < 2.23 / math.sqrt(len(x))


def test_both_halves_of_a_pair_are_independent():
    """Box and Muller's sine and cosine: uncorrelated, and so are their squares."""
    a, b = random.normal((2,), indices=MANY, **ASK).double().unbind(1)
    assert abs(correlation(a, b)) < 4 / math.sqrt(len(a))
    assert abs(correlation(a**2, b**2)) < 4 / math.sqrt(len(a))


def correlation(a, b):
    return float(torch.corrcoef(torch.stack((a, b)))[0, 1])


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"seed": -1},
        {"seed": 2**64},
        {"purpose": "tests"},
        {"step": 1},
        {"step": 2**32 - 1},
        {"indices": MANY + 1},
        {"indices": MANY + len(MANY)},
        {"indices": MANY + 2**32},
    ],
    ids=str,
)
def test_another_seed_purpose_step_or_index_draws_unrelated_numbers(other):
    one = random.normal((), **ASK, indices=MANY).double()
    two = random.normal((), **{**ASK, "indices": MANY, **other}).double()
    assert abs(correlation(one, two)) < 4 / math.sqrt(len(one))
    assert not torch.equal(one, two)


def test_seed_and_purpose_cannot_be_mistaken_for_one_another():
    assert random.key(1, "1/x") != random.key(11, "/x")
    assert random.key(1, "1/x") != random.key(1, "x")


def test_step_index_and_block_do_not_share_numbers():
    words = [
        random.words(8, seed=0, purpose="test", step=step, indices=torch.tensor([i, i + 2**32]))
        for step in range(8)
        for i in range(8)
    ]
    found = torch.cat(words).flatten()
    # 1024 words of 2**32: two alike have a chance of 1 in 8,000.
    assert len(found.unique()) == len(found)


def test_indices_beyond_32_bits_are_told_apart():
    far = torch.tensor([5, 5 + 2**32, 5 + 2**33, 2**62])
    found = random.words(1, indices=far, **ASK)[:, 0]
    assert len(found.unique()) == 4


@pytest.mark.parametrize(("low", "high"), [(1, 500), (0, 1), (-3, 3), (7, 7)])
def test_integers_are_uniform_and_reach_both_ends(low, high):
    drawn = random.integers(low, high, indices=MANY, **ASK)
    count = high - low + 1
    assert (int(drawn.min()), int(drawn.max())) == (low, high)
    seen = torch.bincount(drawn - low, minlength=count).double()
    expected = len(MANY) / count
    chi_squared = float(((seen - expected) ** 2 / expected).sum())
    assert chi_squared <= count - 1 + 4 * math.sqrt(2 * max(count - 1, 1))


def test_uniform_numbers_fill_zero_to_one():
    u = random.uniform(indices=MANY, **ASK)
    assert float(u.min()) >= 0
    assert float(u.max()) < 1
    steps = torch.arange(len(u)) / len(u)
    assert float((u.sort().values - steps).abs().max()) < 2.23 / math.sqrt(len(u))


@pytest.mark.parametrize("step", [-1, 2**32])
def test_a_step_that_does_not_fit_its_word_is_refused(step):
    with pytest.raises(ValueError, match="step"):
        random.words(1, seed=0, purpose="test", step=step, indices=MANY[:1])


def small_settings(*changes):
    wanted = ["network.width=8", "network.heads=1", *IN_STEPS, *changes]
    return config.changed(presets.preset("quick"), wanted)


def everything():
    indices = torch.arange(4)
    random.normal((3,), indices=indices, **ASK)
    random.uniform(indices=indices, **ASK)
    random.integers(0, 9, indices=indices, **ASK)
    order.batch(3, 20, 10, seed=1)
    return build_denoiser(small_settings(), ImageSpec(8, 8, 1)).state_dict()


def test_no_global_generator_is_moved():
    torchs, numpys = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
    everything()
    assert torch.equal(torch.get_rng_state(), torchs)
    after = np.random.get_state()  # noqa: NPY002
    assert all(np.array_equal(a, b) for a, b in zip(after, numpys, strict=True))


def test_no_global_generator_is_read_and_weights_depend_on_the_seed_alone():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        one = everything()
        torch.manual_seed(2)
        two = everything()
    assert all(torch.equal(one[name], two[name]) for name in one)
    other = build_denoiser(small_settings("training.seed=1"), ImageSpec(8, 8, 1)).state_dict()
    assert not torch.equal(one["network.first.weight"], other["network.first.weight"])


def test_uniform_numbers_stay_below_one_where_there_is_no_float64(monkeypatch):
    last = torch.tensor([[2**32 - 1]])
    monkeypatch.setattr(random, "words", lambda *given, **more: last)
    for widest in (torch.float32, torch.float64):
        monkeypatch.setattr(random, "_widest", lambda device, found=widest: found)
        (found,) = random.uniform(**ASK, indices=torch.arange(1))
        assert found.dtype == widest
        assert 1 - 1e-7 < float(found) < 1


def test_a_draw_while_something_is_traced_spoils_no_later_one():
    """As `torch.export` does, whose tensors hold no numbers."""

    def drawn():
        return random.normal((3,), seed=0, purpose="x", step=0, indices=torch.arange(2))

    with FakeTensorMode():
        drawn()
    assert drawn().isfinite().all()
