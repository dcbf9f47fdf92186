"""Samples that are written as they are drawn: the memory of a batch, and gone on with."""

import json
import os
import tracemalloc

import numpy as np
import pytest

from loang import build, drawing, files, presets
from loang.config import changed
from loang.data import ImageSpec
from loang.errors import LoangError
from loang.model import Model
from loang.streaming import Array, Singles

TINY = (
    *("network.width=8", "network.multipliers=1,1", "network.heads=1", "network.attention=[]"),
    *("network.blocks=1", "sampling.steps=2", "training.precision=float32"),
)
SPEC = ImageSpec(8, 8, 1, class_names=("dark", "bright"))


@pytest.fixture(scope="module")
def model():
    settings = changed(presets.quick(), TINY)
    made = Model(build.build_denoiser(settings, SPEC), SPEC, settings, {})
    for number, weight in enumerate(made.denoiser.parameters()):  # a fresh one answers 0
        weight.data += 0.05 * np.cos(number)
    return made


class Stopped(Exception):
    """Ctrl-C, or whatever ends a process."""


@pytest.fixture
def stopping(monkeypatch):
    """After so many batches drawing stops; returns the numbers of samples that were drawn."""
    own, drawn = Model.sample, []

    def after(batches):
        drawn.clear()

        def sample(self, count, *, first=0, **named):
            if batches is not None and len(drawn) >= batches:
                raise Stopped
            drawn.append(range(first, first + count))
            return own(self, count, first=first, **named)

        monkeypatch.setattr(Model, "sample", sample)
        return drawn

    return after


def contents(out):
    """What is there: the array, or the bytes of each image."""
    if out.suffix == ".npy":
        return np.load(out).tobytes()
    return {path.name: path.read_bytes() for path in out.iterdir()}


@pytest.fixture(params=["many.npy", "many"])
def out(request, tmp_path):
    return tmp_path / "there" / request.param


def test_what_was_interrupted_is_gone_on_with(model, out, stopping, tmp_path):
    stopping(None)
    whole = tmp_path / out.name
    drawing.draw(model, 10, whole, batch=4)
    stopping(2)
    with pytest.raises(Stopped):
        drawing.draw(model, 10, out, batch=4)
    assert out.suffix != ".npy" or not out.exists()  # an array is whole, or not there
    kept = []
    drawn = stopping(None)
    drawing.draw(model, 10, out, batch=4, on_kept=kept.append)
    assert kept == [8]
    assert drawn == [range(8, 10)]
    assert contents(out) == contents(whole)
    assert {path.name for path in out.parent.iterdir()} == {out.name}


@pytest.mark.parametrize("seed", [0, 1])
def test_a_second_writer_is_refused_and_the_first_goes_on(model, out, seed):
    refused = []

    def again(done, steps):
        with pytest.raises(LoangError, match=f"is being written by process {os.getpid()} on"):
            drawing.draw(model, 10, out, batch=4, seed=seed)
        refused.append(done)

    drawing.draw(model, 10, out, batch=4, on_step=again)
    assert refused
    kept = contents(out)
    drawing.draw(model, 10, out, batch=4)
    assert contents(out) == kept
    assert {path.name for path in out.parent.iterdir()} == {out.name}


def test_a_command_that_was_finished_draws_anew(model, out, stopping):
    drawing.draw(model, 4, out, batch=4)
    drawn, kept = stopping(None), []
    drawing.draw(model, 4, out, batch=4, on_kept=kept.append)
    assert (drawn, kept) == ([range(4)], [])


@pytest.mark.parametrize("change", ["seed", "label", "steps", "count"])
def test_other_samples_are_not_gone_on_with(model, out, stopping, change):
    """Of single images, more of the same are the same."""
    stopping(1)
    with pytest.raises(Stopped):
        drawing.draw(model, 8, out, batch=4)
    drawn, kept = stopping(None), []
    count, named = 8, {"seed": 0, "label": None, "settings": model.settings.sampling}
    if change == "seed":
        named["seed"] = 1
    elif change == "label":
        named["label"] = "dark"
    elif change == "steps":
        named["settings"] = model.settings.sampling.model_copy(update={"steps": 3})
    else:
        count = 12
    drawing.draw(model, count, out, batch=4, on_kept=kept.append, **named)
    same = change == "count" and out.suffix != ".npy"
    assert kept == ([4] if same else [])
    assert drawn[0] == (range(4, 8) if same else range(4))
    found = np.load(out) if out.suffix == ".npy" else list(out.glob("*.png"))
    assert len(found) == count


