"""The order of images: a permutation an epoch, and an endless stream of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loang.data.order import batch, permutation


@pytest.mark.parametrize("count", [1, 2, 10, 60_000])
def test_each_epoch_is_a_permutation(count):
    for epoch in (0, 1, 77):
        assert np.array_equal(np.sort(permutation(count, 0, epoch)), np.arange(count))


def test_epochs_and_seeds_have_orders_that_are_unrelated():
    count = 10_000
    first = permutation(count, 0, 0)
    for other in (permutation(count, 0, 1), permutation(count, 1, 0), np.arange(count)):
        assert abs(np.corrcoef(first, other)[0, 1]) < 4 / np.sqrt(count)
        # Two random orders agree in one place on average; 10 has a chance of 1 in 10 million.
        assert (first == other).sum() < 10


def test_the_order_is_the_same_each_time():
    one = permutation(100, 3, 5).copy()
    permutation.cache_clear()
    assert np.array_equal(permutation(100, 3, 5), one)


def test_every_place_is_as_likely_for_an_image():
    places = np.array([np.flatnonzero(permutation(8, 0, epoch) == 0)[0] for epoch in range(2000)])
    seen = np.bincount(places, minlength=8)
    assert ((seen - 250) ** 2 / 250).sum() < 7 + 4 * np.sqrt(14)


def test_batches_across_epochs_drop_and_repeat_nothing_and_each_epoch_has_its_order():
    stream = np.concatenate([batch(position, 64, 100, seed=0) for position in range(0, 6400, 64)])
    for number, epoch in enumerate(stream.reshape(64, 100)):
        assert np.array_equal(np.sort(epoch), np.arange(100))
        assert np.array_equal(epoch, permutation(100, 0, number))


def test_a_batch_larger_than_the_data_reads_them_again():
    found = batch(0, 25, 10, seed=0)
    assert np.array_equal(np.sort(found[:10]), np.arange(10))
    assert np.array_equal(np.sort(found[10:20]), np.arange(10))
    assert len(found) == 25


sizes = st.integers(1, 70)


@given(position=st.integers(0, 500), a=sizes, b=sizes, count=st.integers(1, 40), seed=st.integers())
def test_two_batches_in_a_row_are_one_batch_of_both(position, a, b, count, seed):
    """So a resume at any position, with any batch size, goes on with the very next image."""
    both = np.concatenate([batch(position, a, count, seed), batch(position + a, b, count, seed)])
    assert np.array_equal(batch(position, a + b, count, seed), both)


def test_what_a_batch_gives_may_be_changed_without_changing_the_next():
    before = batch(0, 10, 10, seed=0).copy()
    batch(0, 10, 10, seed=0)[:] = -1
    assert np.array_equal(batch(0, 10, 10, seed=0), before)
