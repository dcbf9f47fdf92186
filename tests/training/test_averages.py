"""Averages of any length from snapshots of two, against EDM2's mathematics and direct tracking."""

import json
import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from loang import tensors
from loang.config import EmaSettings, Settings, changed
from loang.doctor.average import of_model
from loang.errors import LoangError
from loang.training import choice
from loang.training.averages import Average, Snapshots, held
from loang.training.choice import CANDIDATES, Judge, Score, choose
from loang.training.ema import Ema, PowerDecay, averages, power_exponent
from loang.training.profiles import NEAR, Profile, fit, inner_products, reachable

LENGTHS = (0.05, 0.1)
SHAPES = {"w": (40,), "b": (3, 2)}


def every(count, end, lengths=LENGTHS):
    """Profiles of so many snapshots, evenly over a run of so many steps."""
    return [Profile(end * n // count, each) for n in range(1, count + 1) for each in lengths]


def density(profile):
    """The profile as a function of the time."""
    gamma = power_exponent(profile.length)
    return lambda time: (
        (gamma + 1) * time**gamma / profile.step ** (gamma + 1) if time <= profile.step else 0.0
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Profile(70, 0.05), Profile(70, 0.05)),
        (Profile(70, 0.05), Profile(70, 0.2)),
        (Profile(30, 0.05), Profile(100, 0.1)),
        (Profile(100, 0.05), Profile(30, 0.1)),
        (Profile(1, 0.27), Profile(1000, 0.02)),
    ],
)
def test_inner_products_are_the_integrals(first, second):
    p, q = density(first), density(second)
    end = min(first.step, second.step)
    expected, error = quad(lambda time: p(time) * q(time), 0, end, epsabs=0, epsrel=1e-10)
    assert error < 1e-8 * expected or expected < 1e-30
    assert inner_products([first], [second]).item() == pytest.approx(expected, rel=1e-8)


def weights_in_time(profile, end):
    """What the average tracked by `PowerDecay` makes of each step's weights."""
    ema = Ema([("w", torch.zeros(end, dtype=torch.float64))], PowerDecay(profile.length))
    for step in range(1, profile.step + 1):
        ema.update([("w", torch.eye(end, dtype=torch.float64)[step - 1])], step)
    return ema.tensors["w"].numpy()


@pytest.mark.parametrize("length", [0.05, 0.2])
def test_a_tracked_average_has_the_integrals_of_its_profile_exactly(length):
    exponent = power_exponent(length) + 1
    edges = (np.arange(31) / 30) ** exponent
    tracked = weights_in_time(Profile(30, length), 30)
    np.testing.assert_allclose(tracked, np.diff(edges), rtol=1e-10, atol=1e-15)


def test_what_is_stored_is_given_back():
    for wanted in every(16, 160)[-2:]:
        shares, error = fit(every(16, 160), wanted)
        assert error < 1e-6
        expected = [float(each == wanted) for each in every(16, 160)]
        np.testing.assert_allclose(shares, expected, atol=1e-6)


@pytest.mark.parametrize("count", [1, 2, 16, 64])
def test_shares_sum_to_one_so_that_what_never_changes_stays(count):
    for length in (0.01, 0.07, 0.25):
        shares, _ = fit(every(count, 640), Profile(640, length))
        assert shares.sum() == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(("length", "count"), [(0.03, 16), (0.08, 16), (0.2, 16), (0.02, 32)])
def test_the_error_is_the_distance_of_the_profiles(length, count):
    """Against a sum over a fine grid of times."""
    stored, wanted = every(count, 320), Profile(320, length)
    shares, error = fit(stored, wanted)
    times = (np.arange(200_000) + 0.5) / 200_000 * 320
    target = np.vectorize(density(wanted))(times)
    made = np.zeros_like(times)
    for share, profile in zip(shares, stored, strict=True):
        gamma = power_exponent(profile.length)
        there = times <= profile.step
        made[there] += share * (gamma + 1) / profile.step * (times[there] / profile.step) ** gamma
    distance = math.sqrt(((made - target) ** 2).sum() / (target**2).sum())
    assert error == pytest.approx(distance, rel=1e-2)


