"""Solvers of the probability flow have the order that theory gives them."""

import csv
import itertools
import math
import sys
from pathlib import Path

import pytest
import torch
from slopes import DATA, SCHEDULES, WALKS, slope, undrawn

from loang import schedule
from loang.denoiser import Estimate
from loang.errors import LoangError
from loang.samplers import METHODS, best, flow, heun, kind_of, named, ode
from loang.samplers.auto import TABLE
from loang.samplers.multistep import exponential, multistep

# Thousands of small steps, of functions whose signatures test_checking.py checks.
pytestmark = pytest.mark.usefixtures("unchecked_signatures")
ROOT = Path(__file__).parents[2]
ORDERS = {name: method.order for name, method in METHODS.items() if method.order}


def test_every_sampler_that_has_an_order_has_a_walk_that_shows_it():
    assert set(WALKS) == set(ORDERS)


@pytest.mark.parametrize("name", WALKS)
@pytest.mark.parametrize(
    ("time", "data"), [("edm", "gaussian"), ("vp", "mixture"), ("flow", "mixture")]
)
def test_the_error_falls_with_the_order_of_the_sampler(name, time, data):
    walk = WALKS[name]
    errors = walk.errors(named(name), DATA[data](SCHEDULES[time]))
    assert slope(walk.steps, errors) == pytest.approx(ORDERS[name], abs=0.15), errors


def test_half_of_the_second_difference_would_cost_the_third_order():
    """As codes in wide use have it: the parabola's square term is then left half out."""

    def halved(table, levels, s):
        parabola = exponential(table, levels, s)
        if len(levels) < 3:
            return parabola
        h = s.lam - levels[0].lam
        near, far = (levels[0].lam - level.lam for level in levels[1:])
        # Of the slope of the parabola at t, in each older estimate; the rest is its square term.
        slope_at_t = (-far / (near * (far - near)), near / (far * (far - near)))
        of_slope = [(h + math.expm1(-h)) * share for share in slope_at_t]
        return [(all_ + part) / 2 for all_, part in zip(parabola, of_slope, strict=True)]

    def usual(denoiser, x, levels, noise, label=None):
        return multistep(denoiser, x, levels, label, order=3, of="x0", weights=halved)

    walk = WALKS["dpmpp-3m"]
    errors = walk.errors(usual, DATA["mixture"](SCHEDULES["edm"]))
    assert slope(walk.steps, errors) == pytest.approx(2, abs=0.15), errors


@pytest.mark.parametrize(("steps", "published"), [(10, 0.609798), (18, 0.527625), (40, 0.504877)])
def test_heun_gives_the_known_deviation(steps, published):
    """Data N(0, 0.5²) from x = 80 by EDM's levels."""
    denoiser = DATA["gaussian"](schedule.Edm())
    denoiser.centres = torch.zeros(1, dtype=torch.float64)
    x = torch.full((1, 1, 1, 1), 80.0, dtype=torch.float64)
    *_, state = heun(denoiser, x, denoiser.schedule.levels(steps), lambda step: x)
    assert float(state.x) == pytest.approx(published, abs=6e-7)
    exact = flow(denoiser, x, 80.0, 0.002, tolerance=1e-9)
    assert float(exact) == pytest.approx(80 * math.sqrt(0.25 + 4e-6) / math.sqrt(6400.25), abs=1e-7)


class Counted:
    """A denoiser that counts how often it is asked, and how many images it is asked about."""

    def __init__(self, denoiser):
        self.denoiser, self.schedule, self.calls = denoiser, denoiser.schedule, 0

    def __call__(self, x_t, t, label=None):
        self.calls += 1
        return self.denoiser(x_t, t, label)


@pytest.mark.parametrize("name", [name for name in METHODS if name != "ode"])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_a_walk_asks_the_denoiser_as_often_as_the_registry_says(name, steps):
    denoiser = Counted(DATA["mixture"](schedule.Flow()))
    x = torch.zeros(2, 1, 1, 1, dtype=torch.float64)
    list(named(name)(denoiser, x, denoiser.schedule.levels(steps), lambda step: x))
    assert denoiser.calls == METHODS[name].evaluations(steps)
    assert METHODS[name].steps(denoiser.calls) == steps


@pytest.mark.parametrize("evaluations", [1, 2, 5, 8, 12, 50, 1000])
@pytest.mark.parametrize("kind", TABLE)
def test_auto_never_asks_more_often_than_it_may(kind, evaluations):
    choice = best(kind, evaluations)
    assert METHODS[choice.sampler].evaluations(choice.steps) <= evaluations
    assert choice.spacing in schedule.SPACINGS


