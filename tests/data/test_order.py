"""The order of images: a permutation an epoch, and an endless stream of them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from loang.data import order
from loang.data.order import batch, permutation

UNLIKELY = 1e-6
"""A right order fails a test of chance this often; the seeds are fixed, so it never does again."""


@pytest.fixture(params=[order.SORTED, 0], ids=["as it is", "cipher alone"])
def way(request, monkeypatch):
    """Small orders as they are, and as the cipher would make them."""
    monkeypatch.setattr(order, "SORTED", request.param)


def fits(counts, expected=None):
    """Whether counts are as likely as they should be: the chi-squared test."""
    counts = np.asarray(counts, float)
    if expected is None:
        expected = np.full(len(counts), counts.sum() / len(counts))
    return stats.chisquare(counts, expected).pvalue > UNLIKELY


COUNTS = [*range(1, 70), 97, 127, 128, 129, 1021, 4095, 4096, 4097, 8191, 65_537, 60_000, 10**6]


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("epoch", [0, 77])
def test_each_epoch_is_a_permutation(epoch):
    for count in COUNTS:
        found = permutation(count, 0, epoch)
        assert len(found) == count
        assert found.min() >= 0
        assert np.bincount(found, minlength=count).tolist() == [1] * count


def test_among_a_billion_images_none_comes_twice_and_all_parts_come():
    count = 10**9
    spread = np.unique(np.random.default_rng(0).integers(0, count, 10**6))
    for places in (spread, np.arange(10**5), np.arange(count - 10**5, count)):
        found = order._at(places, count, seed=0, epoch=3)
        assert len(np.unique(found)) == len(places)
        assert 0 <= found.min() < found.max() < count
        assert fits(np.bincount(found * 1000 // count, minlength=1000))


@pytest.mark.parametrize("count", [2**53 + 1, 2**62])
def test_there_may_be_as_many_as_an_integer_counts(count):
    found = batch(count - 500, 1000, count, seed=0)
    assert len(np.unique(found)) == 1000
    assert 0 <= found.min() < found.max() < count


def test_epochs_and_seeds_have_orders_that_are_unrelated():
    count = 10_000
    first = permutation(count, 0, 0)
    for other in (permutation(count, 0, 1), permutation(count, 1, 0), np.arange(count)):
        assert abs(np.corrcoef(first, other)[0, 1]) < 4 / np.sqrt(count)
        # Two random orders agree in one place on average; 10 has a chance of 1 in 10 million.
        assert (first == other).sum() < 10


def test_the_order_is_the_same_each_time():
    for count in (100, 5000):
        one = permutation(count, 3, 5).copy()
        order._sorted.cache_clear()
        order._keys.cache_clear()
        assert np.array_equal(permutation(count, 3, 5), one)


def test_the_order_of_few_images_is_that_of_earlier_versions():
    """A run goes on with the very images that it would have seen."""
    assert permutation(10, 0, 0).tolist() == [5, 6, 2, 4, 7, 8, 0, 3, 9, 1]


def test_all_orders_of_few_images_are_as_likely():
    for count in (2, 3, 4):
        ranks = np.array([permutation(count, 0, epoch) for epoch in range(1000)])
        which = np.unique(ranks, axis=0, return_counts=True)[1]
        assert len(which) == math.factorial(count)
        assert fits(which)


@pytest.mark.usefixtures("way")
def test_every_place_is_as_likely_for_an_image():
    orders = np.array([permutation(16, 0, epoch) for epoch in range(2000)])
    for place in range(16):
        assert fits(np.bincount(orders[:, place], minlength=16))


@pytest.fixture(scope="module")
def orders():
    """A thousand epochs of just so many images that the cipher orders them."""
    count = order.SORTED + 3
    return np.stack([permutation(count, 1, epoch) for epoch in range(1000)])


def test_images_stay_in_place_as_often_as_by_chance(orders):
    """Their number is Poisson's with mean 1, from one epoch to the next as well."""
    still = [(orders == np.arange(orders.shape[1])).sum(1), (orders[1:] == orders[:-1]).sum(1)]
    for found in still:
        expected = len(found) * stats.poisson(1).pmf(np.arange(5))
        counts = np.bincount(np.minimum(found, 5), minlength=6)
        assert fits(counts, [*expected, len(found) - expected.sum()])


