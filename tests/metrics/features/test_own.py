from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from loang.data.fingerprint import fingerprint
from loang.data.images import Dataset, Images
from loang.data.spec import ImageSpec
from loang.errors import LoangError
from loang.metrics.features import own
from loang.metrics.features.own import own_features, shrinking

KINDS = ("disc", "square", "cross")


def shapes(count: int, seed: int, *, side: int = 16, labels: bool = True) -> Images:
    """Discs, squares and crosses of any place, size and grey, on noise."""
    draw = np.random.Generator(np.random.Philox(seed))
    kinds = np.arange(count) % 3
    y, x = np.mgrid[:side, :side] / side
    pictures = np.empty((count, side, side))
    for number, kind in enumerate(kinds):
        centre, radius = draw.uniform(0.35, 0.65, 2), draw.uniform(0.2, 0.32)
        down, right = np.abs(y - centre[0]), np.abs(x - centre[1])
        inside = (
            np.hypot(down, right) < radius,
            np.maximum(down, right) < 0.9 * radius,
            (np.minimum(down, right) < 0.07) & (np.maximum(down, right) < radius),
        )[kind]
        pictures[number] = 60 + inside * draw.uniform(80, 160)
    noisy = pictures + draw.normal(0, 10, pictures.shape)
    pixels = noisy.clip(0, 255).astype(np.uint8)[..., np.newaxis]
    spec = ImageSpec(side, side, 1, class_names=KINDS if labels else ())
    return Images(pixels, spec, kinds.astype(np.int64) if labels else None)


def dataset(count: int = 300, *, side: int = 16, labels: bool = True) -> Dataset:
    train = shapes(count, 0, side=side, labels=labels)
    validation = shapes(150, 1, side=side, labels=labels)
    return Dataset("shapes", train, validation, fingerprint(train, validation))


def probe(features: own.NetworkFeatures, data: Dataset) -> float:
    """The accuracy of least squares on the features: fitted to the training images, held out."""
    kinds = [np.arange(len(part)) % 3 for part in (data.train, data.validation)]
    x, held_out = (features(part.pixels, part.spec) for part in (data.train, data.validation))
    mean, deviation = x.mean(0), x.std(0) + 1e-3
    x, held_out = (np.c_[(f - mean) / deviation, np.ones(len(f))] for f in (x, held_out))
    ridge = x.T @ x + 1e-1 * np.eye(x.shape[1])
    weights = np.linalg.solve(ridge, x.T @ np.eye(3)[kinds[0]])
    return float(((held_out @ weights).argmax(1) == kinds[1]).mean())


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "LEAST_SEEN", 3000)
    monkeypatch.setattr(own, "EPOCHS", 1)


def kept() -> list[Path]:
    return sorted((own.cache_folder() / "features").glob("*"))


def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("it was trained again")

    monkeypatch.setattr(own, "learn_classes", refuse)
    monkeypatch.setattr(own, "learn_views", refuse)


def test_with_labels_it_classifies_and_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    data = dataset()
    calls: list[tuple[int, int]] = []
    features = own_features(data, on_step=lambda done, total: calls.append((done, total)))
    assert calls[-1][0] == calls[-1][1] == len(calls)
    assert features.about["learned"] == "classes"
    found = features.classify(data.validation.pixels, data.spec)
    assert found is not None
    accuracy = float((found == data.validation.labels).mean())
    assert features.about["accuracy"] == pytest.approx(accuracy)
    assert accuracy > 0.9
    assert probe(features, data) > 0.9

    (path,) = kept()
    assert data.fingerprint[:16] in path.name
    no_training(monkeypatch)
    again = own_features(data)
    assert again.digest == features.digest
    assert again.about == features.about
    np.testing.assert_array_equal(
        again(data.train.pixels, data.spec), features(data.train.pixels, data.spec)
    )


def test_without_labels_its_features_tell_shapes_apart() -> None:
    data = dataset(labels=False)
    features = own_features(data)
    assert features.about["learned"] == "views"
    assert features.classify(data.train.pixels, data.spec) is None
    assert probe(features, data) > 0.75  # chance is 0.33
    assert features.about["matched"] > 0.1  # chance is 1 in 150


@pytest.mark.parametrize("damage", ["cut", "other data", "other weights"])
def test_a_damaged_file_is_made_again(damage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "LEAST_SEEN", 64)
    data = dataset(40)
    first = own_features(data)
    (path,) = kept()
    content = path.read_bytes()
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "other data":
        old = data.fingerprint.encode()
        assert content.count(old) == 1
        path.write_bytes(content.replace(old, old[::-1]))
    else:
        path.write_bytes(content[:-4] + b"\x00\x00\x80\x3f")
    again = own_features(data)
    assert again.digest == first.digest
    assert path.read_bytes() == content