def test_no_other_shares_of_sum_one_are_nearer():
    stored, wanted = every(8, 80), Profile(80, 0.15)
    shares, error = fit(stored, wanted)
    gram, towards = inner_products(stored, stored), inner_products(stored, [wanted])[:, 0]
    whole = inner_products([wanted], [wanted]).item()
    rng = np.random.default_rng(0)
    for _ in range(100):
        step = rng.standard_normal(len(shares)) * 1e-3
        other = shares + step - step.mean()
        missing = whole - 2 * other @ towards + other @ gram @ other
        assert missing >= whole * error**2 * (1 - 1e-9)


def test_the_error_of_the_fit_falls_with_more_snapshots():
    """The figures of docs/averages.md."""
    errors = [
        [fit(every(count, 6400), Profile(6400, length)).error for count in (8, 16, 32, 64)]
        for length in (0.03, 0.08, 0.2)
    ]
    expected = [
        [0.10, 0.039, 0.011, 0.0029],
        [0.011, 0.0030, 0.00076, 0.00019],
        [0.077, 0.023, 0.0065, 0.0017],
    ]
    np.testing.assert_allclose(errors, expected, rtol=0.06)


def test_fits_do_not_depend_on_how_long_the_run_is():
    for length in (0.03, 0.2):
        short, long = (fit(every(16, end), Profile(end, length)) for end in (16, 160_000))
        np.testing.assert_allclose(short.shares, long.shares, rtol=1e-6, atol=1e-9)


def test_the_reach_is_where_the_error_is_small_enough():
    stored = every(16, 160)
    short, long = reachable(stored, 160)
    assert short == pytest.approx(0.028, rel=0.05)
    assert long == pytest.approx(0.23, rel=0.05)
    for length, near in ((short, True), (short * 0.9, False), (long, True), (long * 1.1, False)):
        assert (fit(stored, Profile(160, length)).error <= NEAR) == near
    assert reachable(every(1, 10, (0.05,)), 1000) is None


def wandering(steps, seed=0):
    """Weights of a run: far from zero, falling fast at first, noisy to the end."""
    rng = np.random.default_rng(seed)
    size = sum(math.prod(shape) for shape in SHAPES.values())
    walk = np.cumsum(rng.standard_normal((steps, size)), 0) * 0.02
    falling = 3 * np.exp(-np.arange(steps) / (0.1 * steps))[:, None]
    rows = 5 + falling + walk + 0.3 * rng.standard_normal((steps, size))
    found = []
    for row in rows:
        values = torch.tensor(row, dtype=torch.float32)
        found.append({"w": values[:40], "b": values[40:].reshape(3, 2)})
    return found


def snapshots_of(folder, path, count=16, precision="float32", lengths=LENGTHS):
    """Track averages over a path of weights, and store so many snapshots."""
    stored = Snapshots(folder, SHAPES)
    tracked = {f"ema-{n}": Ema(path[0].items(), PowerDecay(each)) for n, each in enumerate(lengths)}
    for step, weights in enumerate(path, 1):
        for each in tracked.values():
            each.update(weights.items(), step)
        if step * count // len(path) > (step - 1) * count // len(path):
            about = {"step": step, "images": 4 * step, "seconds": 1.5 * step}
            stored.write(held(tracked, precision), about)
    return stored


def tracked(path, length):
    """The average of that length, tracked step by step in float64."""
    wide = [{name: weight.double() for name, weight in weights.items()} for weights in path]
    ema = Ema(wide[0].items(), PowerDecay(length))
    for step, weights in enumerate(wide, 1):
        ema.update(weights.items(), step)
    return ema.tensors


def flat(weights):
    return torch.cat([weights[name].flatten().double() for name in SHAPES])


