"""The objective: what each of its settings changes in a step, and what a checkpoint keeps of it."""

import pytest
import torch
from trainers import SPEC, trainer, weights

from loang import process
from loang.data import ImageSpec
from loang.training import inspection
from loang.training.checkpoint import snapshot
from loang.training.denoising import pixel_levels
from loang.training.memory import layer_bytes
from loang.training.objective import Moment

OBJECTIVES = {
    "stratified importance": ("training.levels=importance", "training.stratified=true"),
    "learnt weights": ("training.weighting=learned",),
    "learnt variances": ("denoiser.learn_variance=true", "training.weighting=min-snr"),
    "estimates in sight": ("network.self_conditioning=true",),
    "noises handed round": ("training.pairing=immiscible", "data.shifts=1"),
    "edm": (
        *("schedule.kind=edm", "denoiser.predicts=edm", "training.levels=log-normal"),
        "training.stratified=true",
    ),
    "flow": (
        *("schedule.kind=flow", "denoiser.predicts=flow", "training.levels=logit-normal"),
        "training.pairing=immiscible",
    ),
}


@pytest.mark.parametrize("changes", OBJECTIVES.values(), ids=OBJECTIVES)
def test_a_batch_in_parts_learns_the_same_of_every_objective(changes):
    whole = trainer(*changes, "optimizer.learning_rate=0.01", "optimizer.warm_up=0")
    parts = trainer(
        *changes,
        *("optimizer.learning_rate=0.01", "optimizer.warm_up=0", "training.micro_batch=3"),
    )
    for _ in range(2):
        one, other = whole.step(0.0), parts.step(0.0)
    torch.testing.assert_close(other.loss, one.loss, rtol=1e-4, atol=0)
    torch.testing.assert_close(other.gradient, one.gradient, rtol=1e-3, atol=0)
    kept, same = (subject.objective.tensors() for subject in (whole, parts))
    assert kept.keys() == same.keys()
    for name in kept:
        torch.testing.assert_close(same[name], kept[name], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("changes", OBJECTIVES.values(), ids=OBJECTIVES)
def test_every_objective_goes_on_from_what_a_checkpoint_keeps(changes):
    small = () if "schedule.kind" in changes[0] else ("schedule.steps=4", "sampling.steps=4")
    changes = (*changes, *small, "optimizer.warm_up=0")
    subject, again = trainer(*changes), trainer(*changes)
    for _ in range(12):
        subject.step(0.0)
    again.restore(snapshot(subject.checkpoint({})))
    subject.step(0.0)
    again.step(0.0)
    assert torch.equal(weights(again), weights(subject))
    kept, same = subject.objective.tensors(), again.objective.tensors()
    assert all(torch.equal(kept[name], same[name]) for name in kept)


@pytest.mark.parametrize("name", ["uncertainty", "importance/squares", "importance/counts"])
def test_what_an_objective_remembers_is_needed(name):
    way = "weighting=learned" if name == "uncertainty" else "levels=importance"
    changes = (f"training.{way}", "schedule.steps=4", "sampling.steps=4", "optimizer.warm_up=0")
    subject, again = trainer(*changes), trainer(*changes)
    for _ in range(12):
        subject.step(0.0)
    kept = snapshot(subject.checkpoint({}))
    kept.tensors["objective"][name].zero_()
    again.restore(kept)
    subject.step(0.0)
    again.step(0.0)
    assert not torch.equal(weights(again), weights(subject))


@pytest.mark.parametrize("changes", OBJECTIVES.values(), ids=OBJECTIVES)
def test_what_a_step_keeps_in_memory_is_measured_with_more_images_than_a_small_batch_has(changes):
    assert layer_bytes(trainer(*changes, "training.batch=1")) > 1000


def test_importance_draws_by_losses_within_a_run():
    subject = trainer(*OBJECTIVES["stratified importance"], "schedule.steps=4", "sampling.steps=4")
    for _ in range(12):
        subject.step(0.0)
    importance = subject.objective.importance
    assert int(importance.counts.sum()) == 12 * 8
    p = importance.probabilities
    assert float(p.max()) > 1.1 * float(p.min())
    size = importance.squares.mean(1).sqrt().double()
    torch.testing.assert_close(p, 0.999 * size / size.sum() + 0.001 / 4)


def test_the_reported_loss_is_that_of_uniform_levels_however_they_are_drawn():
    subject = trainer("training.levels=importance", "schedule.steps=4", "sampling.steps=4")
    for _ in range(12):
        subject.step(0.0)
    objective, numbers = subject.objective, torch.arange(8)
    drawn = objective.times(subject.progress.step, numbers).drawn
    loss = objective.loss(subject.moment, numbers)
    plain = objective.importance._seen[-1][1]  # noted without the importance's weight
    torch.testing.assert_close(loss.plain, (plain * drawn.weight).float())
    assert float((drawn.weight - 1).abs().max()) > 0.01


def test_learnt_weights_are_trained_beside_the_network_and_are_no_part_of_the_model():
    subject = trainer("training.weighting=learned", "optimizer.weight_decay=0.5")
    before = subject.objective.weighting.weight.detach().clone()
    subject.step(0.0)
    assert not torch.equal(subject.objective.weighting.weight, before)
    of_own = subject.optimizer.param_groups[1]
    assert of_own["weight_decay"] == 0
    assert of_own["lr"] == subject.optimizer.param_groups[0]["lr"]
    kept = subject.checkpoint({}).tensors
    assert set(kept["objective"]) == {"uncertainty"}
    assert "objective/uncertainty/exp_avg" in kept["optimizer"]
    assert kept["model"].keys() == trainer().checkpoint({}).tensors["model"].keys()
    inspection.check_tensors(kept)
    kept["objective"]["uncertainty"] = torch.zeros(3)
    with pytest.raises(ValueError, match="of no weight"):
        inspection.check_tensors(kept)
    with pytest.raises(RuntimeError, match="another shape"):
        subject.objective.restore(kept["objective"])
    with pytest.raises(KeyError):
        subject.objective.restore({})


def seen_by(subject):
    """What the network is shown, a list that grows."""
    shown = []
    subject.denoiser.network.register_forward_pre_hook(
        lambda _, given, named: shown.append((given[0].detach(), named)), with_kwargs=True
    )
    return shown


def test_half_of_the_images_see_the_estimate_of_a_first_pass_and_the_rest_none():
    subject = trainer("network.self_conditioning=true", "training.batch=256")
    shown = seen_by(subject)
    subject.step(0.0)
    (first, told), (second, later) = shown
    assert "given" not in told
    some = (later["given"] != 0).flatten(1).any(1)
    assert 0.4 < float(some.float().mean()) < 0.6
    assert torch.equal(second[some], first)
    assert float(later["given"].abs().max()) <= 1
    # It was computed from the same x_t, times and labels, with the weights before the step.
    fresh = trainer("network.self_conditioning=true", "training.batch=256")
    objective, numbers = fresh.objective, torch.arange(256)
    x0, label, _ = fresh.batch(0, 256)
    t, eps = objective.times(0, numbers).t, objective.noise("train", 0, numbers)
    x_t = process.diffuse(fresh.denoiser.schedule, x0, t, eps)
    label = objective.hidden(label, 0, numbers)
    with torch.no_grad():
        expected = fresh.denoiser(x_t[some], t[some], label[some]).x0
    torch.testing.assert_close(later["given"][some], expected, rtol=1e-4, atol=1e-5)


def test_other_images_see_an_estimate_at_each_step():
    subject = trainer("network.self_conditioning=true", "training.batch=64")
    shown = seen_by(subject)
    subject.step(0.0)
    subject.step(0.0)
    one, other = ((each[1]["given"] != 0).flatten(1).any(1) for each in shown[1::2])
    assert not torch.equal(one, other)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_first_pass_takes_no_gradient_and_none_away(precision):
    subject = trainer("network.self_conditioning=true", f"training.precision={precision}")
    subject.gradients()
    without = [
        name for name, parameter in subject.denoiser.named_parameters() if parameter.grad is None
    ]
    assert without == []


def test_pairing_hands_the_noises_of_the_batch_round_and_changes_nothing_else():
    plain, subject = (
        trainer("training.batch=32"),
        trainer("training.batch=32", "training.pairing=immiscible"),
    )
    of_plain, of_subject = seen_by(plain), seen_by(subject)
    plain.step(0.0)
    subject.step(0.0)
    objective, numbers = subject.objective, torch.arange(32)
    examples, moment = plain.batch(0, 32), Moment(0, 0, 0.0)
    order = objective.noises(moment, numbers, examples)
    assert order.tolist() != numbers.tolist()
    assert torch.equal(examples.label[order], examples.label)
    eps = objective.noise("train", 0, numbers)
    t = objective.times(0, numbers).t
    schedule = subject.denoiser.schedule
    for seen, noise in ((of_plain, eps), (of_subject, eps[order])):
        torch.testing.assert_close(
            seen[0][0], process.diffuse(schedule, examples.x0, t, noise), rtol=1e-5, atol=1e-6
        )
    # Another step has other pairs, and validation has none.
    assert not torch.equal(
        objective.noises(Moment(1, 32, 0.0), numbers, subject.batch(32, 32)), order
    )
    assert subject.validate(subject.images) != plain.validate(plain.images)
    fresh = [trainer(*c).validate(subject.images) for c in ((), ("training.pairing=immiscible",))]
    assert fresh[0] == fresh[1]


def test_noises_are_paired_within_what_the_network_is_told():
    """Of the label and of the change: else it would be told of the noise by them."""
    subject = trainer(
        *("training.batch=32", "training.pairing=immiscible", "data.flips=true", "data.told=true")
    )
    examples = subject.batch(0, 32)
    assert len(examples.told.unique(dim=0)) > 1
    order = subject.objective.noises(Moment(0, 0, 0.0), torch.arange(32), examples)
    assert order.tolist() != list(range(32))
    assert torch.equal(examples.label[order], examples.label)
    assert torch.equal(examples.told[order], examples.told)


@pytest.mark.parametrize(
    "changes",
    [
        ("training.weighting=vlb",),
        ("training.weighting=learned", "training.stratified=true"),
        ("training.levels=importance",),
        ("training.levels=log-normal",),
        ("training.pairing=immiscible",),
        ("training.label_dropout=0.9",),
    ],
)
def test_validation_does_not_depend_on_how_levels_are_drawn_and_weighted(changes):
    subject = trainer(*changes)
    assert subject.validate(subject.images) == trainer().validate(subject.images)


def test_validation_of_a_schedule_of_real_time_looks_where_training_does():
    edm = ("schedule.kind=edm", "denoiser.predicts=edm")
    wide, narrow = trainer(*edm), trainer(*edm, "training.levels=log-normal")
    assert wide.validate(wide.images) != narrow.validate(narrow.images)


def test_the_levels_of_a_pixel_are_those_of_its_depth_and_range():
    assert pixel_levels(SPEC) == 256
    assert pixel_levels(ImageSpec(8, 8, 1, low=10, high=25)) == 16
    assert pixel_levels(ImageSpec(8, 8, 1, "uint16", 0, 65535)) == 65536
    assert pixel_levels(ImageSpec(8, 8, 1, "float32", 0, 1)) == 256
