"""Settings that nobody would write: refused at once, in two short sentences."""

import time
from copy import deepcopy

import pytest

from loang.build import weight_shapes
from loang.config import changed, load
from loang.data.spec import ImageSpec
from loang.errors import LoangError
from loang.presets import PRESETS, preset
from loang.training.budget import parse


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def circle():
    value = []
    value.append(value)
    return value


HOSTILE = [
    ("network", "width", 10**9),
    ("network", "multipliers", [1] * 10**6),
    ("network", "multipliers", ["x"] * 10**6),
    ("network", "multipliers", [10**30]),
    ("network", "attention", list(range(10**6))),
    ("network", "blocks", 10**6),
    ("network", "heads", 10**18),
    ("network", "fold", 10**5),
    ("network", "kind", "x" * 5000),
    ("network", "kind", ["x"] * 1000),
    ("schedule", "steps", 10**12),
    ("schedule", "beta_start", "1" * 10**7),
    ("sampling", "steps", 10**12),
    ("training", "batch", 10**15),
    ("training", "seed", 10**4000),
    ("training", "seed", 10**5000),
    ("training", "budget", "9" * 10**7),
    ("training", "device", "cpu" * 10**6),
    ("training", "checkpoint_minutes", float("nan")),
    ("optimizer", "warm_up", 10**30),
    ("optimizer", "learning_rate", float("inf")),
    ("optimizer", "betas", nested(10**5)),
    ("data", "size", [10**9, 10**9]),
    ("data", "channels", 10**9),
    ("data", "source", "x" * 10**7),
    ("data", "source", "\ud800"),
    ("data", "labels", circle()),
    ("data", "labels", {1, 2}),
    ("evaluation", "samples", 10**12),
    ("evaluation", "features", nested(500)),
    ("x" * 10**6, "y", 3),
]


@pytest.mark.parametrize(
    ("section", "key", "value"),
    HOSTILE,
    ids=[f"{s[:9]}-{k}-{i}" for i, (s, k, _) in enumerate(HOSTILE)],
)
def test_a_hostile_value_is_refused_at_once_in_few_words(section, key, value):
    values = preset("quick").to_dict()
    values[section] = {**values.get(section, {}), key: value}
    before = time.process_time()
    with pytest.raises(LoangError) as caught:
        load(values)
    assert time.process_time() - before < 2
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("values", [None, [], "x", 3, True, nested(10**5), {"network": None}])
def test_what_is_no_table_of_settings_is_refused(values):
    with pytest.raises(LoangError):
        load(values)


def test_a_hostile_assignment_is_refused():
    for text in ("[" * 10**5, "9" * 10**6, "1," * 10**5):
        with pytest.raises(LoangError):
            changed(preset("quick"), [f"network.width={text}"])


def test_the_largest_network_that_settings_allow_is_described_without_building_it():
    values = deepcopy(preset("quick").to_dict())
    values["network"] |= {
        "width": 2**13,
        "multipliers": [2**7] * 12,
        "blocks": 32,
        "attention": list(range(12)),
        "fold": 2**6,
    }
    before = time.process_time()
    shapes = weight_shapes(load(values), ImageSpec(2**13, 2**13, 4))
    assert time.process_time() - before < 20
    assert len(shapes) < 2**14
    assert shapes["time.mlp.0.weight"] == (2**15, 2**13)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_nobody_honest_meets_the_bounds(name):
    """Ten times all of a preset's numbers is still accepted."""
    values = preset(name).to_dict()
    values["training"]["batch"] *= 10
    values["schedule"]["steps"] *= 10
    values["sampling"]["steps"] *= 10
    if values["network"]["kind"] == "unet":
        values["network"]["width"] *= 10
        values["network"]["heads"] *= 10
        values["network"]["blocks"] *= 10
    assert load(values).to_dict() == values


@pytest.mark.parametrize(
    "text",
    ["9" * 99 + " images", "9" * 93 + " epochs", "9" * 99 + "d", "1e99999 images", "." * 50 + "m"],
)
def test_a_length_beyond_all_numbers_is_one_or_is_refused(text):
    try:
        budget = parse(text, 1000)
    except LoangError:
        return
    assert budget.share(0, 0.0) == 0
    assert str(budget)
