"""Shares of classes and their errors against counts and simulations; the classifier learns."""

from dataclasses import replace

import numpy as np
import pytest

from loang.data.places.sample import read_sample
from loang.data.spec import ImageSpec
from loang.metrics import classes
from loang.metrics.classes import (
    by_class,
    class_distance,
    class_shares,
    classifier_accuracy_score,
    label_accuracy,
)
from loang.metrics.estimate import Estimate


def generator(seed=0):
    return np.random.Generator(np.random.Philox(seed))


def test_accuracy_is_counted_by_the_class_that_was_asked_for():
    labels = np.array([0, 0, 0, 0, 1, 1, 3])
    predicted = np.array([0, 0, 0, 1, 1, 0, 3])
    found = label_accuracy(predicted, labels, 4)
    assert found.whole.value == pytest.approx(5 / 7)
    values = [None if one is None else one.value for one in found.classes]
    assert values == [0.75, 0.5, None, 1.0]


@pytest.mark.parametrize("rate", [0.02, 0.5, 0.9])
def test_the_error_of_a_share_is_that_of_repeated_counting(rate):
    g = generator()
    labels = np.zeros(400, np.int64)
    counted = [
        label_accuracy((g.uniform(size=400) >= rate).astype(int), labels, 2).whole
        for _ in range(1500)
    ]
    spread = np.std([one.value for one in counted])
    assert np.mean([one.error for one in counted]) == pytest.approx(spread, rel=0.15)


def test_a_perfect_share_of_few_is_not_certain():
    """Of 10 of 10, its error is that of 12 of 14; nothing is above 1."""
    ten = label_accuracy(np.zeros(10, int), np.zeros(10, int), 1).whole
    assert ten.value == 1
    assert ten.error == pytest.approx(np.sqrt(12 / 14 * 2 / 14 / 14))
    assert ten.interval == pytest.approx((1 - 1.959964 * ten.error, 1))


def test_shares_sum_to_one_and_name_the_missing_class():
    np.testing.assert_allclose(class_shares(np.array([0, 2, 2, 2]), 4), [0.25, 0, 0.75, 0])


def test_a_dropped_class_is_its_share_of_distance():
    reference = np.repeat(np.arange(10), 1000)
    samples = np.repeat(np.arange(9), 500)
    found = class_distance(samples, reference, 10)
    assert found.distance.value == pytest.approx(0.1)
    assert found.floor < 0.03
    assert found.p_value < 0.001


def test_equal_shares_lie_at_the_floor_and_their_p_values_are_uniform():
    g = generator()
    p = np.array([0.5, 0.3, 0.15, 0.04, 0.01])
    found = [class_distance(g.choice(5, 200, p=p), g.choice(5, 300, p=p), 5) for _ in range(200)]
    distances = np.array([one.distance.value for one in found])
    floors = np.array([one.floor for one in found])
    assert distances.mean() == pytest.approx(floors.mean(), rel=0.1)
    p_values = np.array([one.p_value for one in found])
    assert (p_values <= 0.1).mean() == pytest.approx(0.1, abs=0.06)
    assert p_values.mean() == pytest.approx(0.5, abs=0.08)


def test_the_floor_of_two_classes_is_that_of_a_binomial_difference():
    """E|a - b| for shares near normal: sqrt(2/π · p (1 - p) (1/n + 1/m))."""
    samples, reference = np.arange(1000) % 2, np.arange(4000) % 2
    expected = np.sqrt(2 / np.pi * 0.25 * (1 / 1000 + 1 / 4000))
    found = class_distance(samples, reference, 2)
    assert found.distance.value == 0
    assert found.floor == pytest.approx(expected, rel=0.06)
    assert found.p_value == 1
    assert found.distance.error == pytest.approx(found.floor * np.sqrt(np.pi / 2 - 1), rel=0.1)


def test_each_class_is_measured_alone_and_small_ones_are_left_out():
    features = np.arange(12.0)[:, None]
    labels = np.array([0] * 6 + [1] * 4 + [3] * 2)

    def gap(samples, reference):
        assert len(samples) == len(reference)
        return Estimate(float(samples.mean() - reference.mean()))

    found = by_class(gap, features + labels[:, None], labels, features, labels, 4, fewest=3)
    assert found == [Estimate(0.0), Estimate(1.0), None, None]
    assert by_class(gap, features, labels, features, labels, 4) == [None] * 4


@pytest.mark.parametrize("labels", [np.array([], int), np.array([-1, 0]), np.array([0, 3])])
def test_labels_outside_the_classes_are_refused(labels):
    with pytest.raises(ValueError, match=r"no images|are not all in 0\.\.2"):
        class_shares(labels, 3)
    with pytest.raises(ValueError, match=r"no images|are not all in 0\.\.2"):
        label_accuracy(labels, labels, 3)


SPEC = ImageSpec(28, 28, 1)


@pytest.fixture(scope="module")
def clothes():
    images, labels = read_sample()
    return images[..., None], labels.astype(np.int64)


@pytest.fixture
def short(monkeypatch):
    """A tenth of the training: enough to tell trousers from boots."""
    monkeypatch.setattr(classes, "_RECIPE", replace(classes._RECIPE, images=3000))


@pytest.mark.slow
@pytest.mark.usefixtures("short")
def test_a_classifier_that_saw_real_images_is_right_and_one_that_saw_noise_guesses(clothes):
    images, labels = clothes
    test = images[10000:11000], labels[10000:11000]
    steps = []
    real = classifier_accuracy_score(
        images[:2000], labels[:2000], *test, SPEC, on_step=lambda *at: steps.append(at)
    )
    assert real.value > 0.6
    assert real.error == pytest.approx(np.sqrt(real.value * (1 - real.value) / 1000), rel=0.02)
    assert steps[-1][0] == steps[-1][1] == len(steps)
    again = classifier_accuracy_score(images[:2000], labels[:2000], *test, SPEC)
    assert again.value == real.value
    # Images that carry nothing of their label: a tenth is right by chance.
    noise = generator().integers(0, 256, (500, 28, 28, 1), dtype=np.uint8)
    guessed = classifier_accuracy_score(noise, np.arange(500) % 10, *test, SPEC)
    assert guessed.value < 0.35


@pytest.mark.usefixtures("short")
def test_classes_that_the_samples_lack_are_never_right(clothes):
    images, labels = clothes
    chosen = np.flatnonzero(labels[:4000] < 3)[:600]
    found = classifier_accuracy_score(
        images[chosen], labels[chosen], images[10000:11000], labels[10000:11000], SPEC
    )
    present = (labels[10000:11000] < 3).mean()
    assert 0.5 * present < found.value <= present


@pytest.mark.usefixtures("short")
def test_large_images_take_the_time_of_small_ones():
    """Bars that lie or stand, 150 x 100 pixels in RGB."""
    g = generator()
    labels = g.integers(2, size=240)
    bars = (np.arange(150)[:, None] // 25 % 2 + np.zeros(100)) * 200.0
    lying_or_standing = np.stack([bars, bars[:100, :100].T.repeat(2, axis=0)[:150]])
    pixels = lying_or_standing[labels][..., None].repeat(3, axis=3)
    pixels = (pixels + g.uniform(0, 55, pixels.shape)).astype(np.uint8)
    spec = ImageSpec(150, 100, 3)
    found = classifier_accuracy_score(pixels[:200], labels[:200], pixels[200:], labels[200:], spec)
    assert found.value == 1
