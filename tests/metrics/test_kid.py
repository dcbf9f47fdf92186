"""The kernel distance against scikit-learn's kernel, deletion of images, and repeated draws."""

import numpy as np
import pytest
from sklearn.metrics.pairwise import polynomial_kernel

from loang.metrics.kid import kernel_distance


def direct(samples, reference):
    """Gretton et al. 2012, eq. 3."""
    of_samples, of_reference, between = (
        polynomial_kernel(a, b, degree=3, gamma=1 / samples.shape[1], coef0=1)
        for a, b in ((samples, samples), (reference, reference), (samples, reference))
    )
    n, m = between.shape
    return (
        (of_samples.sum() - np.trace(of_samples)) / (n * (n - 1))
        + (of_reference.sum() - np.trace(of_reference)) / (m * (m - 1))
        - 2 * between.mean()
    )


@pytest.mark.parametrize(("n", "m", "d"), [(2, 2, 1), (30, 20, 5), (2100, 1100, 8)])
def test_it_is_the_direct_formula(random, n, m, d):
    """The last case crosses the borders of blocks."""
    samples = random.normal(size=(n, d)) + 0.1
    reference = random.normal(size=(m, d))
    expected = direct(samples, reference)
    found = kernel_distance(samples, reference)
    assert found.value == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert kernel_distance(reference, samples).value == pytest.approx(found.value, abs=1e-12)


def test_float32_features_are_computed_with_in_float64(random):
    samples = (random.normal(size=(300, 64)) + 3).astype(np.float32)
    reference = (random.normal(size=(300, 64)) + 3).astype(np.float32)
    expected = direct(samples.astype(np.float64), reference.astype(np.float64))
    assert kernel_distance(samples, reference).value == pytest.approx(expected, rel=1e-6, abs=1e-10)


def test_an_images_influence_is_what_its_deletion_changes(random):
    samples, reference = random.normal(size=(40, 3)) * 1.3, random.normal(size=(50, 3))
    found = kernel_distance(samples, reference)
    whole = direct(samples, reference)
    of_samples = [39 * (whole - direct(np.delete(samples, i, 0), reference)) for i in range(40)]
    of_reference = [49 * (whole - direct(samples, np.delete(reference, i, 0))) for i in range(50)]
    for deleted, influence in (
        (of_samples, found.influence.samples),
        (of_reference, found.influence.reference),
    ):
        assert np.corrcoef(deleted, influence)[0, 1] > 0.99
        # A deletion moves the mean over pairs within the set (n - 1) / (n - 2) times as much.
        assert np.std(deleted) == pytest.approx(np.std(influence), rel=0.05)


def test_it_has_no_bias_and_the_error_is_the_spread_over_draws(random):
    """Of N(s, I) to N(0, I) in one dimension, by the first three moments: 9 s² + ..., exactly."""
    shift = 0.4
    # E k(x, y) = E (x y + 1)³ = Σ C(3, p) E x^p E y^p
    normal, shifted = (1, 0, 1, 0), (1, shift, 1 + shift**2, shift**3 + 3 * shift)
    true = sum(
        binomial * (a - b) ** 2
        for binomial, a, b in zip((1, 3, 3, 1), shifted, normal, strict=True)
    )
    found = [
        kernel_distance(random.normal(size=(300, 1)) + shift, random.normal(size=(200, 1)))
        for _ in range(300)
    ]
    values = np.array([estimate.value for estimate in found])
    spread = values.std(ddof=1)
    assert abs(values.mean() - true) < 3 * spread / np.sqrt(300)
    error = np.sqrt(np.mean([estimate.error**2 for estimate in found]))
    assert error == pytest.approx(spread, rel=0.2)


def test_it_is_zero_on_average_for_equal_distributions_with_an_error_too_large(random):
    found = [
        kernel_distance(random.normal(size=(100, 8)), random.normal(size=(80, 8)))
        for _ in range(200)
    ]
    values = np.array([estimate.value for estimate in found])
    spread = values.std(ddof=1)
    assert abs(values.mean()) < 3 * spread / np.sqrt(200)
    assert 0.3 < (values < 0).mean() < 0.8
    error = np.sqrt(np.mean([estimate.error**2 for estimate in found]))
    assert 1.1 < error / spread < 1.7  # √2, as the docstring says


def test_fewer_than_two_images_are_refused():
    with pytest.raises(ValueError, match="2 images or more"):
        kernel_distance(np.zeros((1, 2)), np.zeros((5, 2)))