@pytest.mark.parametrize(("length", "count"), [(0.04, 16), (0.08, 16), (0.2, 16), (0.02, 32)])
def test_an_average_of_snapshots_is_the_one_tracked_directly(tmp_path, length, count):
    """To the error of its profile: Cauchy and Schwarz, about the weights' own mean."""
    path = wandering(640)
    made = snapshots_of(tmp_path, path, count).average(length)
    expected = flat(tracked(path, length))
    every_step = torch.stack([flat(weights) for weights in path])
    spread = (every_step - expected).square().sum(0)
    gamma = power_exponent(length)
    norm = (gamma + 1) / math.sqrt((2 * gamma + 1) * 640)
    bound = made.error * norm * spread.sqrt() + 1e-5
    difference = (flat(made.weights) - expected).abs()
    assert bool((difference <= bound).all())
    # And it is no other: half the length away is further.
    assert difference.norm() < 0.2 * (flat(tracked(path, length * 1.5)) - expected).norm()
    assert made.snapshots == count
    assert made.about["images"] == 2560
    assert {name: tuple(each.shape) for name, each in made.weights.items()} == SHAPES
    assert all(each.dtype == torch.float32 for each in made.weights.values())


@pytest.mark.parametrize("length", LENGTHS)
def test_of_a_stored_length_it_is_the_stored_one(tmp_path, length):
    path = wandering(160)
    made = snapshots_of(tmp_path, path).average(length)
    torch.testing.assert_close(
        flat(made.weights), flat(tracked(path, length)), rtol=1e-6, atol=1e-6
    )


def test_weights_that_never_change_are_their_average_of_any_length(tmp_path):
    path = [wandering(1)[0]] * 64
    stored = snapshots_of(tmp_path, path)
    for length in (0.03, 0.07, 0.2):
        torch.testing.assert_close(
            flat(stored.average(length).weights), flat(path[0]), rtol=1e-6, atol=0
        )


def test_half_of_the_precision_costs_less_than_the_fit(tmp_path):
    path = wandering(640)
    whole = snapshots_of(tmp_path / "whole", path)
    half = snapshots_of(tmp_path / "half", path, precision="float16")
    small, large = (each.path(640).stat().st_size for each in (half, whole))
    assert small < 0.75 * large
    for length in (0.04, 0.06, 0.2):
        one, other = flat(whole.average(length).weights), flat(half.average(length).weights)
        assert 0 < (one - other).abs().max() < 2**-9 * 5  # values of about 5, shares of about 2


def test_an_average_of_which_too_much_was_rounded_away_is_refused(tmp_path):
    """Its shares of 200 snapshots are some hundreds, and sum to 1."""
    path = wandering(800)
    short = 0.006
    whole = snapshots_of(tmp_path / "whole", path, 200)
    half = snapshots_of(tmp_path / "half", path, 200, precision="float16")
    assert whole.average(short).error < NEAR
    with pytest.raises(LoangError, match=r"rounded away is \d\.\d%.*snapshot_precision=float32"):
        half.average(short)
    half.average(0.03)


def test_it_is_refused_beyond_the_reach_which_is_named(tmp_path):
    stored = snapshots_of(tmp_path, wandering(160))
    for length in (1e-4, 0.01, 0.27):
        with pytest.raises(LoangError, match=r"16 snapshots .* to 5%.* 0\.02\d to 0\.23\d are"):
            stored.average(length)
    for length in (0.0, 1e-200, 9.9e-5, -0.1, 0.28, 5.0, math.nan):
        with pytest.raises(LoangError, match=r"can't be made .*from 0\.0001 to less than 0\.28"):
            stored.average(length)
    with pytest.raises(LoangError, match=r"no snapshots .*ema\.snapshots=32"):
        Snapshots(tmp_path / "none", SHAPES).average(0.1)