def test_without_a_place_to_keep_it_it_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own, "LEAST_SEEN", 64)
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("LOANG_CACHE", str(tmp_path / "file"))
    assert own_features(dataset(40)).dimension == 64


def test_a_few_images_are_enough_and_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "LEAST_SEEN", 64)
    data = dataset(20)
    assert data.train.labels is not None
    few = replace(
        data, train=replace(data.train, stored=data.train.stored, labels=data.train.labels)
    )
    features = own_features(few)
    assert features.about["learned"] == "views"  # 7 images a class do not make a classifier
    assert np.isfinite(features(data.train.pixels, data.spec)).all()
    pair = Images(data.train.pixels[:2], data.spec, data.train.labels[:2])
    two = Dataset("two", pair, pair, fingerprint(pair))
    assert np.isfinite(own_features(two)(pair.pixels, pair.spec)).all()
    single = Images(data.train.pixels[:1], data.spec, data.train.labels[:1])
    with pytest.raises(LoangError, match="single training image"):
        own_features(Dataset("one", single, single, "0" * 64))


def test_large_images_are_averaged_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images of 136 pixels are seen as those of their 3x3 blocks' means."""
    monkeypatch.setattr(own, "LEAST_SEEN", 64)
    small = shapes(40, 0, side=48)
    large = np.repeat(np.repeat(small.pixels, 3, axis=1), 3, axis=2)[:, :136, :136]
    spec = replace(small.spec, height=136, width=136)
    train = Images(large, spec, small.labels)
    assert shrinking(spec) == 3
    features = own_features(Dataset("large", train, train, fingerprint(train)))
    assert "3x3" in features.preprocessing
    seen = features.prepare(train)
    assert seen.shape == (40, 1, 46, 46)
    expected = small.pixels[:, :46, :46, 0] / 127.5 - 1
    np.testing.assert_allclose(seen[:, 0], expected, atol=1e-5)


def test_the_work_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never more multiplications than WORK, whatever the images; counted here by hand."""
    from loang.metrics.features.encoder import EncoderSettings, fresh

    settings = EncoderSettings(channels=1, dimension=6, widths=(4, 8, 12))
    stem, first = 14 * 14 * 4 * 16, 14 * 14 * 9 * (4 * 8 + 2 * 8 * 8)
    second, last = 7 * 7 * 9 * (8 * 12 + 2 * 12 * 12), 7 * 7 * 12 * 6
    counted = own.multiplications(fresh(settings, seed=0), 28, 28)
    assert counted == stem + first + second + last
    monkeypatch.setattr(own, "WORK", 1e8)
    about = own_features(dataset(40)).about
    each = own.multiplications(fresh(EncoderSettings(1, 3), seed=0), 16, 16)
    assert 0.9e8 < about["seen"] * each <= 1e8


def test_other_sizes_and_channels_are_brought_to_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "LEAST_SEEN", 64)
    data = dataset(40)
    features = own_features(data)
    coloured = np.repeat(data.train.pixels, 3, axis=3)
    same = features(coloured, replace(data.spec, channels=3))
    np.testing.assert_allclose(same, features(data.train.pixels, data.spec), atol=1e-5)


def wedges(count: int, seed: int) -> Images:
    """Brighter towards the left, or towards the right: each class is the other in a mirror."""
    draw = np.random.Generator(np.random.Philox(seed))
    kinds = np.arange(count) % 2
    ramp = np.linspace(40, 200, 16)
    pictures = np.where(kinds[:, None] == 0, ramp, ramp[::-1])[:, None, :].repeat(16, axis=1)
    pixels = (pictures + draw.normal(0, 15, pictures.shape)).clip(0, 255).astype(np.uint8)
    spec = ImageSpec(16, 16, 1, class_names=("left", "right"))
    return Images(pixels[..., np.newaxis], spec, kinds.astype(np.int64))


@pytest.mark.slow
def test_classes_that_are_one_another_in_a_mirror_are_told_apart() -> None:
    train, held_out = wedges(200, 0), wedges(100, 1)
    data = Dataset("wedges", train, held_out, fingerprint(train, held_out))
    seen = own_features(data).classify(held_out.pixels, held_out.spec)
    assert seen is not None
    assert (seen == held_out.labels).mean() > 0.95
