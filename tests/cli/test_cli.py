"""The command line: what it prints, what it writes, what it says when something is wrong."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import loang
from checking import unchecked
from in_steps import IN_STEPS
from loang import api
from loang.errors import LoangError

TINY = [
    part
    for change in (
        "network.width=8",
        "network.multipliers=[1]",
        "network.attention=[]",
        "network.heads=1",
        *IN_STEPS,
        "training.batch=16",
        "training.reports=2",
        "schedule.steps=20",
        "sampling.steps=5",
    )
    for part in ("--set", change)
]


pytestmark = pytest.mark.usefixtures("unchecked_signatures")
TINY_WIDER = ["--set", "network.width=16"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of a few steps on 40 pictures of two classes."""
    folder = tmp_path_factory.mktemp("cli")
    data = folder / "data.npz"
    images = np.random.default_rng(0).integers(0, 255, (40, 8, 8), np.uint8)
    np.savez(data, images=images, labels=np.arange(40) % 2)
    changes = TINY[1::2]
    loang.train(data, out=folder / "run", budget="64 images", changes=changes)
    return folder / "run"


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data.npz"
    images = np.random.default_rng(0).integers(0, 255, (40, 8, 8), np.uint8)
    np.savez(path, images=images, labels=np.arange(40) % 2)
    return path


def opened(path):
    """Mode, size and frames of a picture, and the grey values of its last frame."""
    with Image.open(path) as picture:
        frames = getattr(picture, "n_frames", 1)
        picture.seek(frames - 1)
        return frames, np.asarray(picture.convert("L"))


def test_training_says_where_everything_is_and_what_to_try_next(run, data, tmp_path):
    out = tmp_path / "run"
    status, said, errors = run("train", data, "--images", 64, "--out", out, *TINY)
    assert (status, errors) == (0, "")
    for name in ("samples.png", "walk.gif", "training.png", "README.md", "model.safetensors"):
        assert str(out / name) in said
        assert (out / name).stat().st_size > 0
    assert f"loang sample {out}" in said
    assert f"loang train --resume --out {out} --images 128" in said
    assert f"loang show denoising {out}" in said
    assert run(*f"sample {out} --guidance 2 --out {tmp_path / 'more.png'}".split())[0] == 0
    assert "100%" in said
    assert "validation" in said
    assert opened(out / "walk.gif")[0] > 2
    assert len(list((out / "samples").glob("*.png"))) == 2


def test_a_folder_that_holds_a_run_is_not_touched_unless_told(run, data, tmp_path):
    out = tmp_path / "run"
    run("train", data, "--images", 64, "--out", out, *TINY)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    status, _, errors = run("train", data, "--images", 64, "--out", out, *TINY)
    assert status == 2
    assert "--resume" in errors
    assert "--overwrite" in errors
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    (out / "mine.txt").write_text("notes")
    status, said, _ = run("train", data, "--images", 32, "--out", out, "--overwrite", *TINY)
    assert status == 0
    assert "32 images" in said
    assert (out / "mine.txt").exists()
    status, said, _ = run("train", "--out", out, "--resume")
    assert status == 0
    assert "Going on from step 2: 32 images" in said


