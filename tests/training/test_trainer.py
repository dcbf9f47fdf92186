"""The training step does what its settings say."""

import numpy as np
import pytest
import torch

from loang import build, presets
from loang.config import changed
from loang.data import Images, ImageSpec
from loang.training.trainer import Trainer

SPEC = ImageSpec(8, 8, 1, class_names=("a", "b", "c"))
TINY = (
    "network.width=8",
    "network.multipliers=1,1",
    "network.heads=1",
    "training.batch=8",
    "training.precision=float32",
)


def trainer(*changes, preset="quick"):
    rng = np.random.default_rng(0)
    images = Images(rng.integers(0, 256, (37, 8, 8, 1), np.uint8), SPEC, np.arange(37) % 3)
    tiny = TINY if preset == "quick" else ("training.batch=2",)
    settings = changed(presets.preset(preset), [*tiny, *changes])
    denoiser = build.build_denoiser(settings, SPEC)
    return Trainer(denoiser, images, settings, torch.device("cpu"))


def test_flips_mirror_half_of_the_images_left_to_right_and_change_nothing_else():
    plain, _ = trainer().batch(0, 370)
    flipped, _ = trainer("data.flips=true").batch(0, 370)
    mirrored = (flipped == plain.flip(3)).flatten(1).all(1)
    same = (flipped == plain).flatten(1).all(1)
    assert bool((mirrored ^ same).all())
    assert 0.35 < mirrored.float().mean() < 0.65


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_labels_are_hidden_as_often_as_asked_and_otherwise_kept(share):
    subject = trainer(f"training.label_dropout={share}")
    label = torch.arange(3).repeat(1000)
    hidden = subject._hide(label, step=4)
    gone = hidden == 3  # the index of "no label"
    assert torch.equal(hidden[~gone], label[~gone])
    assert gone.float().mean() == pytest.approx(share, abs=0.03)


def test_labels_belong_to_their_images():
    subject = trainer()
    x0, label = subject.batch(11, 37)
    pixels = (subject.images.pixels[:, :, :, 0] / 127.5 - 1).astype(np.float32)
    for image, of in zip(x0[:, 0].numpy(), label.tolist(), strict=True):
        which = np.flatnonzero(np.abs(pixels - image).max(axis=(1, 2)) < 1e-5)
        assert which.tolist()
        assert of in (which % 3)


def test_times_are_drawn_from_1_to_T_and_noise_anew_each_step():
    subject = trainer("schedule.steps=10", "sampling.steps=10")
    t, eps = subject.noise("train", 0, torch.arange(2000))
    assert set(t.tolist()) == set(range(1, 11))
    again, _ = subject.noise("train", 0, torch.arange(2000))
    later, other = subject.noise("train", 1, torch.arange(2000))
    assert torch.equal(t, again)
    assert not torch.equal(t, later)
    assert abs(float((eps * other).mean())) < 0.02


def weights(subject):
    return torch.cat([p.detach().flatten() for p in subject.denoiser.parameters()])


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


def test_validation_counts_every_image_once_and_is_always_the_same():
    subject = trainer()
    subject.step(0.0)
    whole = subject.validate(subject.images)
    assert subject.validate(subject.images) == whole
    assert subject.validate(subject.images, batch=7) == pytest.approx(whole, rel=1e-3)
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
