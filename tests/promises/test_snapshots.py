"""Snapshots of averages: exact after a resume, no change to training, no run lost to them."""

import json
import math
import re
import shutil

import numpy as np
import pytest
import torch
from faults import FullFor
from safetensors.torch import load_file
from typer.testing import CliRunner
from whole_runs import one_thread

import loang
from in_steps import IN_STEPS
from loang import api, files, tensors
from loang.build import weight_shapes
from loang.cli.app import app
from loang.errors import LoangError
from loang.training import choice
from loang.training.asked import resolve
from loang.training.averages import Snapshots
from loang.training.choice import Judge, Score
from loang.training.folder import RunFolder, checkpoint_steps
from loang.training.plan import prepare
from loang.training.reporter import Reporter
from undrawing import undrawn

TINY = (
    "network.width=8",
    "network.multipliers=1,1",
    "network.attention=[]",
    "network.heads=1",
    *IN_STEPS,
    "network.blocks=1",
    "training.batch=16",
    "training.reports=2",
    "training.keep=9",
    "training.precision=float32",
    "optimizer.warm_up=3",
    "schedule.steps=20",
    "sampling.steps=2",
    "ema.length=0.08",
    "evaluation.features=pixels",
)
pytestmark = pytest.mark.usefixtures("unchecked_signatures", "asked_for")
KEPT = (*TINY, "ema.snapshots=16", "ema.choose=true")
STEPS = list(range(2, 33, 2))


def train(images, out, changes=KEPT, count=512, **more):
    return loang.train(
        images, out=out, budget=f"{count} images", changes=changes, device="cpu", **more
    )


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """60 grey images of 8x8, in an .npz file."""
    path = tmp_path_factory.mktemp("images") / "images.npz"
    np.savez(path, images=np.random.default_rng(0).integers(0, 255, (60, 8, 8), np.uint8))
    return path


@pytest.fixture(scope="module")
def whole(images, tmp_path_factory):
    """A run of 32 steps with 16 snapshots, which has chosen its average; it is only read."""
    out = tmp_path_factory.mktemp("whole") / "run"
    with one_thread(), undrawn():
        train(images, out)
    return out


def everything(run):
    """All tensors of a run's last checkpoint, by file and name."""
    last = run / "checkpoints" / f"step-{checkpoint_steps(run / 'checkpoints')[-1]:08d}"
    return {
        f"{file.stem}/{name}": tensor
        for file in sorted(last.glob("*.safetensors"))
        for name, tensor in load_file(file).items()
    }


def snapshots(run):
    model = loang.load(run, device="cpu")
    return Snapshots(run / "averages", weight_shapes(model.settings, model.spec))


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def copy_at(whole, run, step):
    """The run as it was killed some steps after a checkpoint: its snapshots go further."""
    shutil.copytree(whole, run)
    for later in checkpoint_steps(run / "checkpoints"):
        if later > step:
            shutil.rmtree(run / "checkpoints" / f"step-{later:08d}")
    (run / "model.safetensors").unlink()


def test_snapshots_after_a_resume_are_those_of_a_run_that_never_stopped(whole, tmp_path):
    run = tmp_path / "run"
    copy_at(whole, run, 16)
    stored = snapshots(whole)
    for step in (18, 20, 31):  # of a session whose steps were lost
        shutil.copy(stored.path(2), run / "averages" / stored.path(step).name)
    loang.train(out=run, resume=True)
    again = snapshots(run)
    assert stored.steps() == again.steps() == STEPS
    for step in STEPS:
        assert same(tensors.read(stored.path(step)), tensors.read(again.path(step)))
        one, other = (
            json.loads(tensors.look(each.path(step)).metadata["loang"]) for each in (stored, again)
        )
        assert (one["step"], one["images"]) == (other["step"], other["images"])
        assert one["images"] == 16 * step
    assert same(everything(whole), everything(run))
    assert same(load_file(whole / files.MODEL), load_file(run / files.MODEL))


