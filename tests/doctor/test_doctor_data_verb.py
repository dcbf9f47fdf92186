"""`loang doctor DATA`: what it prints, writes, proposes and refuses."""

import json
import shlex
import sys

import numpy as np
import pytest
import tifffile
from PIL import Image

from loang import api, cli
from loang.data.places.sample import read_sample
from loang.doctor import data_sheets
from loang.pictures.contact_sheet import Section, contact_sheet


@pytest.fixture(scope="module")
def clothes():
    """12,000 images of Fashion-MNIST and their labels."""
    images, labels = read_sample()
    return images, labels.astype(np.int64)


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Runs a command in `tmp_path`; returns exit status, standard output and errors."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["loang", *map(str, arguments)])
        try:
            cli.main()
            status = 0
        except SystemExit as leave:
            status = leave.code or 0
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


@pytest.fixture
def awkward(tmp_path, clothes):
    """A folder of clothes in two classes, and of all that may be wrong with some."""
    images, labels = clothes
    folder = tmp_path / "my clothes"
    for kind, name in ((0, "shirts"), (1, "trousers")):
        (folder / name).mkdir(parents=True)
        for i in np.flatnonzero(labels == kind)[:60]:
            Image.fromarray(images[i]).save(folder / name / f"{i:05}.png")
    shirts = folder / "shirts"
    (shirts / "broken.png").write_bytes(b"no picture")
    Image.fromarray(images[400]).resize((6, 6)).save(shirts / "tiny.png")
    Image.fromarray(images[400]).resize((40, 56)).save(shirts / "large.png")
    Image.new("RGBA", (28, 28), (200, 0, 0, 100)).save(shirts / "transparent.png")
    Image.fromarray(255 - images[int(np.flatnonzero(labels == 1)[70])]).save(
        shirts / "negative.png"
    )
    first = int(np.flatnonzero(labels == 1)[0])
    (folder / "trousers" / "copy.jpg").write_bytes(b"")
    Image.fromarray(images[first]).save(folder / "trousers" / "copy.jpg", quality=80)
    return folder


def test_images_that_are_all_tiny_are_not_told_to_be_made_smaller(tmp_path):
    pictures = np.random.default_rng(0).integers(0, 256, (40, 3, 3), np.uint8)
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
    (told,) = [found for found in api.doctor(tmp_path).findings if found.topic == "small"]
    assert "All images are of 3x3" in told.what
    assert "--size" not in told.remedy


def test_of_kinds_only_those_that_became_another_are_told(tmp_path):
    """Five channels become nothing: that image was left out, and colour stayed colour."""
    rng = np.random.default_rng(0)
    for number in range(30):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(tmp_path / f"{number}.png")
    five = rng.integers(0, 256, (8, 8, 5), np.uint8)
    tifffile.imwrite(tmp_path / "five.tif", five, photometric="minisblack", planarconfig="contig")
    found = api.doctor(tmp_path)
    assert found.facts["form"]["left_out"]
    assert "modes" not in {finding.topic for finding in found.findings}
    Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(tmp_path / "grey.png")
    (told,) = [finding for finding in api.doctor(tmp_path).findings if finding.topic == "modes"]
    assert "(1 grey, 30 in colour): all become colour" in told.what


def test_all_that_is_wrong_with_a_folder_is_told_with_its_places(run, awkward, tmp_path):
    status, said, _ = run("doctor", awkward)
    assert status == 0
    folder = tmp_path / "doctor-my clothes"
    read = json.loads((folder / "doctor.json").read_text(encoding="utf-8"))
    by_topic = {finding["topic"]: finding["what"] for finding in read["findings"]}
    for topic, place in (
        ("unreadable", "shirts/broken.png"),
        ("small", "shirts/tiny.png"),
        ("constant", "shirts/transparent.png"),
        ("inverted", "shirts/negative.png"),
    ):
        assert place in by_topic[topic]
    pairs = read["facts"]["copies"]["pairs"]
    assert any("trousers/copy.jpg" in pair for pair in pairs)
    assert {"sizes", "modes", "transparent", "number"} <= set(by_topic)
    assert read["facts"]["form"]["left_out"][0].startswith("shirts/broken.png: ")
    assert read["facts"]["classes"]["trousers"]["train"] > 40
    for words in ("held out", "laid on white", "loang train", "height x width", "trousers"):
        assert words in said
    for name in ("contact-sheet.png", "suspicious.png"):
        with Image.open(folder / name) as sheet:
            assert min(sheet.size) > 200


