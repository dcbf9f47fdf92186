"""The Fréchet distance against closed forms, SciPy's root of a matrix, and the spread of draws."""

import numpy as np
import pytest
import scipy.linalg

from loang.metrics.frechet import Gaussian, distance, frechet_distance, frechet_infinity


def positive(random, d, condition=10.0):
    """A symmetric matrix with eigenvalues between 1 and 1 / condition, in random directions."""
    axes = np.linalg.qr(random.normal(size=(d, d))).Q
    return (axes * np.geomspace(1, 1 / condition, d)) @ axes.T


def textbook(samples, reference):
    """Heusel et al. 2017, eq. 6, by the root of the product of the covariances."""
    a, b = np.atleast_2d(np.cov(samples.T), np.cov(reference.T))
    apart = np.square(samples.mean(0) - reference.mean(0)).sum()
    return apart + np.trace(a + b - 2 * scipy.linalg.sqrtm(a @ b).real)


@pytest.mark.parametrize(("n", "m", "d"), [(200, 300, 10), (5000, 4500, 3), (50, 60, 1)])
def test_it_is_the_textbook_formula(random, n, m, d):
    samples = random.normal(size=(n, d)) @ positive(random, d) + 0.3
    reference = random.normal(size=(m, d)) @ positive(random, d)
    expected = textbook(samples, reference)
    assert frechet_distance(samples, reference).value == pytest.approx(expected, rel=1e-10)
    assert distance(Gaussian.of(samples), Gaussian.of(reference)) == pytest.approx(expected)


def test_a_gaussian_has_the_mean_and_the_unbiased_covariance(random):
    for n in (3, 200, 9000):  # fewer than features; more; in several pieces
        features = random.normal(size=(n, 8)) @ positive(random, 8) + 5
        fitted = Gaussian.of(features.astype(np.float32))
        assert fitted.count == n
        assert fitted.factor.shape == (min(n, 8), 8)
        np.testing.assert_allclose(fitted.mean, features.mean(0), rtol=1e-6)
        np.testing.assert_allclose(
            fitted.factor.T @ fitted.factor, np.cov(features.T), atol=1e-6, rtol=1e-5
        )


@pytest.mark.parametrize("condition", [1.0, 1e5])
@pytest.mark.parametrize(("n", "d"), [(300, 20), (12, 20), (2, 5)])
def test_a_symmetric_map_of_the_features_is_the_optimal_transport(random, n, d, condition):
    """Closed form for covariances that do not commute, are singular (n <= d) or nearly so.

    For a symmetric positive T, x -> T x + s is the gradient of a convex function: the distance
    between x's Gaussian and its image is the mean of |T x + s - x|² (with n - 1 for the part
    about the mean). A condition number of 1e5 of the features is one of 1e10 of the covariance.
    """
    x = random.normal(size=(n, d)) @ positive(random, d, condition)
    t, s = positive(random, d, 3.0), random.normal(size=d)
    moved = x @ t + s
    centred, moved_centred = x - x.mean(0), moved - moved.mean(0)
    expected = np.square(x.mean(0) - moved.mean(0)).sum()
    expected += np.square(centred - moved_centred).sum() / (n - 1)
    assert frechet_distance(x, moved).value == pytest.approx(expected, rel=1e-8)
    assert frechet_distance(moved, x).value == pytest.approx(expected, rel=1e-8)


def test_commuting_covariances_have_a_distance_axis_by_axis(random):
    """Σ (σa - σb)² for standard deviations along common axes, of which some are 0."""
    axes = np.linalg.qr(random.normal(size=(6, 6))).Q
    a, b = np.array([1, 0.5, 1e-5, 0, 2, 0]), np.array([1, 0.7, 3e-5, 0.1, 0, 0])
    mean = np.zeros(6)
    made = [Gaussian(mean, (axes * deviations).T.copy(), 100) for deviations in (a, b)]
    assert distance(*made) == pytest.approx(np.square(a - b).sum(), rel=1e-12)
    small = np.array([1, 0.5, 1e-5, 0, 2, 1e-4])
    made[1] = Gaussian(mean, (axes * small).T.copy(), 100)
    assert distance(*made) == pytest.approx(1e-8, abs=1e-14)


def test_a_set_is_at_distance_zero_from_itself_and_from_its_shuffle(random):
    features = random.normal(size=(400, 30)) @ positive(random, 30, 1e6)
    found = frechet_distance(features, features[::-1])
    assert 0 <= found.value < 1e-13 * np.square(features).sum()
    assert found.error < 1e-6


