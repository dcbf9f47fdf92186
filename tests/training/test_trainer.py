"""The training step does what its settings say."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from trainers import SPEC, TINY, trainer, weights

from loang import build, presets
from loang.config import changed
from loang.data import Images
from loang.data.scaling import to_model
from loang.errors import LoangError
from loang.training.examination import examine
from loang.training.feed import Feed
from loang.training.memory import images_that_fit, layer_bytes
from loang.training.trainer import Trainer


def test_flips_mirror_half_of_the_images_left_to_right_and_change_nothing_else():
    plain = trainer().batch(0, 370).x0
    flipped = trainer("data.flips=true").batch(0, 370).x0
    mirrored = (flipped == plain.flip(3)).flatten(1).all(1)
    same = (flipped == plain).flatten(1).all(1)
    assert bool((mirrored ^ same).all())
    assert 0.35 < mirrored.float().mean() < 0.65


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_labels_are_hidden_as_often_as_asked_and_otherwise_kept(share):
    subject = trainer(f"training.label_dropout={share}")
    label = torch.arange(3).repeat(1000)
    hidden = subject.objective.hidden(label, 4, torch.arange(len(label)))
    gone = hidden == 3  # the index of "no label"
    assert torch.equal(hidden[~gone], label[~gone])
    assert gone.float().mean() == pytest.approx(share, abs=0.03)


def test_labels_belong_to_their_images():
    subject = trainer()
    x0, label, _ = subject.batch(11, 37)
    pixels = (subject.images.pixels[:, :, :, 0] / 127.5 - 1).astype(np.float32)
    for image, of in zip(x0[:, 0].numpy(), label.tolist(), strict=True):
        which = np.flatnonzero(np.abs(pixels - image).max(axis=(1, 2)) < 1e-5)
        assert which.tolist()
        assert of in (which % 3)


def test_times_are_drawn_from_1_to_T_and_noise_anew_each_step():
    subject = trainer("schedule.steps=10", "sampling.steps=10")
    objective, numbers = subject.objective, torch.arange(2000)
    t, eps = objective.times(0, numbers).t, objective.noise("train", 0, numbers)
    assert set(t.tolist()) == set(range(1, 11))
    again = objective.times(0, numbers).t
    later, other = objective.times(1, numbers).t, objective.noise("train", 1, numbers)
    assert torch.equal(t, again)
    assert not torch.equal(t, later)
    assert abs(float((eps * other).mean())) < 0.02


def moved(subject, share=0.0, steps=1):
    before = weights(subject)
    for _ in range(steps):
        subject.step(share)
    return float((weights(subject) - before).abs().max())


def test_the_learning_rate_follows_warm_up_and_budget():
    # Adam's first step moves each weight by the learning rate, whatever the gradient.
    rate = "optimizer.learning_rate=0.01"
    whole = moved(trainer(rate, "optimizer.warm_up=0"))
    assert whole == pytest.approx(0.01, rel=1e-2)
    assert moved(trainer(rate, "optimizer.warm_up=10")) == pytest.approx(whole / 10, rel=1e-2)
    half = trainer(rate, "optimizer.warm_up=0", "optimizer.decay_from=0.5")
    assert moved(half, share=0.75) == pytest.approx(whole / 2, rel=1e-2)
    assert moved(trainer(rate, "optimizer.warm_up=0"), share=1.0) == 0


def test_gradients_are_clipped_to_the_norm():
    subject = trainer("optimizer.clip_norm=0.001")
    subject.step(0.0)
    gradients = [p.grad.flatten() for p in subject.denoiser.parameters() if p.grad is not None]
    assert float(torch.cat(gradients).norm()) == pytest.approx(0.001, rel=1e-3)
    free = trainer("optimizer.clip_norm=null")
    free.step(0.0)
    gradients = [p.grad.flatten() for p in free.denoiser.parameters() if p.grad is not None]
    assert float(torch.cat(gradients).norm()) > 0.01


def test_the_weighting_reaches_the_gradient():
    ends = [weights_after(f"training.weighting={kind}") for kind in ("simple", "vlb", "min-snr")]
    assert not torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], ends[2])


def weights_after(*changes):
    subject = trainer(*changes)
    for _ in range(3):
        subject.step(0.0)
    return weights(subject)


def test_the_tutorial_decays_weights_by_1e_4_a_step_as_the_articles_optimizer_does():
    """tensorflow_addons subtracts weight_decay * w, without the learning rate."""
    subject = trainer(preset="tutorial")
    for parameter in subject.denoiser.parameters():
        parameter.grad = torch.zeros_like(parameter)
    before = weights(subject)
    subject.optimizer.step()
    torch.testing.assert_close(weights(subject), before * (1 - 1e-4), rtol=1e-6, atol=1e-9)


def test_validation_takes_fewer_images_where_each_takes_more_looks(monkeypatch):
    subject = trainer()
    monkeypatch.setattr("loang.training.validation.LEAST_VALIDATED", 12)
    asked = []
    subject.objective.looks = 3
    subject.objective.error = lambda x0, _, numbers: asked.extend(numbers) or x0[:, 0, 0, 0]
    expected = to_model(subject.images[np.arange(0, 37, 3)], SPEC)[:, 0, 0, 0].mean()
    assert subject.validate(subject.images) == pytest.approx(float(expected))
    assert [int(number) for number in asked] == list(range(0, 37, 3))
    assert len(subject.validated(subject.images)) == 13
    monkeypatch.setattr("loang.training.validation.LEAST_VALIDATED", 256)
    assert len(subject.validated(subject.images)) == 37


def test_validation_counts_every_image_once_and_is_always_the_same():
    subject = trainer()
    subject.step(0.0)
    whole = subject.validate(subject.images)
    assert subject.validate(subject.images) == whole
    subject.micro_batch = 2  # then it takes 8 at once
    assert subject.validate(subject.images) == pytest.approx(whole, rel=1e-3)
    assert subject.denoiser.training


def test_the_average_is_lent_and_the_weights_given_back_bit_for_bit():
    subject = trainer()
    for _ in range(5):
        subject.step(0.0)
    own = weights(subject)
    with subject.averaged():
        average = torch.cat(
            [
                subject.ema.tensors[name].flatten()
                for name, _ in subject.denoiser.network.named_parameters()
            ]
        )
        assert torch.equal(weights(subject), average)
        assert not torch.equal(average, own)
    assert torch.equal(weights(subject), own)


def gradients(subject):
    subject._gradients()
    return torch.cat([p.grad.flatten() for p in subject.denoiser.parameters()])


@pytest.mark.parametrize("micro_batch", [1, 3, 4, 100])
def test_a_batch_in_parts_gives_the_gradients_of_the_whole_to_rounding(micro_batch):
    whole = trainer("data.flips=true", "training.label_dropout=0.5")
    parts = trainer(
        "data.flips=true", "training.label_dropout=0.5", f"training.micro_batch={micro_batch}"
    )
    expected = gradients(whole)
    torch.testing.assert_close(gradients(parts), expected, rtol=1e-4, atol=1e-7)
    assert parts.micro_batch == min(micro_batch, 8)
    # Not by chance: another step has other gradients.
    whole.progress.step += 1
    assert not torch.allclose(gradients(whole), expected, rtol=1e-2)


def test_dropout_depends_on_the_step_and_on_nothing_else():
    first, again = trainer("network.dropout=0.5"), trainer("network.dropout=0.5")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        before = torch.get_rng_state()
        expected = gradients(first)
        assert torch.equal(torch.get_rng_state(), before)
        torch.manual_seed(2)
        assert torch.equal(gradients(again), expected)
    again.progress.step += 1
    again.progress.images = 0
    assert not torch.allclose(gradients(again), expected)


def broken(subject, numbers):
    """The loss of the steps of these numbers is NaN."""
    whole = subject._gradients

    def gradients():
        loss = whole()
        if subject.progress.step + 1 in numbers:
            for parameter in subject.denoiser.parameters():
                parameter.grad.fill_(float("nan"))
            return loss * float("nan")
        return loss

    subject._gradients = gradients
    return subject


STEPS = pytest.mark.parametrize("how", ["asked", "ahead, as on a GPU", "not fused"])


def arrange(subject, how):
    subject.ahead = how == "ahead, as on a GPU"
    for group in subject.optimizer.param_groups:
        group["fused"] = how != "not fused"


@STEPS
def test_a_step_without_a_number_changes_neither_weights_nor_moments(how):
    subject = broken(trainer("optimizer.warm_up=0"), {3, 4})
    arrange(subject, how)
    for _ in range(2):
        subject.step(0.0)
    before = weights(subject), moments(subject)
    for _ in range(2):
        step = subject.step(0.0)
        assert not torch.isfinite(step.loss)
    assert torch.equal(weights(subject), before[0])
    assert all(map(torch.equal, moments(subject), before[1]))
    assert subject.progress.step == 4
    assert subject.progress.images == 32
    assert torch.isfinite(subject.step(0.0).loss)
    assert not torch.equal(weights(subject), before[0])


def moments(subject):
    return [value.clone() for state in subject.optimizer.state.values() for value in state.values()]


@STEPS
def test_a_gradient_without_a_number_of_what_is_trained_beside_is_told_and_changes_nothing(how):
    subject = trainer(
        *("training.objective=consistency", "distillation.steps=2", "optimizer.warm_up=0"),
        "distillation.matched_from=0",
    )
    arrange(subject, how)
    tracker = subject.objective.parameters()
    own = subject._gradients

    def gradients(part=None):
        loss = own(part)
        next(iter(tracker.values())).grad.fill_(float("inf"))
        return loss

    def learnt():
        return torch.cat([each.detach().flatten() for each in tracker.values()])

    subject.step(0.0)
    before = weights(subject), learnt(), moments(subject)
    subject._gradients = gradients
    step = subject.step(0.0)
    assert torch.isfinite(step.loss)
    assert not torch.isfinite(step.gradient)
    assert torch.equal(weights(subject), before[0])
    assert torch.equal(learnt(), before[1])
    assert all(map(torch.equal, moments(subject), before[2]))
    subject._gradients = own
    assert torch.isfinite(subject.step(0.0).gradient)
    assert not torch.equal(learnt(), before[1])


def test_the_learning_rate_is_halved_at_each_return():
    rates = []
    for returns in range(3):
        subject = trainer("optimizer.warm_up=0")
        subject.progress.returns = returns
        subject.step(0.0)
        rates.append(subject.optimizer.param_groups[0]["lr"])
    assert rates == [0.001, 0.0005, 0.00025]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate"
            " memory: you tried to allocate 90 bytes. Error code 12"
        ),
        MemoryError(),
    ],
)
def test_out_of_memory_halves_the_images_at_once_and_changes_the_step_by_rounding_only(error):
    roomy, tight = trainer("optimizer.warm_up=0"), trainer("optimizer.warm_up=0")
    whole = tight._gradients
    asked = []

    def gradients():
        asked.append(tight.micro_batch)
        if tight.micro_batch > 2:
            raise error
        return whole()

    tight._gradients = gradients
    loss = tight.step(0.0).loss
    assert asked == [8, 4, 2]
    torch.testing.assert_close(loss, roomy.step(0.0).loss, rtol=1e-5, atol=0)
    torch.testing.assert_close(weights(tight), weights(roomy), rtol=0, atol=1e-4)
    tight.step(0.0)
    assert asked == [8, 4, 2, 2]


def test_when_not_even_one_image_fits_a_person_is_told():
    subject = trainer()
    subject._gradients = lambda: (_ for _ in ()).throw(MemoryError())
    with pytest.raises(LoangError, match=r"not enough memory .* single image.*--size"):
        subject.step(0.0)


def test_an_error_that_is_not_of_memory_is_not_hidden():
    subject = trainer()
    subject._gradients = lambda: (_ for _ in ()).throw(RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="do not match"):
        subject.step(0.0)


def test_an_examination_names_the_images_that_give_no_number():
    subject = trainer("training.batch=5")
    spec = replace(SPEC, depth="float32", low=0.0, high=1.0)
    pixels = np.random.default_rng(0).random((37, 8, 8, 1), np.float32)
    pixels[11] = np.nan
    labels = subject.images.labels
    subject.source.feed = Feed(Images(pixels, spec, labels), torch.device("cpu"))
    seen = {}
    for step in range(1, 9):
        found = examine(subject, step)
        assert len(found.rows) == 5
        seen[step] = found
        assert found.bad == ([11] if 11 in found.rows else [])
    assert any(found.bad for found in seen.values())
    assert subject.progress.step == 0


def test_the_images_that_fit_in_memory_are_the_batchs_halves_until_it_is_enough():
    subject = trainer("training.batch=64")
    one = layer_bytes(subject)
    assert one > 4 * 64  # more than the image itself
    weights_bytes = 16 * sum(p.numel() for p in subject.denoiser.parameters())
    for images, expected in ((100, 64), (60, 32), (20, 16), (3, 2), (0.1, 1), (-5, 1)):
        free = weights_bytes + round(1.15 * one * images)
        assert images_that_fit(subject, free) == expected


def test_what_layers_keep_grows_with_the_image():
    def kept(side):
        spec = replace(SPEC, height=side, width=side)
        images = Images(np.zeros((4, side, side, 1), np.uint8), spec, np.zeros(4, np.int64))
        settings = changed(
            presets.preset("quick"), [*TINY, "network.attention=[]", "network.fold=2"]
        )
        subject = Trainer(
            build.build_denoiser(settings, spec), images, settings, torch.device("cpu")
        )
        return layer_bytes(subject)

    assert 3 < kept(32) / kept(16) < 5
