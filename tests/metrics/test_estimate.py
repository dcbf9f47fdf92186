"""Errors of estimates and of their differences, against plain statistics."""

import math

import numpy as np
import pytest

from loang.metrics.estimate import Estimate, Influence, difference


def apart(samples, reference):
    """A measure whose influence is known exactly: the difference of two means."""
    influence = Influence(samples - samples.mean(), reference.mean() - reference)
    return Estimate(float(samples.mean() - reference.mean()), influence.error, influence)


def test_the_error_of_a_mean_is_the_textbooks(random):
    samples, reference = random.normal(size=30), random.normal(size=50)
    expected = math.sqrt(samples.var(ddof=1) / 30 + reference.var(ddof=1) / 50)
    assert apart(samples, reference).error == pytest.approx(expected, rel=1e-12)


def test_the_interval_holds_the_truth_in_95_of_100_draws(random):
    inside = 0
    for _ in range(2000):
        low, high = apart(random.normal(size=100), random.normal(size=80)).interval
        inside += low < 0 < high
    assert inside / 2000 == pytest.approx(0.95, abs=0.02)
    assert Estimate(1.0).interval is None


def test_the_reference_that_two_estimates_share_is_no_error_of_their_difference(random):
    first, second = random.normal(size=30), random.normal(size=40)
    reference = 100 * random.normal(size=50)
    found = difference(apart(first, reference), apart(second, reference))
    assert found.value == pytest.approx(first.mean() - second.mean())
    expected = math.sqrt(first.var(ddof=1) / 30 + second.var(ddof=1) / 40)
    assert found.error == pytest.approx(expected, rel=1e-9)


def test_errors_of_independent_estimates_add_in_squares(random):
    assert difference(Estimate(5.0, 3.0), Estimate(1.0, 4.0)) == Estimate(4.0, 5.0)
    one = apart(random.normal(size=9), random.normal(size=10))
    other = apart(random.normal(size=9), random.normal(size=11))  # not the same reference
    assert difference(one, other).error == pytest.approx(math.hypot(one.error, other.error))


def test_an_unknown_error_stays_unknown():
    assert difference(Estimate(5.0), Estimate(1.0, 4.0)) == Estimate(4.0)
    assert difference(Estimate(5.0, 1.0), Estimate(1.0)).error is None


def test_one_image_tells_nothing_of_the_error(random):
    assert apart(np.array([1.0]), random.normal(size=5)).error == math.inf
