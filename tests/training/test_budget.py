"""How long a run is, as a person writes it; and the learning rate along it."""

import itertools

import pytest

from loang.config import OptimizerSettings
from loang.errors import LoangError
from loang.training.budget import Budget, duration, learning_rate, parse, twice


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5m", 300),
        ("90s", 90),
        ("1h30m", 5400),
        ("2h", 7200),
        ("1d", 86400),
        ("0.5h", 1800),
        (" 5M ", 300),
        ("1h1m1s", 3661),
    ],
)
def test_a_time_is_read_as_seconds(text, seconds):
    assert parse(text, 1000) == Budget(seconds=float(seconds))


@pytest.mark.parametrize(
    ("text", "images"),
    [
        ("1000000 images", 1_000_000),
        ("1_000_000 images", 1_000_000),
        ("1,000,000 images", 1_000_000),
        ("1e6 images", 1_000_000),
        ("1 image", 1),
        ("64images", 64),
    ],
)
def test_a_number_of_images_is_read(text, images):
    assert parse(text, 1000) == Budget(images=images)


@pytest.mark.parametrize(
    ("text", "epochs", "images"),
    [("50 epochs", 50.0, 50_000), ("1 epoch", 1.0, 1000), ("0.5 epochs", 0.5, 500)],
)
def test_epochs_are_read_and_counted_in_images(text, epochs, images):
    assert parse(text, 1000) == Budget(images=images, epochs=epochs)


def test_a_part_of_an_epoch_is_at_least_one_image():
    assert parse("0.001 epochs", 10).images == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "m",
        "five minutes",
        "-5m",
        "0m",
        "0 epochs",
        "0 images",
        "0.4 images",
        "-1 epochs",
        "nan epochs",
        "inf images",
        "1e999 images",
        "1..5m",
        "1.2.3 epochs",
        ". epochs",
        "5 parsecs",
        "5m!",
        "h5",
        "50 epochs 3 images",
    ],
)
def test_nonsense_is_refused_with_a_remedy(text):
    with pytest.raises(LoangError) as caught:
        parse(text, 1000)
    assert repr(text) in caught.value.problem
    assert "--for 5m" in caught.value.remedy


def test_the_share_of_a_budget_rises_from_nothing_to_one_and_stays():
    by_time, by_images = Budget(seconds=100.0), Budget(images=1000)
    assert [by_time.share(10**9, s) for s in (0.0, 25.0, 100.0, 200.0)] == [0, 0.25, 1, 1]
    assert [by_images.share(n, 1e9) for n in (0, 250, 1000, 2000)] == [0, 0.25, 1, 1]


def settings(**changes):
    return OptimizerSettings(**{"learning_rate": 2.0, "warm_up": 4, "decay_from": 0.5, **changes})


def test_the_learning_rate_rises_in_equal_steps_stays_and_falls_in_a_line_to_nothing():
    rising = [learning_rate(settings(), step, 0.0) for step in range(6)]
    assert rising == pytest.approx([0.5, 1.0, 1.5, 2.0, 2.0, 2.0])
    falling = [learning_rate(settings(), 10**6, share) for share in (0.5, 0.625, 0.75, 1.0)]
    assert falling == pytest.approx([2.0, 1.5, 1.0, 0.0])


def test_the_learning_rate_makes_no_jump_along_a_run():
    count = 1000
    rates = [learning_rate(settings(warm_up=100), step, step / count) for step in range(count + 1)]
    jumps = [abs(b - a) for a, b in itertools.pairwise(rates)]
    assert max(jumps) <= 2.0 / 100 + 1e-12
    assert min(rates[:-1]) > 0


def test_without_warm_up_and_decay_it_is_constant():
    flat = settings(warm_up=0, decay_from=1.0)
    assert {learning_rate(flat, step, share) for step in (0, 9) for share in (0.0, 1.0)} == {2.0}


def test_decay_from_the_beginning_falls_all_the_way():
    falling = settings(warm_up=0, decay_from=0.0)
    assert learning_rate(falling, 0, 0.0) == pytest.approx(2.0)
    assert learning_rate(falling, 5, 0.25) == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (45, "45 s"),
        (59.6, "1 min"),
        (270, "4 min 30 s"),
        (3599.7, "1 h 00 min"),
        (7500, "2 h 05 min"),
        (200_000, "2 days 7 h"),
    ],
)
def test_a_duration_is_written_for_people(seconds, text):
    assert duration(float(seconds)) == text


def test_a_budget_says_what_it_is():
    assert str(parse("5m", 1)) == "5 min"
    assert str(parse("50 epochs", 60_000)) == "50 epochs, 3,000,000 images"
    assert str(parse("1e6 images", 1)) == "1,000,000 images"


@pytest.mark.parametrize("text", ["1,5 epochs", "2,5m", "1,00 images", "9" * 400 + "m"])
def test_a_decimal_comma_or_an_endless_time_is_refused_not_misread(text):
    with pytest.raises(LoangError, match="no length of training"):
        parse(text, 100)


def test_thousands_and_spaces_may_be_written():
    assert parse("1,000,000 images", 1).images == 1_000_000
    assert parse("1_000 images", 1).images == 1000
    assert parse("1 h 30 m", 1).seconds == 5400


@pytest.mark.parametrize(
    ("text", "option"),
    [
        ("5m", "--for 10m"),
        ("90s", "--for 3m"),
        ("1h30m", "--for 3h"),
        ("12h", "--for 1d"),
        ("0.4s", "--for 0.8s"),
        ("50 epochs", "--epochs 100"),
        ("1e6 images", "--images 2000000"),
        ("600001s", "--for 1200002s"),
        ("1234567 epochs", "--epochs 2469134"),
    ],
)
def test_twice_as_long_is_told_as_an_option(text, option):
    assert twice(text) == option
