"""How far an average of weights reaches back: against the average that training keeps."""

import numpy as np
import pytest
import torch

from loang.config import EmaSettings
from loang.doctor.average import averaged_to_raw, examine, half, weight_before
from loang.doctor.levels import Levels
from loang.training.ema import ConstantDecay, Ema, PowerDecay

SETTINGS = [
    EmaSettings(kind="power", length=0.06),
    EmaSettings(kind="power", length=0.2),
    EmaSettings(kind="constant", decay=0.9999),
    EmaSettings(kind="constant", decay=0.95),
    EmaSettings(kind="constant", decay=0.5),
    EmaSettings(kind="constant", decay=0.0),
    EmaSettings(kind="constant", decay=1.0),
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize(("step", "steps"), [(1, 20), (30, 300), (150, 200), (190, 200)])
def test_the_share_of_early_weights_is_that_of_the_average_itself(settings, step, steps):
    """An average of numbers that are 1 up to a step, and 0 after it, is their share."""
    decay = (
        PowerDecay(settings.length) if settings.kind == "power" else ConstantDecay(settings.decay)
    )
    ema = Ema([("w", torch.ones(1, dtype=torch.float64))], decay)
    for now in range(1, steps + 1):
        ema.update([("w", torch.full((1,), float(now <= step), dtype=torch.float64))], now)
    assert weight_before(settings, step, steps) == pytest.approx(
        float(ema.tensors["w"]), rel=1e-9, abs=1e-300
    )


@pytest.mark.parametrize("settings", SETTINGS[:3], ids=str)
def test_half_of_the_weight_lies_on_the_last_steps(settings):
    recent = half(settings, 1000)
    assert weight_before(settings, 1000 - recent, 1000) >= 0.5
    assert weight_before(settings, 1000 - recent - 1, 1000) < 0.5


def errors(network, raw):
    return Levels([1, 2], [1.0, -1.0], {"network": network, "raw": raw}, 1.0)


def test_a_constant_average_on_a_short_run_is_noted():
    (found,) = examine(EmaSettings(kind="constant", decay=0.9999), 200, None).findings
    assert found.verdict == "note"
    assert "10,000 steps" in found.what
    assert "ema.kind=power" in found.remedy


def test_an_average_that_is_mostly_of_the_start_is_a_warning(monkeypatch):
    """Without its ramp the same average would still be what it was before the first step."""
    monkeypatch.setattr("loang.doctor.average.ramp_steps", lambda decay: 0)
    (found,) = examine(EmaSettings(kind="constant", decay=0.9999), 5000, None).findings
    assert found.verdict == "warning"
    assert "64 % on the first tenth" in found.what


def test_which_weights_are_better_now_is_measured():
    rng = np.random.default_rng(0)
    raw = rng.uniform(0.5, 1.5, (2, 100)) * [[0.01], [1.0]]
    for factor, verdict, words in (
        (0.9, "good", "better than"),
        (1.0, "good", "as good as"),
        (1.2, "warning", "worse than"),
    ):
        levels = errors(factor * raw * rng.uniform(0.98, 1.02, raw.shape), raw)
        assert averaged_to_raw(levels).ratio == pytest.approx(factor, abs=0.01)
        (found,) = examine(EmaSettings(), 1000, levels).findings
        assert (found.verdict, words in found.what) == (verdict, True)


def test_nothing_is_said_of_an_unknown_run():
    assert examine(EmaSettings(), 0, None).findings == ()
