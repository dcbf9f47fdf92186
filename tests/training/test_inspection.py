"""A checkpoint from anybody, its hashes right: what a run would stumble over is refused."""

import json

import pytest
import torch

from loang.errors import LoangError
from loang.files import sha256
from loang.training import checkpoint
from loang.training.checkpoint import Checkpoint

WEIGHTS = {"a.weight": torch.ones(2, 3), "b": torch.ones(4)}
SLOTS = {
    f"{name}/{slot}": torch.zeros(() if slot == "step" else weight.shape)
    for name, weight in WEIGHTS.items()
    for slot in ("exp_avg", "exp_avg_sq", "step")
}
FACTS = {
    "fingerprint": "0" * 64,
    "best": {"step": 3, "validation_loss": 0.5},
    "finished": False,
    "loss": None,
    "loss_sum": 1.5,
    "loss_count": 2,
    "validation_loss": 1,
    "validation_seconds": 0.25,
    "validations": 1,
}
STATE = {"progress": {"step": 3, "images": 48, "seconds": 1.5}, "micro_batch": 16, "facts": FACTS}


def make(folder, state=STATE, **tensors):
    sound = {"model": WEIGHTS, "ema": WEIGHTS, "optimizer": SLOTS}
    return checkpoint.save(folder, 3, Checkpoint({**sound, **tensors}, state))


def test_what_a_run_writes_is_sound(tmp_path):
    found = checkpoint.load(make(tmp_path))
    assert found.state == STATE
    assert found.tensors.keys() == {"model", "ema", "optimizer"}
    assert torch.equal(found.tensors["optimizer"]["b/exp_avg"], torch.zeros(4))


def test_a_state_of_an_older_version_may_lack_what_came_later(tmp_path):
    state = {"progress": {"step": 3}, "facts": {"fingerprint": "0" * 64, "best": {}}}
    assert checkpoint.load(make(tmp_path, state)).state == state


def slots(**changes):
    return {name: value for name, value in {**SLOTS, **changes}.items() if value is not None}


@pytest.mark.parametrize(
    ("name", "tensors"),
    [
        ("ema", {"a.weight": torch.ones(2, 3), "c": torch.ones(4)}),
        ("ema", {"a.weight": torch.ones(3, 2)}),
        ("optimizer", slots(**{"b/exp_avg": torch.zeros(1)})),
        ("optimizer", slots(**{"b/exp_avg": torch.zeros(4, dtype=torch.int32)})),
        ("optimizer", slots(**{"b/step": torch.zeros(4)})),
        ("optimizer", slots(**{"c/exp_avg": torch.zeros(4)})),
        ("optimizer", slots(**{"b/exp_avg_sq": None})),
        ("optimizer", slots(nothing=torch.zeros(()))),
    ],
)
def test_an_average_or_optimizer_of_other_weights_is_refused(tmp_path, name, tensors):
    with pytest.raises(LoangError, match=f"its {'average' if name == 'ema' else name}"):
        checkpoint.load(make(tmp_path, **{name: tensors}))


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("progress",), None),
        (("progress",), [1]),
        (("progress", "step"), "3"),
        (("progress", "step"), True),
        (("progress", "step"), -1),
        (("progress", "step"), 2**32),
        (("progress", "images"), 2**60),
        (("progress", "images"), 4.5),
        (("progress", "seconds"), -0.5),
        (("progress", "seconds"), "1"),
        (("micro_batch",), "16"),
        (("facts",), []),
        (("facts", "fingerprint"), 3),
        (("facts", "best"), []),
        (("facts", "best"), {"step": 3}),
        (("facts", "best", "step"), 3.5),
        (("facts", "best", "validation_loss"), None),
        (("facts", "finished"), 1),
        (("facts", "loss"), "x"),
        (("facts", "loss_sum"), None),
        (("facts", "loss_count"), 1.0),
        (("facts", "validations"), [1]),
    ],
)
def test_plain_values_of_another_type_or_range_are_refused(tmp_path, keys, value):
    state = json.loads(json.dumps(STATE))
    place = state
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    with pytest.raises(LoangError, match="can't be read"):
        checkpoint.load(make(tmp_path, state))


def manifest(place, change):
    content = json.loads((place / "MANIFEST.json").read_text())
    change(content)
    (place / "MANIFEST.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    "name",
    ["../secret.safetensors", "/secret.safetensors", "x.pt", "X.safetensors", "", "a/b.json"],
)
def test_a_manifest_that_names_what_no_checkpoint_has_is_refused(tmp_path, name):
    place = make(tmp_path / "run")
    (tmp_path / "run" / "secret.safetensors").write_bytes(b"secret")

    def add(content):
        content["files"][name] = {"size": 6, "sha256": sha256(place.parent / "secret.safetensors")}

    manifest(place, add)
    with pytest.raises(LoangError, match="no file of a checkpoint"):
        checkpoint.load(place)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.pop("files"),
        lambda content: content.update(files=[]),
        lambda content: content.update(files={}),
        lambda content: content["files"].pop("state.json"),
        lambda content: content["files"].update({"state.json": 3}),
        lambda content: content["files"]["state.json"].update(size="3"),
        lambda content: content["files"]["state.json"].update(sha256=None),
        lambda content: content["files"].update(
            {f"f{n}.safetensors": content["files"]["state.json"] for n in range(20)}
        ),
        lambda content: content.update(format=[1]),
    ],
)
def test_a_manifest_that_is_none_is_refused(tmp_path, change):
    place = make(tmp_path)
    manifest(place, change)
    with pytest.raises(LoangError, match=r"manifest|format"):
        checkpoint.load(place)


def test_a_file_that_the_manifest_does_not_name_is_not_read(tmp_path):
    place = make(tmp_path)
    (place / "extra.safetensors").write_bytes(b"anything")
    assert checkpoint.load(place).tensors.keys() == {"model", "ema", "optimizer"}
