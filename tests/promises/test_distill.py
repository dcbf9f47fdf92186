"""A distillation is a run as any other: it needs its teacher once, and can be gone on with."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner
from whole_runs import TINY, make_pictures, one_thread

import loang
from loang import drawing
from loang.api import doctor
from loang.cli.app import app
from loang.config import changed
from loang.doctor import effort
from loang.errors import LoangError
from loang.model import Model
from loang.training import distill
from loang.training.asked import resolve, resume
from loang.training.display import Display
from loang.training.folder import RunFolder, checkpoint_steps
from undrawing import undrawn

IMAGES = 128
pytestmark = pytest.mark.usefixtures("unchecked_signatures", "asked_for")


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """A run that has learnt a little, with labels; it is only read."""
    folder = tmp_path_factory.mktemp("learnt")
    with one_thread(), undrawn():
        return taught(make_pictures(folder / "pictures.npz"), folder / "teacher")


def taught(pictures, out):
    loang.train(pictures, out=out, budget="160 images", changes=TINY, device="cpu")
    return out


@pytest.fixture
def teacher(learnt, tmp_path):
    """A copy of it, to be changed."""
    return shutil.copytree(learnt, tmp_path / "teacher")


def distilled(teacher, out, **more):
    loang.distill(teacher, out=out, **{"budget": f"{IMAGES} images", **more})
    return out


def last_weights(run):
    step = checkpoint_steps(run / "checkpoints")[-1]
    place = run / "checkpoints" / f"step-{step:08d}"
    return {
        f"{name}/{key}": tensor
        for name in ("model", "ema", "optimizer", "objective")
        for key, tensor in load_file(place / f"{name}.safetensors").items()
    }


def test_a_student_is_a_model_that_is_sampled_in_its_two_steps_with_labels(teacher, tmp_path):
    run = distilled(teacher, tmp_path / "student")
    model, before = Model.load(run, on="cpu"), Model.load(teacher, on="cpu")
    sampling = model.settings.sampling
    assert (sampling.sampler, sampling.steps, sampling.levels) == ("ddim", 2, (50.0, 25.0, 0.0))
    states = list(model.walk(range(3)))
    assert [state.t for state in states] == [50, 25, 0]
    assert model.sample(3).shape == (3, 8, 8, 1)
    assert model.denoiser.classes == 3
    one, other = model.denoiser.state_dict(), before.denoiser.state_dict()
    assert any(not torch.equal(one[name], other[name]) for name in one)
    assert drawing.sampling(model, steps=2) == drawing.sampling(model) == sampling
    for wishes in ({"steps": 4}, {"sampler": "heun"}, {"eta": 1.0}, {"levels": (50, 10)}):
        with pytest.raises(LoangError, match="has learnt no other walk"):
            drawing.sampling(model, **wishes)
    card = (run / "README.md").read_text()
    assert "loang distill" in card
    assert "From 50% of training on its samples are\nmatched" in card
    _, about = RunFolder(run).read_config()
    assert about["teacher"]["steps"] == 10


def test_a_run_stopped_at_any_checkpoint_ends_as_one_that_never_stopped(teacher, tmp_path):
    """The first of them is the teacher itself; then its file is not needed any more."""
    run = distilled(teacher, tmp_path / "whole")
    steps = checkpoint_steps(run / "checkpoints")
    assert steps[0] == 0
    expected = last_weights(run)
    shutil.rmtree(teacher)
    for stop in (0, steps[2]):
        copy = shutil.copytree(run, tmp_path / f"stopped-{stop}")
        for later in steps:
            if later > stop:
                shutil.rmtree(copy / "checkpoints" / f"step-{later:08d}")
        loang.train(out=copy, resume=True)
        found = last_weights(copy)
        assert [name for name in expected if not torch.equal(expected[name], found[name])] == []


def test_the_first_checkpoint_holds_the_teacher(teacher, tmp_path):
    run = distill.start(teacher, out=tmp_path / "student", budget="64 images")
    run.lock.release()
    place = tmp_path / "student" / "checkpoints" / "step-00000000"
    known = load_file(teacher / "model.safetensors")
    for name in ("model", "ema", "objective"):
        found = load_file(place / f"{name}.safetensors")
        if name == "objective":  # so does the tracker, which learns what the student draws
            tracker = {f"tracker/{key}": tensor for key, tensor in known.items()}
            assert found.keys() == {*known, *tracker}
            assert all(torch.equal(tracker[key], found[key]) for key in tracker)
        else:
            assert known.keys() == found.keys()
        assert all(torch.equal(known[key], found[key]) for key in known)


@pytest.mark.parametrize("method", ["consistency", "tuning"])
def test_a_student_that_leaps_to_the_image_is_sampled_by_consistency(teacher, tmp_path, method):
    changes = (f"distillation.method={method}",)
    run = distilled(teacher, tmp_path / "student", changes=changes, steps=3, budget="32 images")
    model = Model.load(run, on="cpu")
    assert model.settings.sampling.sampler == "consistency"
    assert len(list(model.walk(range(2)))) == 4


def test_what_can_not_be_distilled_is_said(pictures, tmp_path):
    teacher = taught(pictures, tmp_path / "teacher")
    run = distilled(teacher, tmp_path / "student", budget="16 images")
    with pytest.raises(LoangError, match="is distilled already"):
        distill.start(run, out=tmp_path / "again")
    with pytest.raises(LoangError, match=r"51"):
        distill.start(teacher, steps=51, out=tmp_path / "many")
    with pytest.raises(LoangError, match="has its teacher's network"):
        distill.start(teacher, out=tmp_path / "wider", changes=("network.width=16",))
    with pytest.raises(LoangError, match="run"):
        distill.start(teacher, out=run)
    pictures.unlink()
    with pytest.raises(LoangError) as caught:
        distill.start(teacher, out=tmp_path / "gone")
    assert "loang distill" in caught.value.remedy
    assert not (tmp_path / "gone").exists()


def refused(teacher, out, match, *changes, **more):
    with pytest.raises(LoangError, match=match):
        distill.start(teacher, out=out, budget="16 images", changes=changes, **more)


def test_a_distillation_that_is_refused_leaves_what_it_would_replace(teacher, pictures, tiny):
    place = teacher.parent
    looks = (*tiny, "network.self_conditioning=true")
    loang.train(pictures, out=place / "looks", budget="16 images", changes=looks, device="cpu")
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    refused(place / "looks", teacher, "its own last estimate", overwrite=True)
    refused(place / "looks", place / "new", "its own last estimate")
    for named in (teacher, teacher / "model.safetensors"):
        refused(named, teacher, "teacher itself lies in", overwrite=True)
    assert before == {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    assert not (place / "new").exists()


def test_settings_that_would_distil_nothing_or_do_nothing_are_refused(teacher, tmp_path):
    out = tmp_path / "student"
    refused(teacher, out, "distils nothing", "training.objective=denoising")
    for change in (
        *("training.weighting=min-snr", "training.levels=importance", "training.stratified=true"),
        *("training.pairing=immiscible", "sampling.steps=4", "sampling.sampler=heun"),
        "optimizer.momentum=0.5",
    ):
        refused(teacher, out, "does nothing here", change)
    refused(teacher, out, "guide the student anew", "sampling.guidance=2")
    assert not out.exists()
    with pytest.raises(LoangError, match="here is none"):
        resolve("fashion-mnist", changes=("training.objective=consistency",))
    learnt = distill.student(Model.load(teacher, on="cpu").settings, 2)
    assert resume(learnt, changes=("sampling.guidance=2",)).sampling.guidance == 2
    with pytest.raises(LoangError, match=r"sampling\.steps is 2, not 4"):
        resume(learnt, changes=("sampling.steps=4",))


def test_what_nobody_said_is_settled_before_anything_is_learnt(teacher):
    """So that a run that is gone on with by a later version learns as it began to."""
    settings = Model.load(teacher, on="cpu").settings
    way = {"chain": (2, 4), "starts": "own", "guidance": 3.0}
    way |= {"matched_from": 0.5, "match_guidance": 2.0}
    found = distill.student(settings, 2, guidable=True).distillation
    assert found.model_dump(include=set(way)) == way
    plain = distill.student(settings, 2).distillation
    assert (plain.guidance, plain.match_guidance) == (1, 1)
    many = distill.student(settings, 8).distillation
    assert (many.starts, many.matched_from) == ("images", 1)
    said = ("distillation.chain=[3,5]", "distillation.starts=images", "distillation.guidance=1")
    found = distill.student(settings, 2, guidable=True, changes=said).distillation
    assert (found.chain, found.starts, found.guidance) == ((3, 5), "images", 1)
    assert found.match_guidance == 1  # said once, it holds for both
    both = ("distillation.guidance=4", "distillation.match_guidance=1.5")
    found = distill.student(settings, 2, guidable=True, changes=both).distillation
    assert (found.guidance, found.match_guidance) == (4, 1.5)
    other = distill.student(settings, 2, guidable=True, changes=("distillation.method=tuning",))
    other = other.distillation
    assert (other.chain, other.guidance, other.match_guidance) == ((8, 32), 1, 1)
    assert other.matched_from == 1
    by_muon = changed(settings, ["optimizer.kind=muon"])
    assert distill.student(by_muon, 2).optimizer.kind == "adamw"


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_room_that_a_students_checkpoint_takes_is_known_before(teacher, tmp_path, share):
    changes = (f"distillation.matched_from={share}",)
    run = distill.start(teacher, out=tmp_path / "student", budget="32 images", changes=changes)
    run.train(Display())
    places = tmp_path / "student" / "checkpoints"
    last = places / f"step-{checkpoint_steps(places)[-1]:08d}"
    taken = sum(path.stat().st_size for path in last.glob("*.safetensors"))
    # The headers of so small a network are as large as its weights; they are not counted.
    headers = sum(8 + int.from_bytes(path.read_bytes()[:8], "little") for path in last.glob("*.s*"))
    assert run.plan.checkpoint_bytes == pytest.approx(taken - headers, rel=0.02)


def test_the_log_says_how_many_images_a_student_was_validated_on(teacher, tmp_path, monkeypatch):
    monkeypatch.setattr("loang.training.validation.LEAST_VALIDATED", 1)
    run = distilled(teacher, tmp_path / "student", budget="32 images")
    held = Model.load(run, on="cpu").facts["validation_images"]
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    counts = {line["validation_images"] for line in lines if "validation_images" in line}
    assert counts == {len(range(0, held, min(9, held)))}  # one of the student, 2 x 4 of its teacher
    assert max(counts) < held


def test_a_teacher_that_always_had_a_label_is_not_guided(pictures, tiny, tmp_path):
    sure = (*tiny, "training.label_dropout=0")
    run = tmp_path / "sure"
    loang.train(pictures, out=run, budget="32 images", changes=sure, device="cpu")
    refused(run, tmp_path / "no", "never learnt to draw without a label", "distillation.guidance=2")
    distilled(run, tmp_path / "student", budget="32 images")
    assert RunFolder(tmp_path / "student").read_config()[0].distillation.guidance == 1
    assert "teacher guided by | nothing" in (tmp_path / "student" / "README.md").read_text()


def test_other_images_are_refused_or_told(teacher, pictures, tmp_path):
    import numpy as np

    with np.load(pictures) as held:
        images, labels = held["images"], held["labels"]
    np.savez(tmp_path / "other.npz", images=images[:, ::-1], labels=labels)
    run = distill.start(teacher, str(tmp_path / "other.npz"), out=tmp_path / "told")
    run.lock.release()
    assert any("not those that the model learned from" in note for note in run.notes)
    np.savez(tmp_path / "fewer.npz", images=images, labels=labels.clip(max=1))
    with pytest.raises(LoangError, match="another size, range or classes"):
        distill.start(teacher, str(tmp_path / "fewer.npz"), out=tmp_path / "refused")


def test_the_verb_says_how_to_go_on(teacher, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(
        app, ["distill", "teacher", "--images", "16", "--steps", "1", "--guidance", "2"]
    )
    assert result.exit_code == 0, result.output
    settings = json.loads((tmp_path / "runs/teacher-1-step/config.json").read_text())["settings"]
    assert settings["distillation"]["steps"] == 1
    assert settings["distillation"]["guidance"] == 2
    assert settings["training"]["objective"] == "consistency"


def test_an_examination_asks_a_student_for_its_own_walk_only(teacher, tmp_path):
    run = distilled(teacher, tmp_path / "student", steps=30, budget="16 images")
    found = {finding.topic: finding for finding in doctor(run, count=4).findings}
    assert "distilled" in found["levels"].what
    assert "no other walk" not in " ".join(each.what for each in found.values())
    assert "sampling" not in found
    model = Model.load(run, on="cpu")
    slow = effort.choose(model, replace(effort.try_out(model), a_pass=1.0), 1, None)
    assert slow.sampling == model.settings.sampling