def test_what_is_mended_is_no_longer_on_the_sheet(run, clothes, tmp_path):
    images = clothes[0][:100].copy()
    images[5] = 0
    np.save(tmp_path / "data.npy", images)
    run("doctor", "data.npy", "--out", "there")
    assert (tmp_path / "there" / "suspicious.png").exists()
    np.save(tmp_path / "data.npy", clothes[0][200:300])
    run("doctor", "data.npy", "--out", "there")
    assert not (tmp_path / "there" / "suspicious.png").exists()
    assert (tmp_path / "there" / "contact-sheet.png").exists()


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--size", "20x24", "--channels", "grey", "--no-labels"),
        ("--size", "96", "--fit", "pad"),
        ("--size", "72", "--set", "network.multipliers=1,2,2"),
        ("--set", "data.range=data", "--set", "training.budget=3 epochs"),
    ],
)
def test_the_proposed_command_runs(run, awkward, options):
    status, said, _ = run("doctor", awkward, *options, "--json")
    assert status == 0
    command = json.loads(said)["facts"]["start"]["command"]
    words = shlex.split(command)
    assert words[:3] == ["loang", "train", str(awkward)]
    status, planned, errors = run(*words[1:], "--dry-run")
    assert (status, "Error" in errors) == (0, False)
    if "96" in options:
        assert "network.multipliers = [1, 2, 2]" in planned
        assert 'data.fit = "pad"' in planned
    if "training.budget=3 epochs" in options:
        assert "--for" not in words
        assert "for 3 epochs" in planned
    if "--no-labels" in options:
        assert "data.labels = false" in planned


def test_more_damage_than_training_takes_is_wrong_and_the_command_goes_on(run, awkward):
    for i in range(30):
        (awkward / "shirts" / f"bad {i}.png").write_bytes(b"no picture")
    status, said, _ = run("doctor", awkward, "--json")
    assert status == 0
    read = json.loads(said)
    assert read["verdict"] == "wrong"
    assert len(read["facts"]["form"]["left_out"]) == 31
    words = shlex.split(read["facts"]["start"]["command"])
    assert run(*words[1:], "--dry-run")[0] == 0
    assert run("train", awkward, "--dry-run")[0] == 2


def test_numbers_alone_write_nothing(run, clothes, tmp_path):
    np.save(tmp_path / "data.npy", clothes[0][:60])
    status, said, _ = run("doctor", "data.npy", "--json")
    assert status == 0
    assert json.loads(said)["kind"] == "data"
    assert {path.name for path in tmp_path.iterdir()} <= {"data.npy", "cache"}


def test_a_place_that_cannot_be_written_costs_the_pictures_alone(run, clothes, tmp_path):
    np.save(tmp_path / "data.npy", clothes[0][:60])
    (tmp_path / "doctor-data").write_text("in the way")
    status, said, _ = run("doctor", "data.npy")
    assert status == 0
    assert "loang train" in said
    assert "contact-sheet.png" not in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("empty",), "no images"),
        (("nowhere",), "nowhere"),
        (("data.npy", "--out", "data.npy"), "can't be a folder"),
        (("data.npy", "--size", "x"), "no size"),
        (("data.npy", "--set", "data.sise=3"), "data.size"),
        (("data.npy", "--channels", "4", "--set", "data.range=no"), "data.range"),
    ],
)
def test_mistakes_are_told_in_one_line(run, arguments, words, tmp_path):
    (tmp_path / "empty").mkdir()
    np.save(tmp_path / "data.npy", np.zeros((5, 8, 8), np.uint8))
    status, _, errors = run("doctor", *arguments)
    assert status == 2
    assert words in errors
    assert errors.count("\n") == 1


def test_runs_take_no_sizes(run, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"")
    status, _, errors = run("doctor", "model.safetensors", "--size", "8")
    assert status == 2
    assert "size" in errors


def test_all_kinds_of_images_can_be_examined(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name, images in (
        ("one", rng.integers(0, 255, (1, 8, 8), np.uint8)),
        ("equal", np.broadcast_to(np.arange(64, dtype=np.uint8).reshape(8, 8), (30, 8, 8))),
        ("two channels", rng.integers(0, 60_000, (30, 9, 40, 2)).astype(np.uint16)),
        ("real", rng.normal(0, 1e6, (30, 3, 200)).astype(np.float32)),
        ("rgba", rng.integers(0, 255, (30, 8, 8, 4), np.uint8)),
    ):
        np.save(tmp_path / f"{name}.npy", images)
        diagnosis = api.doctor(f"{name}.npy")
        written = data_sheets.write(diagnosis, tmp_path / name)
        assert data_sheets.CONTACT in {path.name for path in written}
        assert diagnosis.facts["start"]["command"].startswith("loang train")


# The sheet.


def test_a_sheet_shows_every_image_and_a_white_one_has_an_edge():
    black, white = np.zeros((8, 8, 1), np.uint8), np.full((8, 8, 1), 255, np.uint8)
    sheet = np.asarray(contact_sheet([Section("Three", [black, black, white])]))
    assert ((sheet == 0).all(axis=2)).sum() == 2 * 96 * 96
    assert ((sheet == 0xDD).all(axis=2)).sum() > 3 * 4 * 90


def test_long_captions_keep_their_end_and_large_images_are_reduced():
    images = [np.zeros((2000, 1000, 3), np.uint8)] * 9
    sheet = contact_sheet([Section("x" * 500, images, ["folder/" * 40 + "a.png"] * 9)])
    assert sheet.width < 1000
    assert sheet.height < 500