def test_a_dry_run_shows_everything_and_writes_nothing(run, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, said, _ = run("train", data, "--dry-run", "--for", "1m", *TINY)
    assert status == 0
    assert "training.batch = 16" in said
    assert "parameters" in said
    assert "GB of memory" in said
    assert "1 min" in said
    assert [path.name for path in tmp_path.iterdir()] == ["data.npz"]


def test_a_dry_run_of_a_run_that_is_gone_on_with_shows_that_run(run, trained, data):
    status, said, _ = run("train", "--resume", "--out", trained, "--dry-run")
    assert status == 0
    assert "network.width = 8" in said
    assert "64 images" in said
    before = sorted(path.name for path in trained.iterdir())
    status, _, told = run("train", "--resume", "--out", trained, "--dry-run", *TINY_WIDER)
    assert status == 2
    assert "keeps its settings: network.width is 8, not 16" in told
    assert sorted(path.name for path in trained.iterdir()) == before


def test_a_dry_run_of_many_processes_counts_the_share_of_each(run, data, monkeypatch):
    asked = ("train", data, "--dry-run", "--images", "64", *TINY)
    for name, value in {"WORLD_SIZE": 4, "RANK": 0, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 4}.items():
        monkeypatch.setenv(name, str(value))
    status, said, _ = run(*asked)
    assert status == 0
    assert "GB of memory each" in said
    assert "by one of 4 processes" in said
    status, _, told = run(*asked, "--set", "training.batch=3")
    assert status == 2
    assert "A batch of 3 can't be shared by 4 processes" in told


@pytest.mark.parametrize("asked", [("--help",), ("train", "-h"), ("--version",)])
def test_of_many_processes_one_gives_help(run, monkeypatch, asked):
    for name, value in {"WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}.items():
        monkeypatch.setenv(name, str(value))
    for rank in (0, 1):
        monkeypatch.setenv("RANK", str(rank))
        status, said, told = run(*asked)
        assert (status, told) == (0, "")
        assert bool(said) == (rank == 0)


MISTAKES = {
    "no data": (("train", "nowhere"), "nowhere"),
    "empty folder": (("train", "{empty}"), "empty"),
    "not an image": (("train", "{text}"), "photo.png"),
    "a file of another kind": (("train", "{text}/photo.png"), "photo.png"),
    "preset": (("train", "--preset", "quik"), "quick"),
    "key": (("train", "--set", "training.btach=3"), "training.batch"),
    "type": (("train", "--set", "training.batch=many"), "training.batch"),
    "value": (("train", "--set", "training.batch"), "section.key=value"),
    "fit": (("train", "--fit", "squeeze"), "crop"),
    "channels": (("train", "--channels", "sepia"), "grey, rgb, rgba"),
    "nonsense size": (("train", "--size", "big"), "--size"),
    "zero size": (("train", "--size", "0"), "--size"),
    "other channels": (("train", "--channels", "7"), "channels"),
    "length": (("train", "--for", "soon"), "--for 5m"),
    "no length": (("train", "--images", "0"), "--images"),
    "two lengths": (("train", "--for", "5m", "--epochs", "3"), "--epochs"),
    "device": (("train", "--device", "abacus"), "--device"),
    "resume nothing": (("train", "--resume", "--out", "nothing"), "nothing"),
    "resume and overwrite": (("train", "--resume", "--overwrite"), "both"),
    "no images of its own": (("train", "--preset", "ddpm-cifar10"), "folder of images"),
    "place": (("train", "--out", "/proc/nowhere"), "can't be written"),
    "no model": (("sample", "nowhere"), "nowhere"),
    "no models": (("doctor",), "loang train"),
    "not a model": (("sample", "{text}/photo.png"), "not a model"),
    "steps": (("sample", "{model}", "--steps", "21"), "1 to 20"),
    "sampler": (("sample", "{model}", "--sampler", "magic"), "ddim"),
    "list": (("train", "--set", "optimizer.betas=0.9,many"), "optimizer.betas"),
    "schedule": (("show", "schedule", "--steps", "80000"), "fewer schedule.steps"),
    "place of a figure": (
        ("show", "schedule", "--out", "text/photo.png/a.png"),
        "can't be written",
    ),
    "no numbers": (("train", "--device", "meta"), "--device"),
    "label": (("sample", "{model}", "--label", "hats"), "hats"),
    "count": (("sample", "{model}", "-n", "0"), "1 or more"),
    "suffix": (("sample", "{model}", "--out", "a.jpg"), ".png"),
    "negative seed": (("sample", "{model}", "--seed", "-1"), "seed"),
    "chart suffix": (("show", "schedule", "--out", "a.bmp"), ".bmp"),
    "chart steps": (("show", "schedule", "--steps", "1"), "2 or more"),
    "image number": (("show", "noising", "--index", "99999999"), "99999999"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_two_sentences_and_status_2(run, name, trained, tmp_path, monkeypatch):
    if name == "place" and not os.path.isdir("/proc"):  # noqa: PTH112
        pytest.skip("needs a folder that nobody can write to")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOANG_OFFLINE", "1")
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "photo.png").write_text("no picture")
    places = {"empty": tmp_path / "empty", "text": tmp_path / "text", "model": trained}
    arguments, expected = MISTAKES[name]
    status, _, errors = run(*(argument.format(**places) for argument in arguments))
    assert status == 2, errors
    assert errors.startswith("loang: ")
    assert expected in errors
    assert errors.count("\n") == 1
    assert "Traceback" not in errors
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "text"]


def test_somebody_elses_files_are_never_deleted(run, data, tmp_path):
    """A folder that holds no run, but files of the names that a run would write."""
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "shirt.png").write_text("mine")
    (tmp_path / "README.md").write_text("mine")
    for more in ((), ("--overwrite",)):
        status, _, errors = run("train", data, "--images", 32, "--out", tmp_path, *more, *TINY)
        assert status == 2
        assert "README.md, samples" in errors
    assert (tmp_path / "samples" / "shirt.png").read_text() == "mine"
    assert (tmp_path / "README.md").read_text() == "mine"


def test_a_class_that_is_named_by_a_number_is_found_by_its_name(trained):
    model = loang.load(trained)
    model.spec = replace(model.spec, class_names=("1", "2"))
    assert model.class_index("1") == 0
    assert model.class_index("2") == 1


def test_debug_shows_where_an_error_comes_from(run):
    with pytest.raises(loang.LoangError):
        run("train", "--preset", "quik", "--debug")


def test_unknown_options_and_verbs_are_status_2(run):
    assert run("train", "--preste", "quick")[0] == 2
    assert run("trian")[0] == 2


def test_samples_as_a_sheet_as_an_array_and_one_by_one(run, trained, tmp_path):
    sheet, array, folder = tmp_path / "s.png", tmp_path / "s.npy", tmp_path / "single"
    for out in (sheet, array, folder):
        status, _, errors = run("sample", trained, "-n", 5, "--out", out, "--seed", 3)
        assert (status, errors) == (0, "")
    pixels = np.load(array)
    assert pixels.shape == (5, 8, 8, 1)
    assert pixels.dtype == np.uint8
    for index in range(5):
        single = opened(folder / f"{index:05d}.png")[1]
        np.testing.assert_array_equal(single, pixels[index, :, :, 0])
    assert opened(sheet)[1].shape[1] >= 16


def test_what_interrupted_commands_have_left_beside_an_array_is_told(run, trained, tmp_path):
    part = tmp_path / ".many.npy.0123456789abcdef.1280.part"
    part.write_bytes(bytes(200_000))
    status, said, errors = run("sample", trained, "-n", 2, "--out", tmp_path / "many.npy")
    assert (status, errors) == (0, "")
    assert f"0.2 MB of unfinished samples beside these: {part}. Repeat such a command" in said
    assert part.exists()


def test_the_walk_is_written_beside_the_samples_and_ends_with_them(run, trained, tmp_path):
    run("sample", trained, "-n", 4, "--out", tmp_path / "s.png", "--gif", "--every", 2)
    frames, last = opened(tmp_path / "s.gif")
    assert frames == 4  # levels 0, 2, 4 of 0..5, and the last
    np.testing.assert_array_equal(last, opened(tmp_path / "s.png")[1])


def test_the_newest_run_is_sampled_when_none_is_named(run, trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "mine").symlink_to(trained)
    status, said, _ = run("sample", "-n", 1)
    assert status == 0
    assert "runs/mine" in said
    assert (tmp_path / "samples.png").exists()


def test_a_label_draws_that_class_and_no_other(trained):
    model = loang.load(trained)
    assert torch.equal(model.labels(range(4)), torch.tensor([0, 1, 0, 1]))
    assert torch.equal(model.labels(range(3), 1), torch.tensor([1, 1, 1]))
    alone = model.sample(1, first=2, label=1, precision="float32").astype(int)
    together = model.sample(3, label=1, precision="float32")[2:].astype(int)
    assert abs(together - alone).max() <= 1  # a rounding apart


def test_the_figures_of_the_tutorial(run, trained, tmp_path, data):
    for arguments in (
        ("show", "schedule", "--steps", "100", "--out", tmp_path / "a.png"),
        ("show", "noising", data, "--out", tmp_path / "b.png", "--size", "16"),
        ("show", "denoising", trained, "--out", tmp_path / "c.png", "--label", "1"),
    ):
        assert run(*arguments)[0] == 0
    for name in "abc":
        values = opened(tmp_path / f"{name}.png")[1]
        assert min(values.shape) > 30
        assert values.std() > 5


def in_a_process(*arguments):
    start = time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    return time.perf_counter() - start, done


def answers_within(limit, tries, *arguments):
    """Of a process, asked again where it took longer, for the machine may do other work too."""
    answers = []
    while len(answers) < tries:
        seconds, done = in_a_process(*arguments)
        answers.append(done)
        if seconds < limit:
            return answers
    raise AssertionError(f"{tries} times it took more than {limit} s")


def test_a_run_among_its_own_images_is_refused(run, tmp_path, monkeypatch):
    """Its pictures would be images to learn from, and it could not be gone on with."""
    rng = np.random.default_rng(0)
    for number in range(20):
        picture = rng.integers(0, 256, (8, 8), np.uint8)
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    status, _, errors = run("train", ".", "--images", 32, "--out", tmp_path, *TINY)
    assert status == 2
    assert "holds the images" in errors
    assert len(list(tmp_path.iterdir())) == 20
    assert run("train", ".", "--images", 32, "--out", "mine", *TINY)[0] == 0
    assert run("train", "--resume", "--out", "mine")[0] == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize(("arguments", "expected"), [(("--cache",), 0), (("--cache", "--json"), 1)])
def test_a_full_disk_behind_what_is_printed_is_a_sentence(arguments, expected):
    """Where the words are all that is asked for, they are missed; else the work is done."""
    command = [sys.executable, "-m", "loang", "doctor", *arguments]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == expected
    assert done.stderr.count("\n") == 1
    assert "can't be written: No space left on device." in done.stderr


def test_help_answers_at_once():
    for done in answers_within(0.7, 5, "-m", "loang", "--help"):
        assert "train" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("nowhere",),
        ("{tmp}",),
        ("{tmp}/photos",),
        ("--preset", "quik"),
        ("--set", "a.b=1"),
        ("--fit", "squeeze"),
        ("--out", "{tmp}/photos/photo.png"),
    ],
)
def test_a_mistake_is_told_within_two_seconds_and_without_torch(arguments, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "photo.png").write_text("no picture")
    code = """
import sys
from loang.cli import main
try:
    main()
finally:
    print("torch" in sys.modules)
"""
    given = [argument.format(tmp=tmp_path) for argument in arguments]
    for done in answers_within(2, 3, "-c", code, "train", *given):
        assert done.returncode == 2
        assert done.stderr.startswith("loang: ")
        assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    "code", ["import loang", "import loang.api", "import loang.cli.app", "import loang.pictures"]
)
def test_importing_is_light(code):
    heavy = ["matplotlib", "accelerate", "tensorflow", "diffusers", "torch"]
    check = f"{code}, sys; print([name for name in {heavy} if name in sys.modules])"
    assert in_a_process("-c", check)[1].stdout.strip() == "[]"


