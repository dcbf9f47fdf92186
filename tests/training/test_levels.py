"""Times are drawn as often as they should be, evenly over a batch or where losses are large."""

import math
from statistics import NormalDist

import pytest
import torch

from loang.schedule import Edm, Flow, cosine, linear
from loang.training.importance import MEMORY, Importance
from loang.training.levels import Levels, shares, stratified_shares

SHARES = torch.linspace(0.001, 0.999, 999, dtype=torch.float64)
NORMAL = torch.tensor([NormalDist().inv_cdf(share) for share in SHARES.tolist()])
KEYS = {"seed": 0, "purpose": "test", "step": 0}
CPU = torch.device("cpu")


def test_uniform_draws_are_even_in_what_a_network_is_told():
    edm, flow, steps = Edm(0.01, 50), Flow(), linear(7)
    told = edm.condition(Levels("uniform").quantile(edm, SHARES))
    torch.testing.assert_close(
        told.diff(), torch.full((998,), 100 * math.log(5000) * 0.001).double()
    )
    times = Levels("uniform").times(flow, SHARES)
    torch.testing.assert_close(times, SHARES)
    whole = Levels("uniform").times(steps, SHARES)
    assert whole.dtype == torch.long
    assert (whole.bincount().tolist()) == [0, 142, 143, 143, 143, 143, 143, 142]


@pytest.mark.parametrize("schedule", [Edm(), Flow(), linear()], ids=lambda s: s.name)
@pytest.mark.parametrize(("mean", "deviation"), [(None, None), (0.5, 0.7)])
def test_log_normal_draws_have_a_normal_log_sigma(schedule, mean, deviation):
    """Karras et al. 2022, table 1: P_mean = -1.2, P_std = 1.2."""
    t = Levels("log-normal", mean, deviation).times(schedule, SHARES)
    expected = (-1.2 if mean is None else mean) + (deviation or 1.2) * NORMAL
    found = schedule.sigma(t).log()
    # The nearest of a thousand steps is up to half a step away, and none is below the first.
    steps = schedule.name == "linear"
    inside = expected > (math.log(0.03) if steps else -9)
    off = (found - expected)[inside].abs().max()
    assert float(off) < (0.2 if steps else 1e-5)


@pytest.mark.parametrize("schedule", [Flow(), cosine()], ids=lambda s: s.name)
@pytest.mark.parametrize(("mean", "deviation"), [(None, None), (-0.4, 0.6)])
def test_logit_normal_draws_have_a_normal_logit_of_t(schedule, mean, deviation):
    """Esser et al. 2024, section 3.1."""
    t = Levels("logit-normal", mean, deviation).times(schedule, SHARES) / schedule.T
    expected = torch.sigmoid((mean or 0.0) + (deviation or 1.0) * NORMAL)
    assert float((t - expected).abs().max()) < 0.51 * (1 / 1000 if schedule.T == 1000 else 1e-4)


@pytest.mark.parametrize("kind", ["uniform", "log-normal", "logit-normal"])
@pytest.mark.parametrize("schedule", [Edm(), Flow(), cosine(20)], ids=lambda s: s.name)
def test_a_thousand_draws_are_as_the_quantiles_say_and_within_the_schedule(schedule, kind):
    levels = Levels(kind)
    found = levels.draw(schedule, indices=torch.arange(4000), **KEYS).double().sort().values
    assert float(found[0]) > 0
    assert float(found[-1]) <= schedule.T
    even = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000
    expected = levels.times(schedule, even).double()
    # Kolmogorov and Smirnov's distance, of which 1.63 / sqrt(n) is passed once in a hundred.
    below = torch.searchsorted(found, expected, right=True).double()
    above = torch.searchsorted(found, expected, right=False).double()
    rank = torch.searchsorted(expected, expected, right=True).double()
    off = torch.minimum((below - rank).abs(), (above - rank).abs()) / 4000
    assert float(off.max()) < 1.63 / math.sqrt(4000)


def test_stratified_shares_lie_one_in_each_stratum_whatever_the_step():
    for step in range(20):
        keys = {**KEYS, "step": step}
        found = stratified_shares(16, indices=torch.arange(16), **keys)
        assert (found * 16).floor().long().sort().values.tolist() == list(range(16))
        part = stratified_shares(16, indices=torch.tensor([3, 9]), **keys)
        assert torch.equal(part, found[[3, 9]])


def test_each_images_stratified_share_is_uniform_and_knows_nothing_of_its_place():
    drawn = torch.stack(
        [
            stratified_shares(8, indices=torch.arange(8), seed=1, purpose="test", step=step)
            for step in range(500)
        ]
    )
    assert float(drawn.min()) > 0
    assert float(drawn.max()) < 1
    histogram = torch.stack([drawn[:, i].mul(10).floor().long().bincount() for i in range(8)])
    assert float((histogram - 50).abs().max()) < 5 * math.sqrt(50)
    # Two images' shares are apart, but which is the larger is even.
    assert abs(float((drawn[:, 0] < drawn[:, 7]).double().mean()) - 0.5) < 0.1