def test_unfinished_arrays_of_other_commands_are_told_and_stay(model, tmp_path, stopping):
    out, left = tmp_path / "many.npy", []
    for count in (12, 13):
        stopping(2)
        with pytest.raises(Stopped):
            drawing.draw(model, count, out, batch=4, on_unfinished=left.append)
    stopping(None)
    drawing.draw(model, 4, out, batch=4, on_unfinished=left.append)
    (parts,) = left
    assert parts == sorted(tmp_path.glob(".many.npy.*.part"))
    assert len(parts) == 2
    kept = []
    drawing.draw(model, 12, out, batch=4, on_kept=kept.append, on_unfinished=left.append)
    assert kept == [8]
    assert left[1:] == [[part for part in parts if ".13." in part.name]]


def test_an_image_that_is_missing_is_drawn_with_all_after_it(model, tmp_path, stopping):
    out = tmp_path / "many"
    stopping(2)
    with pytest.raises(Stopped):
        drawing.draw(model, 12, out, batch=4)
    (out / "00005.png").unlink()
    drawn = stopping(None)
    drawing.draw(model, 12, out, batch=4)
    assert drawn[0].start == 5
    assert len(list(out.iterdir())) == 12


@pytest.mark.parametrize("harm", ["note", "part", "negative", "more"])
def test_what_is_damaged_is_drawn_anew(model, tmp_path, stopping, harm):
    stopping(1)
    out = tmp_path / "many.npy"
    with pytest.raises(Stopped):
        drawing.draw(model, 8, out, batch=4)
    (note,) = tmp_path.glob(".*.json")
    (part,) = tmp_path.glob(".*.part")
    told = json.loads(note.read_text())
    if harm == "note":
        note.write_text("{")
    elif harm == "part":
        part.write_bytes(part.read_bytes()[:-1])
    else:
        note.write_text(json.dumps(told | {"done": -3 if harm == "negative" else 10**9}))
    drawn = stopping(None)
    drawing.draw(model, 8, out, batch=4)
    assert drawn[0].start == 0
    assert np.array_equal(np.load(out), model.sample(8, batch=4))
    assert [path.name for path in tmp_path.iterdir()] == ["many.npy"]


@pytest.mark.parametrize("name", ["many.npy", "many"])
def test_any_number_takes_the_memory_of_a_batch(model, tmp_path, monkeypatch, name):
    large = ImageSpec(64, 64, 3)
    count = 2000 if name == "many.npy" else 300
    monkeypatch.setattr(model, "spec", large)

    def sample(self, count, **named):
        return np.zeros((count, 64, 64, 3), np.uint8)

    monkeypatch.setattr(Model, "sample", sample)
    tracemalloc.start()
    try:
        drawing.draw(model, count, tmp_path / name, batch=8)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 64 * 64 * 3 * count / 3
    assert most < 6e6


def test_a_disk_that_is_too_small_is_told_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "free_space", lambda place: 1000)
    stream = Array(tmp_path / "many.npy", 100, SPEC, "name")
    with pytest.raises(LoangError, match="is full"):
        stream.put(0, np.zeros((4, 8, 8, 1), np.uint8))
    assert not list(tmp_path.glob("*.npy"))


def test_steps_are_told_over_all_batches(model, tmp_path):
    told = []
    drawing.draw(model, 10, tmp_path / "many.npy", batch=4, on_step=lambda *at: told.append(at))
    assert told[-1] == (6, 6)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert {total for _, total in told} == {6}


def test_samples_that_others_began_to_replace_are_not_taken_for_whole(
    model, tmp_path, stopping, monkeypatch
):
    """One seed stopped, another stopped within its first batch, and the first again."""
    out = tmp_path / "many"
    stopping(2)
    with pytest.raises(Stopped):
        drawing.draw(model, 12, out, batch=4)
    stopping(None)
    own = Singles._write

    def cut(self, first, pixels):
        own(self, first, pixels[:2])
        raise Stopped

    monkeypatch.setattr(Singles, "_write", cut)
    with pytest.raises(Stopped):
        drawing.draw(model, 12, out, batch=4, seed=1)
    monkeypatch.setattr(Singles, "_write", own)
    drawn = stopping(None)
    drawing.draw(model, 12, out, batch=4)
    assert drawn[0].start == 0