@pytest.mark.parametrize(
    ("kind", "least"), [("flow", {4, 6, 8, 10, 15, 20, 50, 500}), ("discrete", {10}), ("edm", {10})]
)
def test_auto_follows_the_tables_that_were_measured(kind, least):
    """docs/benchmarks.md; of samplers within an error of one another it may take any."""
    with (ROOT / f"docs/measured/samplers-{kind}.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    counts = {int(row["evaluations"]) for row in rows}
    assert least <= counts
    for count in counts:
        of_it = [row for row in rows if int(row["evaluations"]) == count]
        found = {(row["sampler"], row["spacing"]): float(row["distance"]) for row in of_it}
        error = max(float(row["error"]) for row in of_it)
        choice = best(kind, count)
        assert found[choice.sampler, choice.spacing] <= min(found.values()) + error, count


def test_each_schedule_is_of_its_kind():
    kinds = [kind_of(made) for made in (schedule.cosine(), schedule.Edm(), schedule.Flow())]
    assert kinds == ["discrete", "edm", "flow"]


def starts(count=5):
    return torch.linspace(-1.5, 1.5, count, dtype=torch.float64).reshape(-1, 1, 1, 1)


@pytest.mark.parametrize("tolerance", [1e-3, 1e-5, 1e-7])
@pytest.mark.parametrize("time", SCHEDULES)
def test_the_ode_is_solved_to_its_tolerance_down_and_up(time, tolerance):
    denoiser = DATA["mixture"](SCHEDULES[time])
    table = denoiser.schedule
    noisy, clean = table.time(20.0), table.time(0.01)
    x = starts() * float(table.noise(torch.tensor(noisy)))
    image = flow(denoiser, x, noisy, clean, tolerance)
    truth = denoiser.carried(x, noisy, clean)
    torch.testing.assert_close(image, truth, rtol=0, atol=20 * tolerance)
    size = float(table.noise(torch.tensor(noisy)))
    back = flow(denoiser, image, clean, noisy, tolerance)
    torch.testing.assert_close(back / size, x / size, rtol=0, atol=40 * tolerance)


def test_a_smaller_tolerance_costs_more_and_few_evaluations_are_enough():
    found = []
    for tolerance in (1e-2, 1e-4, 1e-6):
        denoiser = Counted(DATA["mixture"](schedule.cosine()))
        list(ode(denoiser, starts(), [1000, 0], undrawn, tolerance=tolerance))
        found.append(denoiser.calls)
    assert found == sorted(set(found))
    assert found[0] < 60
    assert found[-1] < 250


def test_states_of_the_ode_lie_on_the_flow_at_every_level():
    denoiser = DATA["mixture"](schedule.Flow())
    levels = [0.95, 0.9, 0.6, 0.599, 0.3, 0.1, 0.01, 0.001, 0]
    states = list(ode(denoiser, starts(), levels, undrawn, tolerance=1e-7))
    assert [state.t for state in states] == levels
    for state in states[:-1]:
        truth = denoiser.carried(starts(), 0.95, state.t)
        torch.testing.assert_close(state.x, truth, rtol=0, atol=1e-4)
        seen = denoiser(truth, torch.full((5,), state.t, dtype=torch.float64)).x0
        torch.testing.assert_close(state.x0, seen, rtol=0, atol=5e-3)
    # The end is a step's end, not an interpolation.
    truth = denoiser.carried(starts(), 0.95, 0.001)
    torch.testing.assert_close(states[-2].x, truth, rtol=0, atol=2e-6)
    torch.testing.assert_close(states[-1].x, states[-2].x0, rtol=0, atol=1e-12)


def test_a_sample_of_the_ode_does_not_depend_on_its_batch():
    denoiser = DATA["mixture"](schedule.cosine())
    together = list(ode(denoiser, starts(), [1000, 500, 100, 0], undrawn))
    for i in range(5):
        alone = list(ode(denoiser, starts()[i : i + 1], [1000, 500, 100, 0], undrawn))
        for ours, theirs in zip(alone, together, strict=True):
            torch.testing.assert_close(ours.x[0], theirs.x[i], rtol=0, atol=1e-13)


class Wild:
    """No smooth flow: what it sees changes at once with the time."""

    schedule = schedule.cosine()

    def __init__(self, size):
        self.size = size

    def __call__(self, x_t, t, label=None):
        jump = (t.double() * 1e4).sin().sign().reshape(-1, 1, 1, 1) * self.size
        return Estimate(x_t * jump, x_t * jump)


def test_an_ode_that_has_no_smooth_flow_is_told(monkeypatch):
    monkeypatch.setattr(sys.modules["loang.samplers.ode"], "MOST_STEPS", 50)
    with pytest.raises(LoangError, match="can't be solved to a tolerance of 1e-06"):
        list(ode(Wild(3.0), starts(1), [1000, 0], undrawn, tolerance=1e-6))


def test_a_denoiser_that_answers_no_numbers_does_not_hold_the_walk_up():
    *_, state = ode(Wild(math.nan), starts(1), [1000, 0], undrawn)
    assert state.t == 0
    assert bool(state.x.isnan().all())


@pytest.mark.parametrize("table", [schedule.cosine(), schedule.cosine().with_zero_terminal_snr()])
@pytest.mark.parametrize("to", [950, 900, 600])
def test_heun_is_of_second_order_from_pure_noise_too(table, to):
    """There sigma is thousands or infinite: a slope of sigma would be of no use."""
    denoiser = DATA["mixture"](table)
    truth = denoiser.carried(starts(), 1000, to)
    after = [
        next(itertools.islice(named(name)(denoiser, starts(), [1000, to, 0], undrawn), 1, None)).x
        for name in ("heun", "ddim")
    ]
    misses = [float((x - truth).abs().max()) for x in after]
    assert misses[0] < 0.2 * misses[1], misses
