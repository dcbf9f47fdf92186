"""A run that is over, or stopped, can be given another length and goes on from where it is."""

import json
import re
import shutil

import pytest
import torch
from safetensors.torch import load_file
from test_resume import assert_same, everything, stopped_at

import loang
from loang.errors import LoangError
from loang.files import sha256
from loang.training.folder import checkpoint_steps

pytestmark = pytest.mark.usefixtures("unchecked_signatures", "asked_for")


def longer(run, budget="1024 images", **more):
    return loang.train(out=run, resume=True, budget=budget, **more)


def records(run):
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def budget_of(run):
    return json.loads((run / "config.json").read_text())["settings"]["training"]["budget"]


def test_at_a_constant_rate_it_ends_bit_for_bit_as_if_it_had_been_asked_for_at_first(
    pictures, tiny, tmp_path
):
    changes = (*tiny, "optimizer.decay_from=1")
    for name, budget in (("at-once", "256 images"), ("in-two", "128 images")):
        loang.train(pictures, out=tmp_path / name, budget=budget, changes=changes, device="cpu")
    longer(tmp_path / "in-two", "256 images")
    assert_same(everything(tmp_path / "at-once"), everything(tmp_path / "in-two"))


def test_a_run_that_is_over_learns_on_and_keeps_the_model_that_it_had(copied, said):
    before = sha256(copied / "model.safetensors")
    model = longer(copied, display=said)
    assert model.facts["images"] == 1024
    assert model.facts["lengths"] == "512 images (up to 512 images), then 1024 images in all"
    kept = copied / "model-512-images.safetensors"
    assert sha256(kept) == before
    assert loang.load(kept).facts["images"] == 512
    assert any("no more for 512 images: 50% of that is used" in line for line in said.lines)
    assert said.about("The model of before stays as")
    assert budget_of(copied) == "1024 images"
    assert (
        "| asked for | 512 images (up to 512 images), then 1024 images in all |"
        in (copied / "README.md").read_text()
    )


def test_the_rate_rises_again_and_falls_to_0_at_the_new_end(copied):
    longer(copied)
    rates = {r["images"]: r["learning_rate"] for r in records(copied) if "learning_rate" in r}
    settings = loang.load(copied).settings.optimizer
    assert rates[512] == pytest.approx(0, abs=1e-4 * settings.learning_rate)
    left = (1 - 528 / 1024) / (1 - settings.decay_from)
    assert rates[528] == pytest.approx(settings.learning_rate * left, rel=0.05)
    assert rates[1024] == pytest.approx(0, abs=1e-4 * settings.learning_rate)


def test_what_was_made_longer_is_gone_on_with_exactly(copied, tmp_path):
    longer(copied)
    assert checkpoint_steps(copied / "checkpoints")[-1] == 64
    again = tmp_path / "again"
    stopped_at(copied, again, 48)
    loang.train(out=again, resume=True)
    assert_same(everything(copied), everything(again))
    assert loang.load(again).facts["lengths"] == loang.load(copied).facts["lengths"]


def test_killed_before_its_next_checkpoint_it_still_knows_its_length(copied, tmp_path):
    killed = shutil.copytree(copied, tmp_path / "killed")
    longer(copied)
    # The length is noted before the first step; then comes nothing for a while.
    shutil.copy(copied / "config.json", killed / "config.json")
    loang.train(out=killed, resume=True)
    assert_same(everything(copied), everything(killed))
    assert loang.load(killed).facts["lengths"] == loang.load(copied).facts["lengths"]


def test_a_run_that_was_stopped_can_be_made_shorter(copied, tmp_path):
    place = tmp_path / "short"
    stopped_at(copied, place, 16)
    model = longer(place, "384 images")
    assert model.facts["images"] == 384
    assert records(place)[-1]["images"] == 384
    assert not list(place.glob("model-*"))


@pytest.mark.parametrize("unit", ["images", "seconds"])
def test_less_than_is_used_is_refused_and_nothing_changes(copied, unit):
    state = copied / "checkpoints" / "step-00000032" / "state.json"
    used = json.loads(state.read_text())["progress"]
    budget = "256 images" if unit == "images" else f"{used['seconds'] / 2:.4f}s"
    before = (copied / "config.json").read_bytes(), sha256(copied / "model.safetensors")
    with pytest.raises(LoangError, match=r"has learned for .* already.*counts what it has used"):
        longer(copied, budget)
    assert before == ((copied / "config.json").read_bytes(), sha256(copied / "model.safetensors"))


def test_without_another_length_it_says_that_it_is_over(copied, said):
    loang.train(out=copied, resume=True, display=said)
    assert said.about("Training is over. To learn for longer say how long in all")
    said.lines.clear()
    loang.train(out=copied, resume=True, budget="512 images", display=said)  # the same
    assert said.about("Training is over.")
    assert not list(copied.glob("model-*"))


def test_a_new_run_in_its_place_takes_the_kept_model_away(copied, pictures, tiny):
    longer(copied)
    mine = copied / "model-best-images.safetensors"
    shutil.copy(copied / "model.safetensors", mine)
    loang.train(
        pictures, out=copied, overwrite=True, budget="64 images", changes=tiny, device="cpu"
    )
    assert [path.name for path in copied.glob("model-*")] == [mine.name]


def test_what_config_json_notes_of_lengths_is_believed_as_words_alone(copied):
    config = copied / "config.json"
    content = json.loads(config.read_text()) | {"lengths": {"no": "list"}}
    config.write_text(json.dumps(content))
    assert (
        longer(copied).facts["lengths"] == "512 images (up to 512 images), then 1024 images in all"
    )


def test_the_average_goes_on_from_the_one_it_had(copied):
    """At a length that is a share of the run, it forgets nothing at once."""
    last = load_file(copied / "checkpoints" / "step-00000032" / "ema.safetensors")
    longer(copied, "528 images")  # a single step
    now = load_file(copied / "checkpoints" / "step-00000033" / "ema.safetensors")
    weights = load_file(copied / "checkpoints" / "step-00000033" / "model.safetensors")
    name = max(last, key=lambda each: last[each].numel())
    assert torch.dist(now[name], last[name]) < torch.dist(weights[name], last[name])


def test_a_student_keeps_its_length(copied, tmp_path):
    student = tmp_path / "student"
    changes = ["distillation.label_samples=0"]
    loang.distill(copied, steps=2, out=student, budget="64 images", changes=changes)
    with pytest.raises(LoangError, match=re.escape("training.budget is '64 images', not '1h'")):
        longer(student, "1h")


def test_a_model_that_had_got_further_than_a_whole_checkpoint_is_kept(copied, said):
    (copied / "checkpoints" / "step-00000032" / "model.safetensors").write_bytes(b"cut")
    longer(copied, "600 images", display=said)
    assert said.about("Going on from step 24")
    assert loang.load(copied / "model-512-images.safetensors").facts["images"] == 512


def test_a_length_that_was_a_slip_can_be_taken_back(copied, tmp_path, said):
    before = json.loads((copied / "config.json").read_text())
    started = loang.api.start(out=copied, resume=True, budget="1000000 images")
    started.lock.release()
    assert json.loads((copied / "config.json").read_text()) != before
    found = loang.api.doctor(copied, count=16, device="cpu").findings
    assert "unfinished" in [finding.topic for finding in found]
    longer(copied, "512 images", display=said)
    assert said.about("Training is over.")
    assert json.loads((copied / "config.json").read_text()) == before
    assert "lengths" not in loang.load(copied).facts
