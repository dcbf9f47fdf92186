"""A run is gone on with, and measured, from any folder: it knows where its images lie."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

import loang
from in_steps import IN_STEPS
from loang import api
from loang.config import DataSettings
from loang.errors import LoangError
from loang.evaluation.asked import Asked
from loang.training.places import PLACES, located, meant

TINY = (
    "network.width=8",
    "network.multipliers=[1]",
    "network.attention=[]",
    "network.heads=1",
    *IN_STEPS,
    "network.blocks=1",
    "training.batch=16",
    "training.reports=2",
    "training.validation_share=1",
    "schedule.steps=20",
    "sampling.steps=2",
)


pytestmark = pytest.mark.usefixtures("unchecked_signatures", "no_last_pictures")


def draw(folder, count, seed=0):
    folder.mkdir()
    rng = np.random.default_rng(seed)
    for number in range(count):
        Image.fromarray(rng.integers(0, 255, (8, 8), np.uint8)).save(folder / f"{number:03}.png")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run of `photos`, with labels in `labels.csv`, started in the folder of both."""
    monkeypatch.setenv("LOANG_CACHE", str(tmp_path / "cache"))
    home = tmp_path / "home"
    home.mkdir()
    draw(home / "photos", 60)
    lines = [f"{number:03}.png,{number % 2}\n" for number in range(60)]
    (home / "labels.csv").write_text("file_name,label\n" + "".join(lines))
    monkeypatch.chdir(home)
    train("photos", out="run", budget="64 images", labels_file="labels.csv")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return home / "run"


def train(*data, **asked):
    return loang.train(*data, changes=TINY, device="cpu", **asked)


def go_on(run, *data, **more):
    return loang.train(*data, out=run, resume=True, **more)


def test_it_is_gone_on_with_from_another_folder(run):
    assert go_on(run).spec.class_names == ("0", "1")


def test_another_folder_of_the_name_there_is_not_taken_for_it(run, tmp_path):
    draw(tmp_path / "elsewhere" / "photos", 60, seed=1)
    go_on(run)


def test_where_its_own_place_is_gone_the_name_is_tried_as_typed(run, tmp_path, monkeypatch):
    moved = tmp_path / "moved"
    shutil.move(run.parent, moved)
    monkeypatch.chdir(moved)
    go_on("run")


def test_where_nothing_is_there_a_person_is_asked_to_name_the_images(run, tmp_path):
    shutil.move(run.parent / "photos", tmp_path / "pictures")
    with pytest.raises(LoangError) as caught:
        go_on(run)
    assert f"loang train DATA --resume --out {run}" in caught.value.remedy
    with pytest.raises(LoangError) as caught:
        api.evaluate(run, asked=Asked(count=20, features=["pixels"]))
    assert f"loang evaluate {run} DATA" in caught.value.remedy
    go_on(run, tmp_path / "pictures")
    go_on(run)


def test_a_place_named_anew_is_known_from_then_on(run, tmp_path, monkeypatch):
    shutil.move(run.parent / "photos", tmp_path / "pictures")
    monkeypatch.chdir(tmp_path)
    go_on(run, "pictures")
    monkeypatch.chdir(tmp_path / "elsewhere")
    go_on(run)


def test_it_is_measured_from_another_folder(run):
    report = api.evaluate(run, asked=Asked(count=20, features=["pixels"]))
    assert report.data["training_images"] + report.data["held_out_images"] == 60
    assert not [notice for notice in report.notices if "other images" in notice]


def test_it_is_examined_from_another_folder(run):
    found = api.doctor(run, count=8, device="cpu")
    assert not [each for each in found.findings if "can't be opened" in each.what]


def test_what_travels_with_the_model_names_no_folder(run):
    go_on(run)
    for name in ("model.safetensors", "README.md"):
        assert str(run.parent).encode() not in (run / name).read_bytes()
    content = json.loads((run / "config.json").read_text())
    assert content["settings"]["data"]["source"] == "photos"
    assert content[PLACES]["source"] == str(run.parent / "photos")


def test_what_is_asked_of_the_files_is_not_asked_of_other_images(run, tmp_path):
    """The labels in labels.csv are of none of these."""
    draw(tmp_path / "other", 50, seed=2)
    report = api.evaluate(run, tmp_path / "other", asked=Asked(count=20, features=["pixels"]))
    assert report.data["images"]["class_names"] == ()
    same = api.evaluate(run, run.parent / "photos", asked=Asked(count=20, features=["pixels"]))
    assert tuple(same.data["images"]["class_names"]) == ("0", "1")


def test_a_name_that_is_no_path_stays_one(tmp_path, monkeypatch):
    (tmp_path / "fashion-mnist").mkdir()
    monkeypatch.chdir(tmp_path)
    settings = DataSettings().model_copy(update={"source": "fashion-mnist"})
    assert meant(settings) == {}


@pytest.mark.parametrize(
    "places", [None, [], {"source": 3}, {"source": "photos"}, {"source": "/no\0where"}]
)
def test_a_strangers_places_do_no_harm(places):
    data = DataSettings().model_copy(update={"source": "photos"})
    assert located(data, places) == data