def test_snapshots_are_the_averages_that_the_checkpoint_has(whole):
    last, kept = tensors.read(snapshots(whole).path(32)), everything(whole)
    for number in (0, 1):
        names = [name for name in last if name.startswith(f"{number}/")]
        assert names
        for name in names:
            assert torch.equal(last[name], kept[f"ema-{number + 1}/{name.partition('/')[2]}"])


def test_snapshots_change_no_step_and_without_them_nothing_is_kept(whole, images, tmp_path):
    run = tmp_path / "plain"
    train(images, run, TINY)
    assert not (run / "averages").exists()
    plain, kept = everything(run), everything(whole)
    assert not [name for name in plain if name.startswith("ema-")]
    assert plain.keys() == {name for name in kept if not name.startswith("ema-")}
    assert all(torch.equal(plain[name], kept[name]) for name in plain)
    assert "average_length" not in loang.load(run).facts
    assert "| average |" not in (run / "README.md").read_text()
    with pytest.raises(LoangError, match=r"no snapshots of averages .*ema\.snapshots=32"):
        api.average(run, length=0.1)
    with pytest.raises(LoangError, match=r"ema\.snapshots is 0, not 4"):
        loang.train(out=run, resume=True, changes=["ema.snapshots=4"])


def test_what_snapshots_give_is_what_the_run_tracked_of_that_length(whole):
    """0.08 of snapshots of 0.05 and 0.1, against `ema.length=0.08`: 3 parts in 1,000."""
    kept = everything(whole)
    made = snapshots(whole).average(0.08)
    assert made.error == pytest.approx(3e-3, rel=0.1)

    def flat(weights, start):
        return torch.cat([weights[f"{start}{name}"].double().flatten() for name in made.weights])

    tracked = flat(kept, "ema/")
    away = (flat(made.weights, "") - tracked).norm()
    assert away < 0.02 * (flat(kept, "ema-1/") - tracked).norm()
    assert away < 0.02 * (flat(kept, "ema-2/") - tracked).norm()


def test_the_model_is_the_average_that_scored_best_and_says_so(whole):
    model = loang.load(whole, device="cpu")
    facts = model.facts
    (line,) = [
        record
        for record in map(json.loads, (whole / "log.jsonl").read_text().splitlines())
        if record.get("event") == "average"
    ]
    scores = {each["length"]: each["score"] for each in line["scores"]}
    assert set(scores) == {0.04, 0.06, 0.08, 0.1, 0.15, 0.2}
    best = min(scores, key=scores.get)
    assert facts["average_length"] == line["average_length"] == best
    assert facts["average_score"] == facts["validation_loss"] == scores[best]
    assert facts["average_chosen_by"] == "validation loss"
    weights = dict(model.denoiser.network.state_dict())
    if best == 0.08:
        assert same(weights, {name: everything(whole)[f"ema/{name}"] for name in weights})
    else:
        assert same(weights, snapshots(whole).average(best).weights)
    card = (whole / "README.md").read_text()
    assert f"of length {best:g} of the run" in card
    assert "the best of several by validation loss" in card


@pytest.mark.slow
def test_a_model_of_another_length_is_an_ordinary_one(whole, images, tmp_path):
    run = shutil.copytree(whole, tmp_path / "run")
    made, path = api.average(run, length=0.15)
    assert path == run / "average-0.15.safetensors"
    model = loang.load(path, device="cpu")
    assert model.facts["average_length"] == 0.15
    assert model.facts["average_snapshots"] == 16
    assert model.facts["steps"] == 32
    assert model.facts["images"] == 512
    assert model.facts["validation_loss"] is None
    assert "average_chosen_by" not in model.facts
    assert same(dict(model.denoiser.network.state_dict()), snapshots(run).average(0.15).weights)
    assert model.sample(1).shape == (1, 8, 8, 1)
    assert "length 0.15 at step 32" in " ".join(made.sentences())

    said = []
    made, path = api.average(run, best=True, out=tmp_path / "best.safetensors", say=said.append)
    assert made.choice is not None
    scores = {one.length: one.score.value for one in made.choice.candidates}
    assert 0.08 in scores
    assert loang.load(path).facts["average_length"] == min(scores, key=scores.get)
    by_samples, _ = api.average(run, best=True, samples=8, out=tmp_path / "drawn.safetensors")
    assert by_samples.model.facts["average_chosen_by"] == "KID of 8 samples"

    np.savez(
        images.with_name("others.npz"), images=np.arange(3840, dtype=np.uint8).reshape(60, 8, 8)
    )
    with pytest.raises(LoangError, match="not those that this run learned from"):
        api.average(run, best=True, data=images.with_name("others.npz"))


