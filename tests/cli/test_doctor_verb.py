"""`loang doctor`: what it prints, what it writes, and what it refuses."""

import io
import json
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

import loang
from loang.cli import doctor as verb
from loang.doctor import output
from loang.doctor.finding import Answer, Diagnosis, Finding, Table
from loang.errors import LoangError

CHANGES = (
    *("network.width=8", "network.multipliers=1,1", "network.heads=1", "network.blocks=1"),
    *("training.batch=16", "training.reports=1", "schedule.steps=20", "sampling.steps=3"),
)
pytestmark = pytest.mark.usefixtures("sealed")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with `data.npz` and `runs/poor`, of a few steps on it."""
    folder = tmp_path_factory.mktemp("doctor-verb")
    images = np.random.default_rng(0).integers(0, 255, (200, 8, 8), np.uint8)
    np.savez(folder / "data.npz", images=images)
    out = folder / "runs" / "poor"
    loang.train(folder / "data.npz", out=out, budget="64 images", changes=CHANGES)
    return folder


@pytest.fixture
def place(trained, tmp_path):
    """A copy of it to write to."""
    return shutil.copytree(trained, tmp_path / "place")


def test_the_newest_run_is_examined_in_words_and_a_picture(run, place, monkeypatch):
    monkeypatch.chdir(place)
    status, said, _ = run("doctor", "-n", 32)
    assert status == 0
    assert "wrong" in said
    assert "learned nothing" in said
    assert "-> Train longer" in said
    assert "Error by noise level" in said
    assert "doctor.png" in said
    folder = place / "runs" / "poor"
    read = json.loads((folder / "doctor.json").read_text(encoding="utf-8"))
    assert read["verdict"] == "wrong"
    with Image.open(folder / "doctor.png") as page:
        assert min(page.size) > 500


def test_numbers_alone_are_json_and_go_where_they_are_asked_to(run, place, tmp_path):
    folder = place / "runs" / "poor"
    before = {path.name for path in folder.iterdir()}
    status, said, _ = run("doctor", folder, "-n", 32, "--json", "--out", tmp_path / "there")
    assert status == 0
    assert json.loads(said)["subject"] == "poor"
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == [
        "doctor.json",
        "doctor.png",
    ]
    assert {path.name for path in folder.iterdir()} == before


def test_a_run_that_cannot_be_written_to_is_examined_all_the_same(run, place, monkeypatch):
    def refuse(*_):
        raise LoangError("The folder can't be written.", "Name another.")

    monkeypatch.setattr(output, "write", refuse)
    status, said, errors = run("doctor", place / "runs" / "poor", "-n", 32)
    assert (status, errors) == (0, "")
    assert "learned nothing" in said
    assert "doctor.png" not in said


def test_beside_a_model_file_nothing_is_written(run, place, tmp_path):
    shutil.copy(place / "runs" / "poor" / "model.safetensors", tmp_path / "m.safetensors")
    assert run("doctor", tmp_path / "m.safetensors", "-n", 32)[0] == 0
    assert {path.name for path in tmp_path.iterdir()} <= {"m.safetensors", "place", "cache"}


DIAGNOSIS = Diagnosis(
    "mine",
    "run",
    (
        Finding("wrong", "a", "All is [bold]wrong[/bold].", "Start anew."),
        Finding("warning", "b", "Much is doubtful."),
        Finding("note", "c", "Some is as it is."),
        Finding("good", "d", "The rest is good."),
    ),
    (Answer("Why?", "Because."),),
    {},
    (Table("Numbers", ["x", "y"], [["1", "2"]], "in units"),),
)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_verdicts_read_without_colour_and_without_signs(encoding, monkeypatch):
    written = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", written)
    verb.show(DIAGNOSIS, [])
    written.flush()
    said = written.buffer.getvalue().decode(encoding)
    for word in ("wrong", "warning", "note", "good", "Why?", "Because.", "Numbers", "in units"):
        assert word in said
    assert "[bold]wrong[/bold]" in said
    assert "\x1b" not in said
    assert "?" not in said.replace("Why?", "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere",), "nowhere"),
        (("runs/poor", "-n", "1"), "1 images"),
        (("runs/poor", "--seed", "-1"), "negative"),
        (("runs/poor", "--device", "abacus"), "--device"),
        (("data.npz", "--data", "data.npz"), "no run and no model"),
        (("runs/poor", "-n", "16", "--out", "data.npz"), "data.npz can't be a folder"),
        (("data.safetensors",), "data.safetensors"),
    ],
)
def test_a_mistake_is_two_sentences_and_status_2(run, arguments, words, place, monkeypatch):
    monkeypatch.chdir(place)
    status, _, errors = run("doctor", *arguments)
    assert status == 2
    assert errors.startswith("loang: ")
    assert words in errors
    assert errors.count("\n") == 1


def test_without_any_run_a_person_is_told_to_train(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, errors = run("doctor")
    assert status == 2
    assert "loang train" in errors