def test_one_snapshot_and_one_length_are_enough_for_that_length(tmp_path):
    path = wandering(20)
    stored = snapshots_of(tmp_path, path, 1, lengths=(0.1,))
    assert stored.steps() == [20]
    assert stored.average(0.1).error < 1e-6
    with pytest.raises(LoangError, match=r"1 snapshot of this run"):
        stored.average(0.2)


def test_later_snapshots_are_cut_and_others_files_left(tmp_path):
    stored = snapshots_of(tmp_path, wandering(32), 8)
    (tmp_path / "step-7.safetensors").write_bytes(b"mine")
    (tmp_path / "step-00000099.txt").write_bytes(b"mine")
    assert stored.steps() == [4, 8, 12, 16, 20, 24, 28, 32]
    stored.cut(16)
    assert stored.steps() == [4, 8, 12, 16]
    assert (tmp_path / "step-7.safetensors").exists()
    assert (tmp_path / "step-00000099.txt").exists()


def rewrite(path, weights=None, **about):
    """A snapshot with other values in it."""
    stored = tensors.look(path)
    content = {**json.loads(stored.metadata["loang"]), **about}
    tensors.save(path, weights or stored.read(), {"loang": json.dumps(content)})


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-3]),
        lambda path: path.write_bytes(b""),
        lambda path: rewrite(path, step=7),
        lambda path: rewrite(path, format=2),
        lambda path: rewrite(path, lengths=[0.05]),
        lambda path: rewrite(path, lengths=[0.05, 0.5]),
        lambda path: rewrite(path, lengths=[0.05, True]),
        lambda path: rewrite(path, lengths=[0.05, 1e-200]),
        lambda path: rewrite(path, lengths=[0.05, 9.9e-5]),
        lambda path: rewrite(path, lengths=[]),
        lambda path: rewrite(path, images=True),
        lambda path: rewrite(path, seconds=None),
        lambda path: rewrite(path, weights={"0/w": torch.zeros(40)}),
        lambda path: rewrite(
            path,
            weights={
                f"{n}/{k}": torch.full(s, math.nan) for n in (0, 1) for k, s in SHAPES.items()
            },
        ),
    ],
)
def test_a_damaged_snapshot_is_named(tmp_path, harm):
    stored = snapshots_of(tmp_path, wandering(32), 8)
    harm(stored.path(16))
    with pytest.raises(LoangError, match=r"step-00000016\.safetensors can't be read.*Move it away"):
        stored.average(0.1)
    stored.path(16).unlink()
    stored.average(0.1)


def test_a_run_tracks_what_is_asked_beside_the_model():
    network = torch.nn.Linear(2, 2)
    assert list(averages(EmaSettings(), network.state_dict())) == ["ema"]
    found = averages(EmaSettings(snapshots=4, snapshot_lengths=(0.03, 0.2)), network.state_dict())
    assert list(found) == ["ema", "ema-1", "ema-2"]
    assert [each.decay.length for each in found.values()] == [0.06, 0.03, 0.2]
    assert list(held(found, "float32")) == [0.03, 0.2]
    weight = held(found, "float32")[0.2]["weight"]
    weight.zero_()
    assert found["ema-2"].tensors["weight"].abs().sum() > 0


def test_settings_that_mean_nothing_are_refused():
    with pytest.raises(LoangError, match=r"ema\.snapshots is 0"):
        changed(Settings(), ["ema.choose=true"])
    for length in ("1e-160", "9.9e-5", "0.28"):
        with pytest.raises(LoangError, match=r"ema\.length"):
            changed(Settings(), [f"ema.length={length}"])
        with pytest.raises(LoangError, match=r"ema\.snapshot_lengths"):
            changed(Settings(), [f"ema.snapshot_lengths=[0.1,{length}]"])
    assert changed(Settings(), ["ema.length=1e-4"]).ema.length == 1e-4
    with pytest.raises(LoangError, match="has one twice"):
        changed(Settings(), ["ema.snapshot_lengths=[0.1,0.1]"])


