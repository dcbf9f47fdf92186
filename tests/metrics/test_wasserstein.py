"""The sliced distance against closed forms, plain sorting, and repeated draws."""

import numpy as np
import pytest

from loang.metrics.wasserstein import sliced_wasserstein


def test_in_one_dimension_it_is_the_distance_of_sorted_numbers(random):
    a, b = random.normal(size=(50, 1)), random.exponential(size=(50, 1))
    expected = np.sqrt(np.square(np.sort(a, axis=0) - np.sort(b, axis=0)).mean())
    assert sliced_wasserstein(a, b).value == pytest.approx(expected, rel=1e-12)
    assert sliced_wasserstein(b, a, directions=1).value == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("n", "m"), [(6, 4), (4, 6), (7, 3), (2, 9), (10, 5)])
def test_sets_of_different_sizes_are_as_if_both_were_repeated(random, n, m):
    """Each number m or n times gives the same distributions, and equally many numbers."""
    a, b = random.normal(size=(n, 1)), random.normal(size=(m, 1))
    long, other = np.sort(np.repeat(a, m)), np.sort(np.repeat(b, n))
    expected = np.sqrt(np.square(long - other).mean())
    assert sliced_wasserstein(a, b).value == pytest.approx(expected, rel=1e-12)


def test_of_equal_sizes_it_is_the_direct_sort_along_some_directions(random):
    """Along enough directions of the plane, any other way to choose them gives the same."""
    a, b = random.normal(size=(80, 2)) * [1, 2], random.normal(size=(80, 2))
    angles = np.linspace(0, np.pi, 4000, endpoint=False)
    directions = np.stack((np.cos(angles), np.sin(angles)))
    apart = np.sort(a @ directions, axis=0) - np.sort(b @ directions, axis=0)
    expected = np.sqrt(np.square(apart).mean())
    found = sliced_wasserstein(a, b, directions=4096)
    assert found.value == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("d", [1, 16, 64])
def test_a_shift_counts_by_the_mean_square_of_its_parts(random, d):
    """The squared distance of x and x + s is |s|² / d, exactly for whole groups of d directions."""
    x, shift = random.normal(size=(100, d)), random.normal(size=d)
    found = sliced_wasserstein(x, x + shift)
    assert found.value == pytest.approx(np.linalg.norm(shift) / np.sqrt(d), rel=1e-12)


def test_of_two_gaussians_it_is_the_closed_form(random):
    """N(s, σ² I) and N(0, I) in d dimensions: |s|² / d + (σ - 1)²."""
    samples = random.normal(size=(20_000, 8)) * 1.5 + 0.5
    reference = random.normal(size=(15_000, 8))
    expected = np.sqrt(0.25 + 0.25)
    found = sliced_wasserstein(samples, reference, directions=64)
    assert abs(found.value - expected) < 4 * found.error
    assert found.error < 0.01


def test_an_images_influence_is_the_derivative_by_its_weight(random):
    """All images a thousand times and one once more: a little more weight on that one."""
    a, b = random.normal(size=(5, 2)), random.normal(size=(7, 2)) + 0.5
    found = sliced_wasserstein(a, b, directions=4)
    times = 1000
    for features, other, influence in (
        (a, b, found.influence.samples),
        (b, a, found.influence.reference),
    ):
        many = np.repeat(features, times, axis=0)
        derivative = np.array(
            [
                sliced_wasserstein(np.concatenate((many, [one])), other, directions=4).value
                for one in features
            ]
        )
        derivative = (derivative - found.value) * (len(many) + 1)
        # Two-sided derivatives of a function with kinks: the finite step sees one side.
        np.testing.assert_allclose(influence, derivative - derivative.mean(), atol=0.05)


def test_the_error_is_the_spread_over_draws(random):
    found = []
    for _ in range(200):
        samples = random.normal(size=(300, 4)) * 1.2 + 0.2
        found.append(sliced_wasserstein(samples, random.normal(size=(400, 4)), directions=16))
    spread = np.std([estimate.value for estimate in found], ddof=1)
    error = np.sqrt(np.mean([estimate.error**2 for estimate in found]))
    assert error == pytest.approx(spread, rel=0.2)  # the spread of 200 is known to 5 %


def test_a_set_is_at_distance_zero_from_its_shuffle(random):
    a = random.normal(size=(100, 5))
    found = sliced_wasserstein(a, a[::-1].copy())
    assert found.value < 1e-12


def test_it_depends_on_its_seed_alone(random):
    a, b = random.normal(size=(60, 5)), random.normal(size=(50, 5))
    first = sliced_wasserstein(a, b, directions=3, seed=1)
    assert first == sliced_wasserstein(a, b, directions=3, seed=1)
    assert first != sliced_wasserstein(a, b, directions=3, seed=2)


def test_what_cannot_be_compared_is_refused():
    a = np.zeros((3, 2))
    with pytest.raises(ValueError, match="2 images or more"):
        sliced_wasserstein(a[:1], a)
    with pytest.raises(ValueError, match="0 directions"):
        sliced_wasserstein(a, a, directions=0)