@pytest.mark.parametrize("apart", ["a place", "a row", "a row and a place"])
def test_images_that_stand_near_one_another_do_not_stay_near(orders, apart):
    """A place is two digits to the cipher: also for neighbours in each digit, and in both."""
    count = orders.shape[1]
    row = -(-count // (math.isqrt(count - 1) + 1))
    step = {"a place": 1, "a row": row, "a row and a place": row + 1}[apart]
    for seen in (orders, np.argsort(orders, axis=1)):
        distance = (seen[:, step:] - seen[:, :-step]) % count
        # 0 can't be; all others are as likely.
        found = np.bincount(distance.ravel(), minlength=count)[1:]
        assert fits(found)
        assert fits(found[:64])
        both = np.corrcoef(seen[:, step:].ravel(), seen[:, :-step].ravel())[0, 1]
        assert abs(both + 1 / (count - 1)) < 5 / distance.size**0.5


def test_four_rounds_would_be_seen(monkeypatch):
    """That these tests can fail: a cipher of too few rounds does not pass them."""
    monkeypatch.setattr(order, "ROUNDS", 4)
    order._keys.cache_clear()
    count = order.SORTED + 3
    weak = np.stack([permutation(count, 1, epoch) for epoch in range(300)])
    order._keys.cache_clear()
    row = -(-count // (math.isqrt(count - 1) + 1))
    distance = (weak[:, row:] - weak[:, :-row]) % count
    assert not fits(np.bincount(distance.ravel(), minlength=count)[1:])


def test_images_that_are_sorted_by_class_are_mixed_in_every_batch():
    count, classes = 10**7, 10
    label = np.concatenate(
        [batch(64 * number, 64, count, seed=0) * classes // count for number in range(500)]
    ).reshape(500, 64)
    counts = np.stack([np.bincount(row, minlength=classes) for row in label])
    assert fits(counts.sum(0))
    # Over batches each count has the variance of a draw without replacement from very many.
    expected = 64 * 0.1 * 0.9
    assert abs(counts.var() / expected - 1) < 0.1


def test_batches_across_epochs_drop_and_repeat_nothing_and_each_epoch_has_its_order():
    for count, epochs in ((100, 64), (5000, 3)):
        positions = range(0, count * epochs, 64)
        stream = np.concatenate([batch(position, 64, count, seed=0) for position in positions])
        for number, epoch in enumerate(stream[: count * epochs].reshape(epochs, count)):
            assert np.array_equal(np.sort(epoch), np.arange(count))
            assert np.array_equal(epoch, permutation(count, 0, number))


def test_a_batch_larger_than_the_data_reads_them_again():
    found = batch(0, 25, 10, seed=0)
    assert np.array_equal(np.sort(found[:10]), np.arange(10))
    assert np.array_equal(np.sort(found[10:20]), np.arange(10))
    assert len(found) == 25


sizes = st.integers(1, 70)
counts = st.integers(1, 40) | st.integers(order.SORTED, order.SORTED + 100)


@given(position=st.integers(0, 500), a=sizes, b=sizes, count=counts, seed=st.integers())
def test_two_batches_in_a_row_are_one_batch_of_both(position, a, b, count, seed):
    """So a resume at any position, with any batch size, goes on with the very next image."""
    both = np.concatenate([batch(position, a, count, seed), batch(position + a, b, count, seed)])
    assert np.array_equal(batch(position, a + b, count, seed), both)


def test_what_is_given_may_be_changed_without_changing_the_next():
    for count in (10, 5000):
        for read in (
            lambda count=count: batch(0, 10, count, 0),
            lambda count=count: permutation(count, 0, 0),
        ):
            before = read().copy()
            read()[:] = -1
            assert np.array_equal(read(), before)