def test_stratified_shares_make_the_mean_of_a_batch_vary_less():
    def spread(draw):
        means = [float(draw(step).square().mean()) for step in range(200)]
        return torch.tensor(means).std()

    every = torch.arange(32)
    alone = spread(lambda step: shares(seed=0, purpose="test", step=step, indices=every))
    evenly = spread(
        lambda step: stratified_shares(32, seed=0, purpose="test", step=step, indices=every)
    )
    assert evenly < alone / 20


def loss(t):
    """A loss that differs a thousandfold between levels."""
    return 1000.0 ** -((t.float() - 1) / 7)


def known(schedule, batches=200):
    """Importance after so many batches of 32."""
    importance = Importance(schedule, CPU)
    for step in range(batches):
        drawn = importance.draw(shares(**{**KEYS, "step": step}, indices=torch.arange(32)))
        t = Levels("uniform").times(schedule, drawn.share)
        importance.note(drawn.bins, loss(t))
        importance.settle()
    return importance


def test_draws_are_uniform_until_every_level_has_ten_losses_and_then_as_the_losses_are():
    """Nichol and Dhariwal 2021, eq. 18: p in proportion to the root of the mean square."""
    schedule = linear(8)
    few = known(schedule, 1)
    assert int(few.counts.sum()) == 32
    assert few.probabilities.tolist() == pytest.approx([1 / 8] * 8)
    importance = known(schedule)
    expected = loss(torch.arange(1, 9)).double()
    expected = 0.999 * expected / expected.sum() + 0.001 / 8
    torch.testing.assert_close(importance.probabilities, expected, rtol=1e-5, atol=0)
    drawn = importance.draw(shares(**KEYS, indices=torch.arange(20_000)))
    found = drawn.bins.bincount(minlength=8) / 20_000
    assert float((found - expected).abs().max()) < 0.01
    assert torch.equal(Levels("uniform").times(schedule, drawn.share), drawn.bins + 1)


@pytest.mark.parametrize("schedule", [linear(8), Edm(), Flow()], ids=lambda s: s.name)
def test_weighted_draws_mean_what_uniform_draws_mean(schedule):
    importance = Importance(schedule, CPU)
    size = torch.linspace(0.1, 3, importance.bins)
    importance.squares.copy_(size.square()[:, None].expand(-1, MEMORY))
    importance.counts.fill_(MEMORY)
    even = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000
    drawn = importance.draw(even)
    assert float(drawn.weight.mean()) == pytest.approx(1, rel=1e-3)
    for of in (lambda share: share, lambda share: share**3, lambda share: (9 * share).cos()):
        mean = float((drawn.weight * of(drawn.share)).mean())
        assert mean == pytest.approx(float(of(even).mean()), abs=2e-3)
    # Not by chance: without weights it is another.
    assert float(drawn.share.mean()) > 0.6


def test_importance_makes_the_weighted_loss_vary_less():
    schedule = linear(8)
    importance = known(schedule)
    drawn = importance.draw(shares(**KEYS, indices=torch.arange(5000)))
    weighted = drawn.weight * loss(drawn.bins + 1)
    plain = loss(Levels("uniform").draw(schedule, indices=torch.arange(5000), **KEYS))
    assert float(weighted.mean()) == pytest.approx(float(plain.mean()), rel=0.1)
    assert float(weighted.std()) < 0.1 * float(plain.std())


def test_the_last_ten_losses_of_a_level_are_remembered_in_their_order():
    importance = Importance(linear(3), CPU)
    expected = {0: [], 1: [], 2: []}
    for step in range(6):
        bins = torch.tensor([0, 1, 0, 0, 2, 1] + ([2] * 13 if step == 3 else []))
        losses = torch.arange(len(bins)) + 100.0 * step
        half = len(bins) // 2
        importance.begin()
        importance.note(bins[:1], torch.full((1,), 1e9))
        importance.begin()  # anew
        importance.note(bins[:half], losses[:half])
        importance.note(bins[half:], losses[half:])
        importance.settle()
        for level, value in zip(bins.tolist(), losses.tolist(), strict=True):
            expected[level].append(value)
        for level, values in expected.items():
            kept = sorted(importance.squares[level].sqrt().tolist())
            assert kept == pytest.approx(sorted([0.0] * (10 - len(values)) + values[-10:]))
            assert int(importance.counts[level]) == len(values)
    importance.settle()  # nothing new
    assert int(importance.counts.sum()) == sum(map(len, expected.values()))


def test_a_loss_that_is_no_number_is_not_remembered():
    importance = Importance(linear(2), CPU)
    for _ in range(MEMORY):
        importance.note(torch.tensor([0, 1]), torch.tensor([1.0, 2.0]))
        importance.settle()
    importance.note(torch.tensor([0, 1]), torch.tensor([math.nan, math.inf]))
    importance.settle()
    assert bool(importance.squares.isfinite().all())
    assert importance.squares.sum(1).tolist() == [10.0, 40.0]
    assert bool(
        importance.draw(torch.tensor([0.0, 0.5, 1 - 1e-16]).double()).weight.isfinite().all()
    )