class Told(Judge):
    """A judge whose scores are given, by length; it recognises weights by their value."""

    measure, monitor = "a table", None

    def __init__(self, scores, default=9.0):  # no network: weights are looked up
        self.scores, self.default = scores, default

    def __call__(self, weights):
        length = round(float(weights["w"][0]), 6)
        return Score(self.scores.get(length, self.default))


class Ladder(Snapshots):
    """Snapshots whose average of a length has that length as its weights."""

    def average(self, length):
        return Average({"w": torch.tensor([length])}, length, 1e-3, len(self.steps()))


@pytest.fixture
def ladder(tmp_path):
    snapshots_of(tmp_path, wandering(64), 32)
    return Ladder(tmp_path, SHAPES)


def test_the_length_of_the_least_score_is_chosen(ladder):
    for best in CANDIDATES:
        found = choose(ladder, Told({best: 1.0, 0.3: 2.0}))
        assert (found.average.length, found.score.value) == (best, 1.0)
        assert [one.length for one in found.candidates] == list(CANDIDATES)
        assert found.facts()["average_chosen_by"] == "a table"
        assert found.facts()["average_length"] == best


def test_the_runs_own_average_is_one_of_the_candidates(ladder):
    own = Average({"w": torch.tensor([0.5])}, 0.06)
    found = choose(ladder, Told({0.5: 1.0, 0.06: 0.0}), own)
    assert found.average is own
    assert [one.length for one in found.candidates] == list(CANDIDATES)
    constant = Average({"w": torch.tensor([0.5])}, None)
    found = choose(ladder, Told({0.5: 1.0}), constant)
    assert found.average is constant
    assert [one.length for one in found.candidates] == [None, *CANDIDATES]
    assert "the run's own" in " ".join(found.sentences())


def test_a_score_that_is_no_number_never_wins(ladder):
    found = choose(ladder, Told({0.02: math.inf, 0.1: 3.0}))
    assert found.average.length == 0.1
    assert found.table()[0] == {"length": 0.02, "score": None}
    with pytest.raises(LoangError, match="could be scored"):
        choose(ladder, Told({}, default=math.inf))


def test_lengths_out_of_reach_are_told_and_left_away(tmp_path):
    snapshots_of(tmp_path, wandering(64), 8)
    said = []
    found = choose(Ladder(tmp_path, SHAPES), Told({}), say=said.append)
    assert [one.length for one in found.candidates] == [0.04, 0.06, 0.08, 0.1, 0.15]
    assert said[0] == "Of length 0.02, 0.2 none can be made: there are too few snapshots."
    assert "Scoring 5 averages of the weights by a table" in said[1]


def test_how_it_was_chosen_is_said(ladder):
    by_loss = " ".join(choose(ladder, Told({0.1: 1.0})).sentences())
    assert "The best is length 0.1, made of 32 snapshots" in by_loss
    assert "chosen by loss, which may prefer another length than the samples would" in by_loss

    class Sampled(Told):
        measure, monitor = "KID of 20 samples", object()

        def __call__(self, weights):
            return Score(super().__call__(weights).value, 0.5)

    scores = {0.1: 1.0, 0.08: 1.2, 0.15: 1.4, 0.2: 1.6}
    by_samples = " ".join(choose(ladder, Sampled(scores)).sentences())
    assert "0.1: 1.0000 ± 0.5000" in by_samples
    assert "2 more are within one standard error of it." in by_samples
    assert "by loss" not in by_samples


def test_the_doctor_sees_the_length_that_the_model_has():
    settings = EmaSettings(kind="constant", decay=0.999)
    assert of_model(settings, {}) == settings
    seen = of_model(settings, {"average_length": 0.15})
    assert (seen.kind, seen.length) == ("power", 0.15)
    for odd in (None, True, 3.0, -1.0, "0.1", math.nan):
        assert of_model(settings, {"average_length": odd}) == settings


def test_candidates_are_lengths_that_may_be_asked_for():
    assert all(0 < each < 0.28 for each in choice.CANDIDATES)
