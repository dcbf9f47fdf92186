"""`loang evaluate`: what it writes, what it says, and what it refuses."""

import json

import numpy as np
import pytest

import loang
from in_steps import IN_STEPS
from loang.evaluation.asked import default_folder
from loang.metrics.features.inception import VARIABLE

CHANGES = (
    *IN_STEPS,
    "network.width=8",
    "network.multipliers=1,1",
    "network.heads=1",
    "training.batch=16",
    "training.reports=2",
    "training.keep=5",
    "schedule.steps=20",
    "sampling.steps=3",
)
pytestmark = pytest.mark.usefixtures("sealed", "unchecked_signatures", "no_last_pictures")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with `data.npz`, 200 pictures of two classes, and `run`, of a few steps on them."""
    folder = tmp_path_factory.mktemp("evaluate")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (200, 8, 8), np.uint8)
    images[::2, :4] //= 4
    np.savez(folder / "data.npz", images=images, labels=np.arange(200) % 2)
    loang.train(
        folder / "data.npz", out=folder / "run", budget="64 images", changes=(*CHANGES, *IN_STEPS)
    )
    return folder


def test_only_its_own_model_is_measured_into_a_run(place):
    run = place / "run"
    assert default_folder(run) == default_folder(run / "model.safetensors") == run / "evaluation"
    other = default_folder(run / "model-512-images.safetensors")
    assert other.parts == ("evaluations", "model-512-images")


def test_a_run_is_measured_against_what_it_learned_from(run, place):
    status, said, errors = run("evaluate", place / "run", "-n", 60, "--features", "pixels")
    assert (status, errors) == (0, "")
    folder = place / "run" / "evaluation"
    for name in ("report.json", "report.md", "report.png"):
        assert str(folder / name) in said
        assert (folder / name).stat().st_size > 0
    report = json.loads((folder / "report.json").read_text("utf-8"))
    assert report["subject"]["images"] == 60
    assert report["subject"]["sampling"]["steps"] == 3
    assert report["data"]["training_images"] + report["data"]["held_out_images"] == 200
    assert "loang evaluate" in report["provenance"]["command"]
    for word in ("KID", "other real images", "coin"):
        assert word in said


def test_json_is_all_that_is_printed_where_it_is_asked_for(run, place):
    status, said, _ = run(
        *("evaluate", place / "run", "-n", 50, "--features", "pixels", "--json", "--history"),
        *("--sampler", "auto", "--steps", 4, "--guidance", 1.5, "--guide", place / "run"),
    )
    report = json.loads(said)
    assert report["subject"]["sampling"]["sampler"] != "auto"
    assert report["subject"]["sampling"]["guidance"] == 1.5
    assert len(report["subject"]["guide"]) == 64
    assert status == 0
    assert report["spaces"][0]["name"] == "pixels-v1"
    steps = [point["step"] for point in report["history"]]
    assert len(steps) >= 2
    assert steps == sorted(steps)
    assert all(point["frechet"]["value"] > 0 for point in report["history"])


def test_images_that_another_tool_made_are_measured_by_the_same_ruler(run, place, tmp_path):
    images = np.random.default_rng(1).integers(0, 255, (80, 16, 16), np.uint8)  # of another size
    np.save(tmp_path / "theirs.npy", images)
    status, _, errors = run(
        "evaluate",
        tmp_path / "theirs.npy",
        place / "data.npz",
        "--features",
        "pixels",
        "--out",
        tmp_path / "report",
    )
    assert (status, errors) == (0, "")
    report = json.loads((tmp_path / "report" / "report.json").read_text("utf-8"))
    assert report["subject"]["kind"] == "images"
    assert report["subject"]["images"] == 80
    assert report["data"]["images"]["height"] == 8


def test_two_comparisons_do_not_lie_in_one_place(run, place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images = np.load(place / "data.npz")["images"]
    for name in ("one", "two", "three"):
        np.save(f"{name}.npy", images[:20])
    for other in ("two", "three"):
        paths = ("one.npy", f"{other}.npy", place / "data.npz")
        assert run("evaluate", "--compare", *paths, "--features", "pixels")[0] == 0
    found = sorted(path.name for path in (tmp_path / "evaluations").iterdir())
    assert found == ["one-and-three", "one-and-two"]


def test_two_are_compared(run, place, tmp_path):
    images = np.full((70, 8, 8), 128, np.uint8) + np.arange(70, dtype=np.uint8)[:, None, None]
    np.save(tmp_path / "flat.npy", images)
    status, said, errors = run(
        "evaluate",
        "--compare",
        place / "run",
        tmp_path / "flat.npy",
        "-n",
        60,
        "--features",
        "pixels",
        "--out",
        tmp_path / "both",
    )
    assert (status, errors) == (0, "")
    assert "run is better than flat" in said
    assert json.loads((tmp_path / "both" / "comparison.json").read_text("utf-8"))["verdict"] in said


def test_two_of_one_name_are_told_apart_by_their_paths(run, place, tmp_path):
    images = np.random.default_rng(1).integers(0, 255, (60, 8, 8), np.uint8)
    paths = [tmp_path / folder / "images.npy" for folder in ("a", "b")]
    for path, pixels in zip(paths, (images, images // 8), strict=True):
        path.parent.mkdir()
        np.save(path, pixels)
    out = tmp_path / "both"
    status, said, _ = run(
        "evaluate", "--compare", *paths, place / "data.npz", "--features", "pixels", "--out", out
    )
    assert status == 0
    assert f"{paths[0]} is better than {paths[1]}" in said


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["nowhere"], "no model and there are no images"),
        (["{place}/data.npz"], "nothing to measure images against"),
        (["{place}/run", "-n", "1"], "Nothing can be measured on 1"),
        (["{place}/run", "--features", "pixel"], "Did you mean pixels"),
        (["{place}/run", "--steps", "999"], "can't be sampled in 999 steps"),
        (["{place}/run", "--sampler", "euler-heun"], "no sampler 'euler-heun'. Did you mean euler"),
        (["{place}/data.npz", "{place}/data.npz", "-n", "999"], "holds 200 images, not 999"),
        (["{place}/data.npz", "{place}/data.npz", "--history"], "--history is of a run"),
        (["--compare", "{place}/run", "nowhere"], "no images at nowhere"),
        (["{place}/run", "{place}/data.npz", "--compare", "a", "b"], "without a third"),
    ],
)
def test_a_mistake_is_told_in_two_sentences(run, place, arguments, wanted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, errors = run("evaluate", *(each.format(place=place) for each in arguments))
    assert status == 2
    assert wanted in errors
    assert "Traceback" not in errors
    assert errors.count("\n") == 1


def test_labels_of_other_classes_are_left_aside_and_said_to_be(run, place, tmp_path):
    whole = np.load(place / "data.npz")
    np.savez(tmp_path / "other.npz", images=whole["images"], labels=np.arange(200) % 3)
    status, said, errors = run(
        "evaluate",
        place / "run",
        tmp_path / "other.npz",
        "-n",
        150,
        "--features",
        "pixels",
        "--out",
        tmp_path / "report",
    )
    assert (status, errors) == (0, "")
    assert (
        f"The classes of run are not those of {tmp_path / 'other.npz'}, and are left aside." in said
    )
    report = json.loads((tmp_path / "report" / "report.json").read_text("utf-8"))
    assert report["spaces"][0]["frechet_by_class"] == []


def test_a_space_that_cannot_be_had_is_told_before_samples_are_drawn(
    run, place, tmp_path, monkeypatch
):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nowhere.pth"))
    out = tmp_path / "report"
    status, said, errors = run("evaluate", place / "run", "--features", "inception", "--out", out)
    assert status == 2
    assert "torch-fidelity" in errors or "nowhere.pth" in errors
    assert "sampling" not in said
    assert not out.exists()


def test_measuring_while_training_changes_no_weight(place, tmp_path):
    measured = ("evaluation.samples=20", "evaluation.steps=2", "evaluation.features=pixels")
    for name, more in (("plain", ()), ("measured", measured)):
        loang.train(
            place / "data.npz",
            out=tmp_path / name,
            budget="160 images",
            changes=(*CHANGES, *more),
        )
    plain, measured_too = (
        sorted((tmp_path / name / "checkpoints").rglob("*.safetensors"))
        for name in ("plain", "measured")
    )
    assert len(plain) == len(measured_too) >= 6
    for first, second in zip(plain, measured_too, strict=True):
        assert first.read_bytes() == second.read_bytes()
    lines = (tmp_path / "measured" / "log.jsonl").read_text("utf-8").splitlines()
    scores = [record for line in lines if "kid" in (record := json.loads(line))]
    assert len(scores) == 2
    assert scores[0]["samples"] == 20
    assert scores[0]["kid"] != scores[1]["kid"]
    assert scores[0]["features"] == "pixels-v1"
