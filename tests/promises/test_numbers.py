"""A loss or gradient that is no number never reaches the weights, a checkpoint or a model file."""

import json
import math
import shutil

import pytest
import torch
from faults import FullFor
from safetensors.torch import load_file

import loang
from loang import files
from loang.errors import LoangError
from loang.training import checkpoint
from loang.training.folder import checkpoint_steps
from loang.training.trainer import Step, Trainer
from loang.training.watch import FEWEST, LOOK, SPIKE, Watch

pytestmark = pytest.mark.usefixtures("unchecked_signatures", "asked_for")


@pytest.fixture
def break_steps(monkeypatch):
    """The gradients of so many steps from one on become NaN, as often as is asked."""

    def break_them(first, count, times=1):
        whole = Trainer._gradients
        left = count * times

        def gradients(self, *part):
            nonlocal left
            loss = whole(self, *part)
            if left and first <= self.progress.step + 1 < first + count:
                left -= 1
                next(self.denoiser.parameters()).grad.fill_(math.nan)
            return loss

        monkeypatch.setattr(Trainer, "_gradients", gradients)

    return break_them


def train(pictures, tiny, out, said, *changes, images=1024):
    return loang.train(
        pictures, out=out, budget=f"{images} images", changes=[*tiny, *changes], display=said
    )


def log(run):
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def all_finite(run):
    files = [run / "model.safetensors", *(run / "checkpoints").glob("step-*/*.safetensors")]
    files = [file for file in files if file.exists()]
    return all(bool(t.isfinite().all()) for file in files for t in load_file(file).values())


def test_a_few_bad_steps_are_skipped_counted_and_told(pictures, tiny, tmp_path, said, break_steps):
    break_steps(first=20, count=4)
    train(pictures, tiny, tmp_path / "run", said)
    assert sum(record.get("skipped", 0) for record in log(tmp_path / "run")) == 4
    assert said.about("4 updates were skipped up to step")
    assert not said.about("Going back")
    assert all_finite(tmp_path / "run")
    newest = tmp_path / "run" / "checkpoints" / "step-00000064"
    progress = json.loads((newest / "state.json").read_text())["progress"]
    assert (progress["skipped"], progress["returns"]) == (4, 0)


def test_many_in_a_row_bring_back_the_last_checkpoint_with_half_the_rate(
    pictures, tiny, tmp_path, said, break_steps
):
    break_steps(first=20, count=13)
    model = train(pictures, tiny, tmp_path / "run", said)
    assert said.about("from step 20 on, loss or gradient is no number. Going back to step 16")
    records = log(tmp_path / "run")
    at = next(i for i, record in enumerate(records) if record.get("event") == "return")
    assert records[at]["learning_rate"] == 0.0005
    rates = [record["learning_rate"] for record in records[at + 1 :] if "loss" in record]
    assert rates
    assert max(rates) <= 0.0005
    # No step stands in the log twice, and the run came to its end.
    steps = [record["step"] for record in records if "loss" in record]
    assert steps == sorted(set(steps))
    assert model.facts["steps"] == 64
    assert all_finite(tmp_path / "run")


def test_without_a_checkpoint_it_goes_back_to_the_first_weights(
    pictures, tiny, tmp_path, said, break_steps
):
    break_steps(first=4, count=13)
    model = train(pictures, tiny, tmp_path / "run", said)
    assert said.about("from step 4 on, loss or gradient is no number. Going back to step 0")
    assert model.facts["steps"] == 64


def test_what_goes_wrong_again_and_again_ends_with_a_diagnosis(
    pictures, tiny, tmp_path, said, break_steps
):
    run = tmp_path / "run"
    break_steps(first=20, count=40, times=9)
    with pytest.raises(LoangError) as told:
        train(pictures, tiny, run, said)
    assert len(said.about("Going back to step 16")) == 3
    for words in ("From step 20 on", "3 returns", "largest gradient before", "at step"):
        assert words in told.value.problem
    parameter = told.value.problem.partition("fails first in ")[2].split(". The")[0]
    assert parameter in load_file(run / "model.safetensors")
    assert "optimizer.learning_rate=6.25e-05" in told.value.remedy
    assert checkpoint_steps(run / "checkpoints") == [16]
    assert all_finite(run)
    loang.load(run).sample(1)


def test_a_learning_rate_that_no_network_stands_is_told_and_nothing_bad_is_saved(
    pictures, tiny, tmp_path, said
):
    """Nothing is put in: the weights really explode."""
    run = tmp_path / "run"
    with pytest.raises(LoangError, match="it is not the images"):
        train(
            pictures, tiny, run, said, "optimizer.learning_rate=1e25", "training.precision=float32"
        )
    assert len(said.about("Going back to step")) == 3
    assert all_finite(run)


def step(loss, gradient=1.0):
    return Step(torch.tensor(loss), torch.tensor(gradient))


def watched(*losses):
    watch = Watch()
    for number, loss in enumerate(losses, 1):
        watch.add(number, step(loss))
    watch.catch_up()
    return watch


