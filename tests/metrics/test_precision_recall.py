"""Precision, recall, density and coverage against prdc, scikit-learn and exact expectations."""

import math

import numpy as np
import prdc
import pytest
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import NearestNeighbors

from loang.metrics.precision_recall import precision_recall

NAMES = ("precision", "recall", "density", "coverage")


def values(found):
    return {name: getattr(found, name).value for name in NAMES}


def direct(samples, reference, k):
    """Kynkäänniemi et al. 2019, eq. 1 and 2; Naeem et al. 2020, eq. 3 and 4."""
    of_samples, of_reference = (
        NearestNeighbors(n_neighbors=k).fit(rows).kneighbors()[0][:, -1]
        for rows in (samples, reference)
    )
    apart = pairwise_distances(samples, reference)
    in_reference, in_samples = apart < of_reference, apart < of_samples[:, None]
    return {
        "precision": in_reference.any(axis=1).mean(),
        "recall": in_samples.any(axis=0).mean(),
        "density": in_reference.sum(axis=1).mean() / k,
        "coverage": in_reference.any(axis=0).mean(),
    }


@pytest.mark.parametrize(("n", "m", "d", "k"), [(300, 200, 8, 5), (40, 900, 2, 3), (7, 7, 3, 1)])
def test_they_are_those_of_prdc_and_of_the_definitions(random, n, m, d, k, capsys):
    samples = random.normal(size=(n, d)) * 0.8 + 0.3
    reference = random.normal(size=(m, d))
    found = values(precision_recall(samples, reference, k=k))
    assert found == pytest.approx(direct(samples, reference, k), abs=1e-12)
    theirs = prdc.compute_prdc(real_features=reference, fake_features=samples, nearest_k=k)
    assert found == pytest.approx({name: float(theirs[name]) for name in NAMES}, abs=1e-12)


def test_they_are_those_of_the_definitions_across_blocks(random):
    samples, reference = random.normal(size=(1100, 3)) * 1.1, random.normal(size=(4200, 3))
    found = values(precision_recall(samples, reference))
    assert found == pytest.approx(direct(samples, reference, 5), abs=1e-12)


def test_copies_of_the_reference_images_have_all_of_everything_exactly(random):
    """A k-th neighbour lies at the very radius, and is outside whatever way rounding goes."""
    reference = random.normal(size=(500, 6)) + 100
    for samples in (reference, reference[::-1].copy()):
        found = precision_recall(samples, reference)
        assert values(found) == dict.fromkeys(NAMES, 1.0)


def test_samples_far_away_have_nothing_of_anything(random):
    reference = random.normal(size=(200, 6))
    found = precision_recall(reference + 100, reference)
    assert values(found) == dict.fromkeys(NAMES, 0.0)
    assert found.precision.error == pytest.approx(math.sqrt(2 / 204 * 202 / 204 / 204))
    assert found.density.error == 0


def test_samples_of_one_mode_are_precise_and_recall_half(random):
    """Two clusters far apart, of which the samples have one."""
    reference = random.normal(size=(1000, 2))
    reference[:500] += 50
    samples = random.normal(size=(1000, 2))
    found = precision_recall(samples, reference)
    assert found.precision.value > 0.95
    assert found.recall.value == pytest.approx(0.5, abs=0.03)
    assert found.coverage.value == pytest.approx(0.5, abs=0.03)
    assert found.density.value == pytest.approx(1, abs=0.15)


def test_samples_that_keep_to_the_middle_are_dense_and_recall_less(random):
    found = precision_recall(random.normal(size=(1000, 4)) * 0.5, random.normal(size=(1000, 4)))
    assert found.density.value > 1.1
    assert found.recall.value < 0.65


def test_density_and_coverage_of_equal_distributions_are_as_proved(random):
    """Naeem et al. 2020, lemmas 1 and 2: 1, and a number without the features' dimension."""
    n, m, k = 150, 200, 3
    found = [
        precision_recall(random.normal(size=(n, 4)), random.normal(size=(m, 4)), k=k)
        for _ in range(60)
    ]
    coverage = 1 - math.prod((m - i) / (n + m - i) for i in range(1, k + 1))
    for name, expected in (("density", 1.0), ("coverage", coverage)):
        drawn = np.array([getattr(one, name).value for one in found])
        assert abs(drawn.mean() - expected) < 3 * drawn.std(ddof=1) / math.sqrt(60), name


@pytest.mark.parametrize("name", ["precision", "density"])
def test_the_error_is_the_spread_over_samples_against_the_same_reference(random, name):
    reference = random.normal(size=(150, 3))
    found = [
        getattr(precision_recall(random.normal(size=(200, 3)) * 1.3, reference), name)
        for _ in range(150)
    ]
    spread = np.std([estimate.value for estimate in found], ddof=1)
    error = np.sqrt(np.mean([estimate.error**2 for estimate in found]))
    assert error == pytest.approx(spread, rel=0.2)  # the spread of 150 is known to 6 %


def test_the_errors_of_recall_and_coverage_have_the_samples_chance_in_them(random):
    """Few samples, against many reference images: it is most of the spread."""
    found = [
        precision_recall(random.normal(size=(100, 5)), random.normal(size=(800, 5)))
        for _ in range(60)
    ]
    for name in ("recall", "coverage"):
        estimates = [getattr(each, name) for each in found]
        spread = np.std([estimate.value for estimate in estimates], ddof=1)
        error = np.sqrt(np.mean([estimate.error**2 for estimate in estimates]))
        assert 0.75 < spread / error < 1.3, name


def test_too_few_images_are_refused(random):
    many, few = random.normal(size=(10, 2)), random.normal(size=(5, 2))
    for samples, reference in ((many, few), (few, many)):
        with pytest.raises(ValueError, match="6 images or more are needed, not 5"):
            precision_recall(samples, reference)
        precision_recall(samples, reference, k=4)
