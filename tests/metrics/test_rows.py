"""Feature arrays: what is refused, and how they are handed out."""

import numpy as np
import pytest

from loang.metrics.rows import check, pieces, shuffled


def test_what_no_measure_can_be_computed_from_is_refused():
    good = np.zeros((3, 2))
    check(good, good)
    with pytest.raises(ValueError, match="2 images or more are needed, not 1"):
        check(good, good[:1])
    with pytest.raises(ValueError, match="3 features against 2"):
        check(good, np.zeros((3, 3)))
    for bad in (np.nan, np.inf, -np.inf):
        wrong = good.copy()
        wrong[2, 1] = bad
        with pytest.raises(ValueError, match="infinite or not a number"):
            check(good, wrong)


def test_pieces_are_the_rows_in_float64_less_the_centre_and_copies():
    features = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)
    features.setflags(write=False)
    centre = features.mean(axis=0, dtype=np.float64)
    handed = list(pieces(features, centre=centre, size=4))
    assert [(which.start, which.stop) for which, _ in handed] == [(0, 4), (4, 8), (8, 10)]
    together = np.concatenate([rows.numpy() for _, rows in handed])
    np.testing.assert_array_equal(together, features.astype(np.float64) - centre)
    already = np.ones((2, 2))
    next(pieces(already))[1].zero_()
    assert already.sum() == 4


def test_a_shuffle_is_a_permutation_that_depends_on_seed_and_purpose():
    first = shuffled(100, seed=0, purpose="a")
    np.testing.assert_array_equal(np.sort(first), np.arange(100))
    np.testing.assert_array_equal(first, shuffled(100, seed=0, purpose="a"))
    assert (first != shuffled(100, seed=1, purpose="a")).sum() > 90
    assert (first != shuffled(100, seed=0, purpose="b")).sum() > 90