@pytest.fixture(scope="module")
def constant(images, tmp_path_factory):
    """A run whose own average is of no length, and which has not chosen; it is only read."""
    out = tmp_path_factory.mktemp("constant") / "run"
    changes = (*TINY, "ema.snapshots=16", "ema.kind=constant", "ema.decay=0.8")
    with one_thread(), undrawn():
        train(images, out, changes)
    return out


@pytest.mark.slow
def test_the_runs_own_average_is_scored_too(constant, tmp_path, monkeypatch):
    run = shutil.copytree(constant, tmp_path / "run")
    own = load_file(run / files.MODEL)
    loss = loang.load(run).facts["validation_loss"]
    made, _ = api.average(run, best=True, device="cpu", out=tmp_path / "best.safetensors")
    (score,) = [one.score.value for one in made.choice.candidates if one.length is None]
    assert score == pytest.approx(loss, rel=1e-5)
    assert len(made.choice.candidates) > 3

    monkeypatch.setattr(choice, "CANDIDATES", (0.2,))  # far worse than so short an average
    monkeypatch.setattr(Judge, "__call__", only(own))
    made, path = api.average(run, best=True, device="cpu")
    assert path == run / "average-own.safetensors"
    assert same(load_file(path), own)
    facts = loang.load(path).facts
    assert (facts["average_length"], facts["average_snapshots"]) == (None, 0)
    assert (facts["steps"], facts["images"]) == (32, 512)
    assert "The best is the run's own average, as it was tracked" in " ".join(made.sentences())

    shutil.rmtree(run / "checkpoints")  # the model file has it too
    assert same(load_file(api.average(run, best=True, device="cpu")[1]), own)
    api.average(run, length=0.1, out=run / files.MODEL)  # and now nothing has
    said = []
    with pytest.raises(LoangError, match="could be scored"):
        api.average(run, best=True, device="cpu", say=said.append)
    assert "The run's own average is not scored" in said[0]


def only(weights):
    """A judge that takes no other weights than these."""

    def score(judge, others):
        return Score(1.0 if same(dict(others), weights) else math.inf)

    return score


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("config.json", "written as a .safetensors file"),
        ("log.jsonl", "written as a .safetensors file"),
        ("average", "written as a .safetensors file"),
        ("averages/step-00000032.safetensors", "holds the run's own files"),
        ("checkpoints/step-00000032/ema.safetensors", "holds the run's own files"),
        ("samples/../checkpoints/new.safetensors", "holds the run's own files"),
    ],
)
def test_an_average_takes_no_other_files_place(whole, tmp_path, out, words):
    run = shutil.copytree(whole, tmp_path / "run")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(LoangError, match=words):
        api.average(run, length=0.1, out=run / out)
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


def test_a_run_that_trains_writes_its_own_model(whole, tmp_path):
    run = shutil.copytree(whole, tmp_path / "run")
    lock = RunFolder(run).claim()
    before = (run / files.MODEL).read_bytes()
    with pytest.raises(LoangError, match=r"\brun\b"):
        api.average(run, length=0.15, out=run / files.MODEL)
    assert (run / files.MODEL).read_bytes() == before
    lock.release()
    api.average(run, length=0.15, out=run / files.MODEL)
    assert loang.load(run).facts["average_length"] == 0.15
    RunFolder(run).claim().release()


