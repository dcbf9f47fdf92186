"""Neighbours against scikit-learn, and where plain formulas round badly."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from loang.metrics.neighbours import nearest, squared_distances


@pytest.mark.parametrize(("n", "m", "k"), [(7, 5, 5), (1, 300, 3), (1100, 4200, 2)])
def test_neighbours_are_those_of_scikit_learn(random, n, m, k):
    """The last case crosses the borders of blocks in both directions."""
    queries, among = random.normal(size=(n, 6)), random.normal(size=(m, 6))
    distances, indices = nearest(queries, among, k)
    expected, where = (
        NearestNeighbors(n_neighbors=k, algorithm="kd_tree").fit(among).kneighbors(queries)
    )
    np.testing.assert_array_equal(indices, where)
    np.testing.assert_allclose(distances, expected, rtol=1e-13)


def test_a_row_is_no_neighbour_of_itself_but_its_copy_is(random):
    rows = random.normal(size=(4200, 3))
    rows[4199] = rows[17]
    distances, indices = nearest(rows, rows, 3, skip_self=True)
    assert (indices != np.arange(4200)[:, None]).all()
    assert indices[17, 0] == 4199
    assert indices[4199, 0] == 17
    assert distances[17, 0] == 0
    expected, _ = NearestNeighbors(n_neighbors=3).fit(rows).kneighbors()
    np.testing.assert_allclose(distances, expected, rtol=1e-13)


def test_a_copy_is_at_distance_zero_far_from_the_origin_too(random):
    among = (1e4 + random.normal(size=(500, 20))).astype(np.float32)
    distances, indices = nearest(among[[3, 400]], among, 2)
    np.testing.assert_array_equal(indices[:, 0], [3, 400])
    np.testing.assert_array_equal(distances[:, 0], 0)
    assert (distances[:, 1] > 1).all()


def test_small_differences_far_from_the_origin_are_not_lost(random):
    """|a|² - 2 a·b + |b|² about the origin has an error of 1e-16 * 1e16 here."""
    among = 1e8 + random.normal(size=(300, 5))
    distances, indices = nearest(among, among, 1, skip_self=True)
    expected, where = NearestNeighbors(n_neighbors=1, algorithm="kd_tree").fit(among).kneighbors()
    np.testing.assert_array_equal(indices, where)
    np.testing.assert_allclose(distances, expected, rtol=1e-13)


def test_equal_distances_are_ordered_by_index():
    among = np.array([[1.0], [-1.0], [1.0], [3.0], [-1.0]])
    distances, indices = nearest(np.zeros((1, 1)), among, 5)
    np.testing.assert_array_equal(indices, [[0, 1, 2, 4, 3]])
    np.testing.assert_array_equal(distances, [[1, 1, 1, 1, 3]])


def test_blocks_hold_all_squared_distances_once_and_none_below_zero(random):
    a, b = random.normal(size=(1030, 4)), random.normal(size=(4100, 4))
    b[:1030] = a
    found = np.full((1030, 4100), np.nan)
    for rows, columns, block in squared_distances(a, b):
        assert np.isnan(found[rows, columns]).all()
        found[rows, columns] = block.numpy()
    expected = np.square(a[:, None] - b[None]).sum(axis=2)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-13)
    assert found.min() >= 0


def test_more_neighbours_than_candidates_are_refused():
    rows = np.zeros((3, 2))
    nearest(rows, rows, 3)
    with pytest.raises(ValueError, match="4 neighbours of 3 candidates"):
        nearest(rows, rows, 4)
    with pytest.raises(ValueError, match="3 neighbours of 2 candidates"):
        nearest(rows, rows, 3, skip_self=True)
    with pytest.raises(ValueError, match="0 neighbours"):
        nearest(rows, rows, 0)
    with pytest.raises(ValueError, match="in itself"):
        nearest(rows[:2], rows, 1, skip_self=True)