def test_a_jump_of_the_loss_is_told_once_and_again_after_it_calmed():
    usual, high = [0.1] * (FEWEST + LOOK), [0.1 * SPIKE * 1.1] * LOOK
    assert watched(*usual).spike() is None
    watch = watched(*usual, *high)
    spike = watch.spike()
    assert spike.before == pytest.approx(0.1)
    assert spike.after == pytest.approx(0.1 * SPIKE * 1.1)
    assert watch.spike() is None
    for number, loss in enumerate([0.1] * 500, 1000):
        watch.add(number, step(loss))
    watch.catch_up()
    assert watch.spike() is None
    for number, loss in enumerate([0.5] * LOOK, 2000):
        watch.add(number, step(loss))
    watch.catch_up()
    assert watch.spike() is not None


def test_the_fall_of_the_loss_at_the_start_and_its_usual_spread_are_no_jump():
    generator = torch.Generator().manual_seed(0)
    falling = [1.0 * 0.9**i + 0.05 for i in range(100)]
    assert watched(*falling).spike() is None
    spread = (torch.rand(400, generator=generator) * 0.2).tolist()
    for end in range(LOOK, 400, LOOK):
        assert watched(*spread[:end]).spike() is None


def test_only_steps_in_a_row_count_and_each_is_counted_once():
    watch = watched(0.1, math.nan, math.nan, 0.1, math.inf)
    assert (watch.in_a_row, watch.since) == (1, 5)
    assert watch.take_losses() == pytest.approx([0.1, 0.1])
    assert watch.take_skipped() == 3
    assert watch.take_skipped() == 0
    watch.add(6, step(0.1, gradient=math.inf))
    watch.catch_up()
    assert (watch.in_a_row, watch.since) == (2, 5)


def test_no_checkpoint_is_made_in_the_midst_of_what_goes_wrong(
    pictures, tiny, tmp_path, said, break_steps
):
    """Step 32 has a report, and three bad steps before it: it would be no place to go back to."""
    break_steps(first=30, count=19)
    train(pictures, tiny, tmp_path / "run", said)
    assert said.about("from step 30 on, loss or gradient is no number. Going back to step 16")
    assert checkpoint_steps(tmp_path / "run" / "checkpoints") == [16, 32, 48, 64]


def test_a_validation_without_a_number_spoils_no_checkpoint(
    pictures, tiny, tmp_path, said, monkeypatch
):
    monkeypatch.setattr(Trainer, "validate", lambda self, images: math.inf)
    train(pictures, tiny, tmp_path / "run", said)
    assert said.about("can't be validated: With the averaged weights the loss is no number.")
    assert checkpoint.load_newest(tmp_path / "run" / "checkpoints")[2] == []


@pytest.mark.parametrize("rate", ["1e4", "1e12"])
def test_losses_that_are_huge_but_numbers_are_saved_and_read_again(
    pictures, tiny, tmp_path, said, rate
):
    """Nothing is put in: such rates give losses far beyond what whole numbers can be."""
    run = tmp_path / "run"
    changes = (f"optimizer.learning_rate={rate}", "training.precision=float32")
    try:
        train(pictures, tiny, run, said, *changes)
    except LoangError as error:
        assert "did not help" in error.problem  # noqa: PT017 (either end is right)
    if checkpoint_steps(run / "checkpoints"):
        assert checkpoint.load_newest(run / "checkpoints")[2] == []


def test_a_jump_of_the_loss_is_told_and_logged_by_a_run(
    pictures, tiny, tmp_path, said, monkeypatch
):
    step = Trainer.step

    def jumping(self, share):
        seen = step(self, share)
        return seen._replace(loss=seen.loss * (10 if self.progress.step > 96 else 1))

    monkeypatch.setattr(Trainer, "step", jumping)
    train(pictures, tiny, tmp_path / "run", said, images=2048)
    (line,) = said.about("the loss has jumped from")
    assert "around step 112" in line
    (event,) = [record for record in log(tmp_path / "run") if record.get("event") == "spike"]
    assert event["after"] > 3 * event["before"]


def test_after_a_return_a_full_disk_or_a_resume_changes_nothing(
    pictures, tiny, tmp_path, said, break_steps, monkeypatch
):
    run = tmp_path / "run"
    break_steps(first=20, count=13)
    # The log can't be cut, as the disk is full just then.
    monkeypatch.setattr(files, "os", FullFor(run / ".log.jsonl", 1))
    train(pictures, tiny, run, said)
    assert said.about("The log can't be written, and waits")
    shutil.rmtree(run / "checkpoints" / "step-00000064")
    shutil.rmtree(run / "checkpoints" / "step-00000048")
    loang.train(out=run, resume=True)
    last = [record for record in log(run) if "learning_rate" in record and "loss" in record]
    assert all(record["learning_rate"] <= 0.0005 for record in last if record["step"] > 32)
    state = json.loads((run / "checkpoints" / "step-00000064" / "state.json").read_text())
    assert state["progress"]["returns"] == 1
    assert state["progress"]["skipped"] == 13