def test_features_that_never_change_are_a_point():
    samples, reference = np.full((5, 2), 3.0), np.zeros((4, 2))
    found = frechet_distance(samples, reference)
    assert found.value == pytest.approx(18)
    assert found.error == 0


def test_it_is_symmetric_and_grows_with_the_square_of_the_unit(random):
    a, b = random.normal(size=(100, 4)), random.normal(size=(90, 4)) * 1.5
    there, back = frechet_distance(a, b), frechet_distance(b, a)
    assert there.value == pytest.approx(back.value, rel=1e-12)
    assert there.error == pytest.approx(back.error, rel=1e-9)
    larger = frechet_distance(10 * a, 10 * b)
    assert larger.value == pytest.approx(100 * there.value)
    assert larger.error == pytest.approx(100 * there.error)


def reweighted(features, which, more):
    """The Gaussian of features if one of them had a little more weight."""
    fitted = Gaussian.of(features)
    apart = features[which] - fitted.mean
    covariance = (1 - more) * (np.cov(features.T) + more * np.outer(apart, apart))
    return Gaussian(fitted.mean + more * apart, np.linalg.cholesky(covariance).T.copy(), 0)


def test_an_images_influence_is_the_derivative_by_its_weight(random):
    samples = random.normal(size=(60, 3)) @ positive(random, 3) + 0.5
    reference = random.normal(size=(80, 3))
    found = frechet_distance(samples, reference).influence
    a, b, step = Gaussian.of(samples), Gaussian.of(reference), 1e-4
    of_samples = [
        (distance(reweighted(samples, i, step), b) - distance(reweighted(samples, i, -step), b))
        for i in range(60)
    ]
    of_reference = [
        (distance(a, reweighted(reference, i, step)) - distance(a, reweighted(reference, i, -step)))
        for i in range(80)
    ]
    for expected, influence in ((of_samples, found.samples), (of_reference, found.reference)):
        derivative = np.array(expected) / (2 * step)
        np.testing.assert_allclose(influence, derivative - derivative.mean(), atol=1e-5)


def test_the_error_is_the_spread_over_draws_and_that_of_infinity_too(random):
    t = positive(random, 8, 2.0)
    found = []
    for _ in range(250):
        samples = random.normal(size=(900, 8)) @ t + 0.1
        reference = random.normal(size=(600, 8))
        found.append((frechet_distance(samples, reference), frechet_infinity(samples, reference)))
    for measure in (0, 1):
        spread = np.std([pair[measure].value for pair in found], ddof=1)
        error = np.sqrt(np.mean([pair[measure].error ** 2 for pair in found]))
        assert error == pytest.approx(spread, rel=0.2)  # the spread of 250 is known to 4.5 %


@pytest.mark.parametrize("shift", [0.0, 0.15])
def test_infinity_has_no_bias_where_the_plain_distance_is_far_off(random, shift):
    true = 64 * shift**2
    plain, infinite = [], []
    for seed in range(30):
        samples, reference = random.normal(size=(500, 64)) + shift, random.normal(size=(500, 64))
        plain.append(frechet_distance(samples, reference).value)
        infinite.append(frechet_infinity(samples, reference, seed=seed))
    values = np.array([estimate.value for estimate in infinite])
    bias = np.mean(plain) - true
    assert bias > 4  # 2 (d² + d) / 4n and more
    of_mean = values.std(ddof=1) / np.sqrt(30)
    assert abs(values.mean() - true) < 3 * of_mean + 0.02 * bias
    inside = [estimate.interval[0] < true < estimate.interval[1] for estimate in infinite]
    assert sum(inside) >= 25


def test_infinity_depends_on_its_seed_alone(random):
    samples, reference = random.normal(size=(101, 3)), random.normal(size=(64, 3))
    first = frechet_infinity(samples, reference, seed=1)
    assert first == frechet_infinity(samples, reference, seed=1)
    assert first != frechet_infinity(samples, reference, seed=2)


def test_what_has_no_covariance_is_refused(random):
    features = random.normal(size=(5, 2))
    for few in (features[:1], features[:0]):
        with pytest.raises(ValueError, match="2 images or more"):
            Gaussian.of(few)
        with pytest.raises(ValueError, match="2 images or more"):
            frechet_distance(features, few)
    with pytest.raises(ValueError, match="4 images or more are needed, not 3"):
        frechet_infinity(features, features[:3])
    features[0, 0] = np.nan
    with pytest.raises(ValueError, match="not a number"):
        Gaussian.of(features)