def test_what_is_to_be_tried_next_can_be_done_on_a_short_schedule(run, tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (40, 8, 8), np.uint8)
    np.save(tmp_path / "data.npy", images)
    out = tmp_path / "run"
    status, said, _ = run("train", tmp_path / "data.npy", "--images", 32, "--out", out, *TINY)
    assert status == 0
    (line,) = [line for line in said.splitlines() if "--sampler ddpm" in line]
    assert "--steps 20" in line
    asked = line.split()[1:-1]
    assert run(*asked, tmp_path / "more.png")[0] == 0


def test_images_of_another_time_in_the_folder_are_told(run, trained, tmp_path):
    asked = ("sample", trained, "--steps", 2, "--out", f"{tmp_path}/many/")
    status, said, _ = run(*asked, "-n", 5)
    assert status == 0
    assert "Warning" not in said
    (tmp_path / "many" / "mine.png").write_bytes(b"")
    status, said, _ = run(*asked, "-n", 3, "--seed", 2)
    assert status == 0
    assert "Warning: 2 more images lie there, numbered from 3 on" in said
    assert len(list((tmp_path / "many").glob("*.png"))) == 6


def test_python_takes_numbers_of_numpy_and_one_text_for_a_list(tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (40, 8, 8), np.uint8)
    np.save(tmp_path / "data.npy", images)
    with unchecked():  # signatures are what a person need not keep to
        plan = api.plan(
            tmp_path / "data.npy",
            size=(np.int64(8), np.int64(8)),
            seed=np.int64(3),
            budget="20 images",
            changes="network.width=8",
        )
        assert plan.settings.training.seed == 3
        assert plan.settings.network.width == 8
        assert plan.settings.data.size == (8, 8)
        with pytest.raises(LoangError, match="knows no tracker 'nobody'"):
            api.start(tmp_path / "data.npy", track="nobody", out=tmp_path / "run")
