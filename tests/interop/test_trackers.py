"""What trackers keep of a run, read from their own stores, is what its log says."""

import importlib.util
import json

import pytest
from tracked_runs import (
    SETTINGS,
    begin,
    cut,
    expected,
    finish,
    found,
    identity,
    session,
    write,
)

from loang.tracking import tracking
from loang.tracking.tracker import Subject

ENDS = {"mlflow": "FINISHED", "wandb": 0}


@pytest.fixture(params=["tensorboard", "trackio", "wandb", "mlflow"])
def name(request, tmp_path, monkeypatch):
    # Only whether they are there: what they do when imported is their processes' affair.
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    monkeypatch.setenv("WANDB_MODE", "offline")
    # A machine that does other work too takes its time.
    monkeypatch.setattr(tracking, "CLOSING", dict.fromkeys(tracking.CLOSING, 100.0))
    for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "WANDB_DIR", "WANDB_PROJECT"):
        monkeypatch.delenv(variable, raising=False)
    return request.param


def text(value):
    """MLflow keeps settings as words."""
    return value if isinstance(value, str) else json.dumps(value)


def flat(settings):
    """As a tracker has them."""
    values = {}
    for section, value in settings.to_dict().items():
        inside = value if isinstance(value, dict) else None
        values |= (
            {section: value} if inside is None else {f"{section}.{k}": inside[k] for k in inside}
        )
    return {key: text(value) for key, value in values.items()}


def test_a_store_holds_what_the_log_says_over_all_sessions(name, tmp_path):
    folder = begin(tmp_path / "photos")
    write(folder, *range(1, 11))
    assert session(name, folder, "interrupted", anew=True) == []
    first = identity(name, folder)
    seen = found(name, folder)
    assert seen["values"] == expected(name, folder)
    assert len(expected(name, folder)["loss"]) == 9  # one was no number

    # It goes on as it ended: the same run, a row for each record.
    write(folder, 11, 12)
    finish(folder)
    assert session(name, folder) == []
    assert identity(name, folder) == first
    seen = found(name, folder)
    assert seen["values"] == expected(name, folder)
    settings = flat(SETTINGS)
    assert len(settings) > 50
    assert {key: text(value) for key, value in seen["settings"].items()} == settings
    pictures = {title: len(places) for title, places in seen["pictures"].items()}
    assert pictures == {"previews": 2, "samples": 1, "walk": 1}
    assert seen["models"] == 1
    if name in ENDS:
        assert seen["ends"][-1] == ENDS[name]
    if name == "wandb":
        assert seen["rows"] == list(range(len(seen["rows"])))

    # It went back to step 6, as one that was killed does: nothing is there twice.
    cut(folder, 6)
    write(folder, 7, 8)
    assert session(name, folder, "interrupted") == []
    seen = found(name, folder)
    assert seen["values"] == expected(name, folder)
    assert [step for step, _ in seen["values"]["share"]] == list(range(1, 9))
    assert len(seen["pictures"]["previews"]) == 1


def test_settings_are_the_runs(tmp_path):
    folder = begin(tmp_path / "photos")
    settings = Subject.of(folder).settings
    assert {key: text(value) for key, value in settings.items()} == flat(SETTINGS)
