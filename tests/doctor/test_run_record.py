"""What a log tells: told where it is so, and not where it is chance."""

import numpy as np
import pytest

from loang.config import changed
from loang.doctor.record import examine, final_slope
from loang.presets import quick

SETTINGS = quick()


def log(losses, **more):
    count = len(losses)
    return [
        {
            "step": 10 * i,
            "images": 160 * i,
            "share": i / count,
            "loss": float(loss),
            "images_per_second": 100.0,
            "learning_rate": 1e-3 * (1 - i / count),
            **{key: values[i - 1] for key, values in more.items()},
        }
        for i, loss in enumerate(losses, 1)
    ]


def flat(seed, count=100):
    return 0.1 + 0.01 * np.random.default_rng(seed).normal(size=count)


def topics(records, **more):
    part = examine(records, more.pop("settings", SETTINGS), more.pop("images", 0), **more)
    return {finding.topic: finding for finding in part.findings}


def test_a_sound_log_is_good():
    found = [set(topics(log(flat(seed)))) for seed in range(50)]
    assert sum(each != {"log"} for each in found) <= 1


def test_a_loss_that_still_falls_asks_for_more():
    falling = flat(0) + np.linspace(0.1, 0, 100)
    found = topics(log(falling))
    assert "still falling" in found["too short"].what
    assert found["too short"].remedy.startswith("Train for longer than 5m")
    assert "loang train --resume --out RUN --for 10m." in found["too short"].remedy
    slope = final_slope(np.arange(1.0, 101), falling)
    assert slope.change == pytest.approx(-0.03 / 0.115, abs=3 * slope.error)


def test_a_run_that_is_not_over_is_told_so_and_not_that_it_was_too_short():
    records = log(flat(0) + np.linspace(0.1, 0, 100))[:60]
    assert set(topics(records)) == {"unfinished"}
    # The last report may use up a budget of time, after the log's last line.
    assert "unfinished" not in topics(records, finished=True)


def test_mishaps_are_counted():
    records = log(flat(0))
    records[10]["skipped"] = 3
    records[11]["skipped"] = 2
    records[20].update(event="spike", before=0.1, after=0.4)
    records[30].update(event="return", failed=300, learning_rate=5e-4)
    part = examine(records, SETTINGS)
    said = [finding.what for finding in part.findings if finding.topic == "mishaps"]
    assert any("5 updates were skipped" in what for what in said)
    assert any("Once the run went back" in what for what in said)
    assert any("Once the loss jumped" in what for what in said)
    assert (part.facts["skipped"], part.facts["returns"], part.facts["spikes"]) == (5, 1, 1)


def test_a_validation_loss_that_rises_is_learning_by_heart():
    validation = [None] * 100
    for i, value in ((24, 0.2), (49, 0.15), (74, 0.17), (99, 0.2)):
        validation[i] = value
    found = topics(log(flat(0), validation_loss_ema=validation))
    assert "lowest at 8,000 images" in found["by heart"].what
    for i, value in ((24, 0.2), (49, 0.15), (74, 0.14), (99, 0.1395)):
        validation[i] = value
    assert "by heart" not in topics(log(flat(0), validation_loss_ema=validation))


def test_a_run_that_slows_down_is_seen():
    rates = [3.0] + 69 * [200.0] + 30 * [100.0]
    assert (
        "from 200 images a second to 100"
        in topics(log(flat(0), images_per_second=rates))["speed"].what
    )


def test_less_than_an_epoch_is_short():
    assert "32 % of the 50,000" in topics(log(flat(0)), train=50_000)["too short"].what
    assert "too short" not in topics(log(flat(0)), train=5_000)


def test_a_learning_rate_that_never_falls_is_no_reproach():
    settings = changed(SETTINGS, ["optimizer.decay_from=1"])
    found = topics(log(flat(0))[:60], settings=settings)
    assert "learning rate" not in found["unfinished"].what


@pytest.mark.parametrize(
    "line",
    [
        {"images": True, "loss": "x"},
        {"images": 10**400, "loss": 0.1},
        {"images": [1], "share": {"a": 1}, "event": ["spike"]},
        {"images": float("nan"), "loss": float("inf"), "skipped": -1},
        {},
    ],
)
def test_what_is_no_measurement_is_left_aside(line):
    assert set(topics([line, *log(flat(0)), line])) == {"log"}


def test_an_empty_log_says_nothing():
    assert examine([], SETTINGS).findings == ()
