"""The classifier's test finds what differs, and no more than chance where nothing does."""

import numpy as np
import pytest
from scipy.stats import binom

from loang.metrics.two_sample import two_sample_test


def test_under_equality_small_p_values_are_as_rare_as_they_say(random):
    found = [
        two_sample_test(random.normal(size=(120, 4)), random.normal(size=(130, 4)), seed=seed)
        for seed in range(100)
    ]
    p_values = np.array([one.p_value for one in found])
    for level in (0.05, 0.2, 0.5):
        deviation = np.sqrt(level * (1 - level) / 100)
        assert (p_values < level).mean() < level + 3.3 * deviation
    accuracies = np.array([one.accuracy.value for one in found])
    assert accuracies.mean() == pytest.approx(0.5, abs=0.017)
    error = np.sqrt(np.mean([one.accuracy.error**2 for one in found]))
    assert error == pytest.approx(accuracies.std(ddof=1), rel=0.25)


def shifted(random, n):
    return random.normal(size=(n, 8)) + 0.2


def scaled(random, n):
    return random.normal(size=(n, 8)) * 1.2


def correlated(random, n):
    """One direction is wider, another narrower; each feature has mean 0 and deviation 1."""
    x = random.normal(size=(n, 8))
    x[:, 1] = 0.8 * x[:, 0] + 0.6 * x[:, 1]
    return x


def ring(random, n):
    """Every direction has mean 0 and deviation 1, but the radii are all alike."""
    x = random.normal(size=(n, 8))
    return x / np.linalg.norm(x, axis=1, keepdims=True) * np.sqrt(8)


@pytest.mark.parametrize("made", [shifted, scaled, correlated, ring])
def test_it_finds_a_difference(random, made):
    found = two_sample_test(made(random, 2000), random.normal(size=(2500, 8)))
    assert found.accuracy.value > 0.54
    assert found.p_value < 1e-4


def test_a_shift_is_told_as_well_as_can_be(random):
    """Bayes' accuracy for N(s, I) and N(0, I) is Φ(|s| / 2): 0.6915 for |s| = 1."""
    shift = np.zeros(5)
    shift[0] = 1
    found = two_sample_test(random.normal(size=(5000, 5)) + shift, random.normal(size=(5000, 5)))
    assert found.accuracy.value == pytest.approx(0.6915, abs=0.02)


def test_sets_that_do_not_touch_are_told_apart_always(random):
    found = two_sample_test(random.normal(size=(100, 3)) + 50, random.normal(size=(100, 3)))
    assert found.accuracy.value == 1
    assert found.p_value < 1e-15


def test_the_p_value_is_the_binomials(random):
    for seed in range(5):
        found = two_sample_test(
            random.normal(size=(81, 3)) + 0.1 * seed, random.normal(size=(81, 3)), seed=seed
        )
        judged = 82  # 81 of each, of which 40 to learn from
        right = round(found.accuracy.value * judged)
        assert found.accuracy.value * judged == pytest.approx(right)
        assert found.p_value == pytest.approx(binom.sf(right - 1, judged, 0.5), abs=0.003)


def test_the_larger_set_is_cut_to_the_smaller_and_gives_no_advantage(random):
    """A classifier that always says the larger set would be right in 10 of 11 cases."""
    found = two_sample_test(random.normal(size=(400, 3)), random.normal(size=(4000, 3)))
    assert abs(found.accuracy.value - 0.5) < 4 * 0.5 / np.sqrt(400)


def test_features_of_any_unit_or_none_are_standardised(random):
    samples, reference = shifted(random, 1500), random.normal(size=(1500, 8))
    plain = two_sample_test(samples, reference)
    unit = 10.0 ** np.arange(-4, 4)
    other = two_sample_test(samples * unit + 3 * unit, reference * unit + 3 * unit)
    assert other.accuracy.value == pytest.approx(plain.accuracy.value, abs=0.01)
    constant = np.ones((1500, 1))
    with_constant = two_sample_test(
        np.hstack((samples, constant)), np.hstack((reference, constant))
    )
    assert with_constant.accuracy.value > 0.55


def test_it_depends_on_its_seed_alone(random):
    samples, reference = random.normal(size=(200, 3)), random.normal(size=(200, 3))
    found = [two_sample_test(samples, reference, seed=seed) for seed in (1, 1, 2, 3, 4)]
    assert found[0] == found[1]
    assert len({one.accuracy.value for one in found}) > 1


def test_too_few_images_are_refused():
    with pytest.raises(ValueError, match="10 images or more are needed, not 9"):
        two_sample_test(np.zeros((9, 2)), np.zeros((20, 2)))