def test_the_verb(whole, tmp_path):
    out = tmp_path / "average.safetensors"
    done = CliRunner().invoke(app, ["average", str(whole), "--length", "0.1", "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert loang.load(out).facts["average_length"] == 0.1


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({}, "one length, or the best of several"),
        ({"length": 0.1, "best": True}, "one length, or the best of several"),
        ({"length": 0.1, "samples": 5}, "Leave --samples and --data away"),
        ({"length": 0.1, "data": "there"}, "Leave --samples and --data away"),
        ({"best": True, "samples": 1}, "can't be measured on 1 samples"),
        ({"length": 0.001}, "can't be made"),
        ({"length": 1e-200}, "a length from 0.0001 to less than 0.28"),
        ({"length": 0.0}, "a length from 0.0001 to less than 0.28"),
    ],
)
def test_what_can_not_be_asked(whole, asked, words):
    with pytest.raises(LoangError, match=words):
        api.average(whole, **asked)
    with pytest.raises(LoangError, match=r"There is no run .*loang average RUN") as caught:
        api.average(whole / "samples", length=0.1)
    assert not re.search("--out|--resume|go on", str(caught.value))


def test_a_disk_that_is_full_costs_a_snapshot_and_training_goes_on(
    images, tmp_path, said, monkeypatch
):
    run = tmp_path / "run"
    monkeypatch.setattr(files, "os", FullFor(run / "averages", 2))
    changes = [each for each in KEPT if "choose" not in each]
    model = train(images, run, changes, count=128, display=said)
    assert model.facts["images"] == 128
    assert len(said.about("Training goes on")) == 2
    assert said.about("16 snapshots of averages of length 0.05 and 0.1 take")
    kept = snapshots(run).steps()
    assert len(kept) == 6
    assert kept[-1] == 8
    assert not list((run / "averages").glob(".*"))


def test_a_choice_that_fails_leaves_the_model_as_it_was(whole, tmp_path, said, monkeypatch):
    run = shutil.copytree(whole, tmp_path / "run")
    for path in (run / "averages").iterdir():
        path.write_bytes(b"damaged")
    before = (run / files.MODEL).read_bytes()
    monkeypatch.setattr(Reporter, "finish", lambda *arguments: None)
    loang.train(out=run, resume=True, display=said)
    (warning,) = said.about("Warning")
    assert "The length of the average can't be chosen" in warning
    assert "can't be read" in warning
    assert (run / files.MODEL).read_bytes() == before


def test_a_new_run_in_the_folder_takes_no_old_snapshots(whole, tmp_path):
    run = shutil.copytree(whole, tmp_path / "run")
    (run / "averages" / "mine.txt").write_text("mine")
    folder = RunFolder(run)
    folder.start(overwrite=True)
    assert [path.name for path in folder.averages.iterdir()] == ["mine.txt"]
    with pytest.raises(LoangError, match="files that a run would replace: averages"):
        folder.check(overwrite=False)


def test_what_snapshots_take_is_counted_before_the_start(images):
    dataset = loang.open_dataset(images)
    one, other, half = (
        prepare(resolve(images, changes=changes), dataset)
        for changes in (TINY, KEPT, (*KEPT, "ema.snapshot_precision=float16"))
    )
    weights = 4 * one.parameters
    assert (one.snapshot_bytes, one.checkpoint_bytes) == (0, 4 * weights)
    assert (other.snapshot_bytes, other.checkpoint_bytes) == (32 * weights, 6 * weights)
    assert half.snapshot_bytes == 16 * weights


def test_of_kernels_that_muon_moves_one_moment_is_counted(images, tmp_path):
    dataset, counted, taken = loang.open_dataset(images), {}, {}
    for kind in ("adamw", "muon"):
        changes = (*TINY, "network.width=16", f"optimizer.kind={kind}")
        counted[kind] = prepare(resolve(images, changes=changes), dataset).checkpoint_bytes
        out = tmp_path / kind
        loang.train(images, out=out, budget="16 images", changes=changes)
        newest = max((out / "checkpoints").iterdir())
        taken[kind] = sum(path.stat().st_size for path in newest.glob("optimizer*"))
    assert counted["adamw"] - counted["muon"] > 10_000
    spared = taken["adamw"] - taken["muon"]
    assert counted["adamw"] - counted["muon"] == pytest.approx(spared, rel=0.05)
