import numpy as np
import pytest
import torch

from loang.data.images import Images
from loang.data.spec import ImageSpec
from loang.metrics.features.encoder import Encoder, EncoderSettings, fresh
from loang.metrics.features.learn import Recipe, contrast, learn_classes, learn_views, one_cycle

SETTINGS = EncoderSettings(channels=1, classes=2, dimension=8, widths=(4, 8, 8))


def stripes(count: int, seed: int = 0) -> Images:
    """Class 0 is striped across, class 1 downwards; phase, contrast and noise differ."""
    draw = np.random.Generator(np.random.Philox(seed))
    labels = np.arange(count) % 2
    phase = draw.uniform(0, 2 * np.pi, (count, 1, 1))
    wave = np.sin(np.arange(12) * 1.5 + phase) * draw.uniform(0.3, 1, (count, 1, 1))
    across = np.broadcast_to(wave.transpose(0, 2, 1), (count, 12, 12))
    down = np.broadcast_to(wave, (count, 12, 12))
    pictures = np.where(labels[:, None, None] == 0, across, down)
    noisy = 128 + 90 * pictures + draw.normal(0, 12, pictures.shape)
    pixels = noisy.clip(0, 255).astype(np.uint8)[..., np.newaxis]
    spec = ImageSpec(12, 12, 1, class_names=("across", "down"))
    return Images(pixels, spec, labels.astype(np.int64))


def same(a: Encoder, b: Encoder) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


def test_the_rate_rises_and_falls_in_straight_lines() -> None:
    rates = [one_cycle(share, 0.2) for share in (0.0, 0.1, 0.2, 0.6, 1.0)]
    assert rates == pytest.approx([0, 0.5, 1, 0.5, 0])


def test_a_classifier_learns_and_the_same_again() -> None:
    recipe = Recipe(images=1280, batch=32)
    state = torch.random.get_rng_state()
    calls: list[tuple[int, int]] = []
    first = learn_classes(
        fresh(SETTINGS, seed=0),
        stripes(200),
        recipe,
        seed=0,
        on_step=lambda done, total: calls.append((done, total)),
    )
    assert calls == [(step, 40) for step in range(1, 41)]
    again = learn_classes(fresh(SETTINGS, seed=0), stripes(200), recipe, seed=0)
    assert same(first, again)
    assert torch.equal(state, torch.random.get_rng_state())
    unseen = stripes(200, seed=1)
    x = torch.from_numpy(unseen.pixels).permute(0, 3, 1, 2) / 127.5 - 1
    assert first.head is not None
    with torch.no_grad():
        found = first.head(first(x)).argmax(1).numpy()
    assert (found == unseen.labels).mean() > 0.97


def test_the_average_is_that_of_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights of steps 1, 2, 3 with factors min(0.998, (1 + step) / (10 + step)), step from 0."""
    from loang.metrics.features import learn

    seen = []
    follow = learn._follow

    def watch(average: Encoder, encoder: Encoder, factor: float) -> None:
        weights = next(encoder.parameters()).detach().clone()
        seen.append((weights, next(average.parameters()).detach().clone()))
        follow(average, encoder, factor)

    monkeypatch.setattr(learn, "_follow", watch)
    recipe = Recipe(images=48, batch=16)
    found = learn_classes(fresh(SETTINGS, seed=0), stripes(40), recipe, seed=0)
    expected = seen[0][1]
    for step, (weights, _) in enumerate(seen):
        factor = (1 + step) / (10 + step)
        expected = factor * expected + (1 - factor) * weights
    torch.testing.assert_close(next(found.parameters()).detach(), expected)


def test_views_need_no_head_and_classes_do() -> None:
    with pytest.raises(ValueError, match="head"):
        learn_classes(
            fresh(EncoderSettings(channels=1), seed=0), stripes(8), Recipe(images=8), seed=0
        )


def test_without_labels_only_the_images_matter() -> None:
    settings = EncoderSettings(channels=1, dimension=8, widths=(4, 8, 8))
    images = stripes(40)
    unlabelled = Images(images.pixels, images.spec)
    recipe = Recipe(images=64, batch=16, rate=2e-3, width=16)
    found = [learn_views(fresh(settings, seed=0), i, recipe, seed=0) for i in (images, unlabelled)]
    assert same(*found)
    assert all(bool(value.isfinite().all()) for value in found[0].parameters())


def test_contrast_is_its_formula() -> None:
    draw = np.random.Generator(np.random.Philox(0))
    a, b = draw.normal(size=(2, 5, 3))
    views = np.concatenate((a, b))
    views = views / np.linalg.norm(views, axis=1, keepdims=True)
    expected = 0.0
    for i in range(10):
        others = [j for j in range(10) if j != i]
        similar = {j: np.exp(views[i] @ views[j] / 0.5) for j in others}
        expected -= np.log(similar[(i + 5) % 10] / sum(similar.values())) / 10
    found = contrast(torch.tensor(a), torch.tensor(b), temperature=0.5)
    assert float(found) == pytest.approx(expected)


def test_contrast_is_small_where_views_are_known_and_large_where_they_are_mistaken() -> None:
    known = torch.eye(8)
    assert float(contrast(known, known)) < 0.1
    assert float(contrast(known, known.roll(1, 0))) > 5.0
