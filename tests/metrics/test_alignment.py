"""The distance against a slow one written out, and what must not change it."""

import itertools

import numpy as np
import pytest
import torch

from loang.data.places.sample import read_sample
from loang.metrics.alignment import nearest_aligned, spectrum


def generator(seed=0):
    return np.random.Generator(np.random.Philox(seed))


def smoothed(image):
    """The 5 x 5 binomial kernel, pixel by pixel, edges repeated."""
    weights = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256
    padded = np.pad(image.astype(float), ((2, 2), (2, 2), (0, 0)), mode="edge")
    out = np.zeros(image.shape)
    for i, j in itertools.product(range(5), range(5)):
        out += weights[i, j] * padded[i : i + image.shape[0], j : j + image.shape[1]]
    return out


def distance(query, other):
    """√(2 - 2ρ) with the greatest correlation over shifts and mirroring, by numpy's corrcoef."""
    height, width = query.shape[0] - 4, query.shape[1] - 4
    fixed = smoothed(other)[2:-2, 2:-2].ravel()
    correlations = [
        np.corrcoef(smoothed(seen)[i : i + height, j : j + width].ravel(), fixed)[0, 1]
        for seen in (query, query[:, ::-1])
        for i, j in itertools.product((1, 2, 3), (1, 2, 3))
    ]
    return np.sqrt(2 - 2 * max(correlations))


@pytest.mark.parametrize("shape", [(12, 9, 1), (8, 15, 3)])
def test_agrees_with_the_definition_where_all_images_are_candidates(shape):
    g = generator()
    among = g.integers(0, 256, (20, *shape), dtype=np.uint8)
    queries = g.integers(0, 256, (5, *shape), dtype=np.uint8)
    expected = np.array([[distance(query, other) for other in among] for query in queries])
    distances, indices = nearest_aligned(queries, among, 20)
    np.testing.assert_array_equal(indices, np.argsort(expected, axis=1))
    np.testing.assert_allclose(distances, np.sort(expected, axis=1), atol=1e-5)


@pytest.fixture(scope="module")
def clothes():
    return read_sample()[0][:3000, ..., None]


CHANGES = {
    "as it is": lambda x: x,
    "mirrored": lambda x: x[:, :, ::-1],
    "shifted": lambda x: np.roll(x, (1, -1), axis=(1, 2)),
    "shifted and mirrored": lambda x: np.roll(x[:, :, ::-1], (0, 1), axis=(1, 2)),
    "darker, of less contrast": lambda x: (x * 0.5 + 20).astype(np.float32),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_copy_is_found_among_thousands(clothes, change):
    """All but those few whose content the shift carries around the edge into the picture."""
    distances, indices = nearest_aligned(change(clothes[500:700]), clothes, 2)
    right = indices[:, 0] == np.arange(500, 700)
    assert right.mean() >= 0.98
    # What a shift pushes out at one edge is missing in the smoothing there.
    assert np.median(distances[right, 0]) < 0.1 * np.median(distances[:, 1])


def test_magnitudes_know_nothing_of_shifts_and_mirroring():
    x = torch.from_numpy(generator().normal(size=(4, 2, 11, 16)).astype(np.float32))
    moved = x.roll((3, 5), dims=(2, 3)).flip(3)
    torch.testing.assert_close(spectrum(moved), spectrum(x), rtol=0, atol=1e-5)
    assert float((spectrum(x[:1]) - spectrum(x[1:2])).norm()) > 0.1


def test_an_image_of_one_value_is_like_its_equals_and_like_nothing_else():
    among = generator().integers(0, 256, (200, 27, 25, 1), dtype=np.uint8).astype(np.float32)
    among[120] = 0.1
    distances, indices = nearest_aligned(np.full((1, 27, 25, 1), 77.7, np.float32), among, 6)
    assert indices[0, 0] == 120
    np.testing.assert_allclose(distances[0], [0, 1, 1, 1, 1, 1], atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 1), (3, 40, 2), (70, 100, 3)])
def test_images_of_any_size_and_depth(shape):
    among = generator().integers(0, 65536, (9, *shape), dtype=np.uint16)
    distances, indices = nearest_aligned(among[4:6], among, 9)
    assert np.isfinite(distances).all()
    assert (np.sort(indices, axis=1) == np.arange(9)).all()
    np.testing.assert_array_equal(distances[:, 0], 0)
    if min(shape[:2]) > 1:
        assert (distances[:, 1] > 0).all()


def test_more_neighbours_than_candidates_and_infinite_pixels_are_refused():
    among = np.zeros((60, 4, 4, 1), np.float32)
    for k in (0, 51, 61):
        with pytest.raises(ValueError, match="neighbours of 60 images"):
            nearest_aligned(among, among, k)
    among[3, 0, 0] = np.inf
    with pytest.raises(ValueError, match="not a number"):
        nearest_aligned(among[:1], among, 1)
