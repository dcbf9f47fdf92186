"""Halves of the samples: whose neighbours count."""

import numpy as np

from loang.metrics.halves import Halves
from loang.metrics.neighbours import nearest


def test_a_radius_reaches_to_the_kth_neighbour_of_the_same_half(random):
    samples = random.normal(size=(41, 3))
    halves = Halves(41, 1)
    found = halves.radii(*nearest(samples, samples, 40, skip_self=True), 4)
    for first, radii in zip(halves.first.numpy(), found, strict=True):
        assert first.sum() == 20
        for own in (first, ~first):
            expected = nearest(samples[own], samples[own], 4, skip_self=True)[0][:, -1]
            np.testing.assert_array_equal(radii[own], expected)
