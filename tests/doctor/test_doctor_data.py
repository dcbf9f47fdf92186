"""`loang doctor DATA`: what was planted is found, and nothing is found in sound images."""

import colorsys
import io

import numpy as np
import pytest
from PIL import Image

from loang.data.images import Dataset, Images
from loang.data.places.fashion_mnist import CLASS_NAMES
from loang.data.places.sample import read_sample
from loang.data.spec import ImageSpec
from loang.doctor import data_copies, data_glance, data_labels, data_plan, data_values
from loang.doctor.data_glance import glance
from loang.doctor.data_images import Numbered


@pytest.fixture(scope="module")
def clothes():
    """12,000 images of Fashion-MNIST and their labels."""
    images, labels = read_sample()
    return images, labels.astype(np.int64)


def numbered(train, held_out, labels=None, **about):
    """Images of two parts; labels of both, one after another."""
    names = CLASS_NAMES if labels is not None else ()
    train, held_out = (x[..., None] if x.ndim == 3 else x for x in (train, held_out))
    spec = ImageSpec(*train.shape[1:], depth=train.dtype.name, class_names=names, **about)
    both = (None, None) if labels is None else np.split(labels, [len(train)])
    parts = [Images(x, spec, y) for x, y in zip((train, held_out), both, strict=True)]
    return Numbered(Dataset("clothes", *parts, ""))


def values_of(images):
    return data_values.examine(images, glance(images))


def copies_of(images):
    seen = glance(images)
    return data_copies.examine(images, seen, data_copies.nearest(seen))


def topics(sight):
    return {finding.topic for finding in sight.findings if finding.verdict != "good"}


# What is sound.


@pytest.mark.slow
def test_of_12000_different_clothes_less_than_one_in_1000_passes_for_a_copy(clothes):
    images, labels = clothes
    whole = numbered(images[:10_000], images[10_000:], labels)
    seen = glance(whole)
    found = data_copies.nearest(seen)
    flagged = {number for pair in found.pairs() for number in pair}
    assert len(found.numbers) == 12_000
    assert len(flagged) <= 8  # the 4 pairs are trousers, two of which nobody tells apart
    assert len(data_copies.unlike(found)) <= 12
    assert not topics(data_values.examine(whole, seen))
    assert not topics(data_labels.examine(whole))


def test_photographs_that_differ_are_neither_copies_nor_odd_nor_inverted():
    rng = np.random.default_rng(0)
    coarse = rng.normal(128, 60, (600, 8, 8, 3))
    photos = np.kron(coarse, np.ones((1, 4, 4, 1))).clip(0, 255).astype(np.uint8)
    images = numbered(photos[:500], photos[500:])
    assert not topics(values_of(images))
    assert not topics(copies_of(images))


def test_brightness_that_varies_from_photograph_to_photograph_inverts_none():
    rng = np.random.default_rng(0)
    slopes = rng.normal(0, 1, (500, 2, 1, 1))
    y, x = np.mgrid[-1:1:32j, -1:1:32j]
    skies = rng.beta(2, 1, (500, 1, 1)) * 255 + 60 * (slopes[:, 0] * y + slopes[:, 1] * x)
    skies = skies.clip(0, 255).astype(np.uint8)
    assert "inverted" not in topics(values_of(numbered(skies[:400], skies[400:])))


# Copies.


def compressed(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=75)
    return np.asarray(Image.open(file))


def resized(image):
    large = Image.fromarray(image).resize((50, 50), Image.Resampling.BICUBIC)
    return np.asarray(large.resize((28, 28), Image.Resampling.BICUBIC))


CHANGES = {
    "compressed": compressed,
    "resized": resized,
    "brighter": lambda image: (image * 1.05).clip(0, 255).astype(np.uint8),
    "darker": lambda image: (image * 0.95).astype(np.uint8),
    "moved": lambda image: np.roll(image, 1, axis=1),
    "mirrored": lambda image: image[:, ::-1],
    "equal": lambda image: image,
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_copies_are_found(change, clothes):
    images, _ = clothes
    originals = images[:1500]
    held_out = np.stack([CHANGES[change](image) for image in originals[:100]])
    found = copies_of(numbered(originals, held_out))
    pairs = {tuple(pair) for pair in found.facts["copies"]["across"]}
    right = sum((f"image {i}", f"held-out image {i}") in pairs for i in range(100))
    assert right >= 95
    assert "copies across" in topics(found)


def in_colour(images, hues, white):
    """Each image in one hue, half as strong as can be, on black or on white."""
    rgb = np.array([colorsys.hsv_to_rgb(hue, 0.5, 1.0) for hue in hues])[:, None, None, :]
    share = images[..., None] / 255
    shown = 1 - share * (1 - rgb) if white else share * rgb
    return np.rint(shown * 255).astype(np.uint8)


@pytest.mark.parametrize("change", CHANGES)
def test_changed_copies_in_colour_are_found_and_other_colours_are_not(change, clothes):
    images, _ = clothes
    hues = np.random.default_rng(0).random(500)
    originals = in_colour(images[:500], hues, white=False)
    copies = np.stack([CHANGES[change](image) for image in originals[:100]])
    found = copies_of(numbered(originals, copies))
    pairs = {tuple(pair) for pair in found.facts["copies"]["across"]}
    assert sum((f"image {i}", f"held-out image {i}") in pairs for i in range(100)) >= 90
    others = in_colour(images[:100], hues[:100] + 0.25, white=False)
    recoloured = np.stack([CHANGES[change](image) for image in others])
    found = copies_of(numbered(originals, recoloured))
    assert len(found.facts["copies"]["across"]) <= 1


@pytest.mark.parametrize("white", [False, True])
@pytest.mark.parametrize("change", CHANGES)
def test_colours_agree_through_these_changes_and_not_with_others(change, white, clothes):
    images, _ = clothes
    hues = np.random.default_rng(0).random(100)
    originals = in_colour(images[:100], hues, white)
    changed = np.stack([CHANGES[change](image) for image in originals])
    others = in_colour(images[:100], hues + 0.25, white)
    tint, of_changed, of_others = (
        glance(numbered(x, x[:1])).tint[:100] for x in (originals, changed, others)
    )
    assert data_copies.same_colours(tint, of_changed).sum() >= 98
    assert data_copies.same_colours(tint, of_others).sum() <= 2


def test_circles_of_other_colours_are_no_copies_and_of_the_same_are():
    """Purple and green of the same brightness are one picture to whom sees no colours."""
    y, x = np.mgrid[:32, :32]
    disc = ((y - 16) ** 2 + (x - 16) ** 2 < 36)[..., None]
    colours = np.array([(128, 0, 128), (0, 128, 0), (0, 0, 200), (200, 100, 0)], np.uint8)
    circles = np.stack([np.where(disc, colour, 255).astype(np.uint8) for colour in colours])
    found = copies_of(numbered(circles[:3], circles[3:]))
    assert found.facts["copies"]["pairs"] == []
    found = copies_of(numbered(circles, circles[1:2]))
    assert found.facts["copies"]["pairs"] == [["image 1", "held-out image 0"]]


def test_copies_on_one_side_are_told_from_those_on_both(clothes):
    images, _ = clothes
    train = np.concatenate([images[:300], images[7:8]])
    found = copies_of(numbered(train, images[1000:1030]))
    assert topics(found) == {"copies"}
    assert found.facts["copies"]["pairs"] == [["image 7", "image 300"]]
    assert [list(marked.groups) for marked in found.marked] == [[(7, 300)]]


def test_frames_of_a_film_are_alike_not_thousands_of_pairs():
    rng = np.random.default_rng(0)
    scene = rng.integers(0, 255, (20, 32, 32), np.uint8)
    frames = scene.repeat(10, axis=0).astype(int) + rng.integers(0, 3, (200, 32, 32))
    frames = frames.clip(0, 255).astype(np.uint8)
    found = copies_of(numbered(frames[:100], frames[100:]))
    assert topics(found) == {"alike"}


def test_noise_among_clothes_is_like_no_other(clothes):
    images, _ = clothes
    train = images[:400].copy()
    train[17] = np.random.default_rng(0).integers(0, 255, (28, 28), np.uint8)
    found = copies_of(numbered(train, images[1000:1100]))
    assert found.facts["copies"]["unlike"][0] == "image 17"


def test_more_images_than_can_be_compared_are_sampled_and_it_is_said(clothes, monkeypatch):
    monkeypatch.setattr(data_glance, "MOST_IMAGES", 100)
    images = numbered(clothes[0][:400], clothes[0][400:500])
    found = copies_of(images)
    assert "sample" in topics(found)
    assert found.facts["copies"]["compared"] == 100
    assert (glance(images).numbers >= 400).sum() == 20  # held-out ones in their share


# Values.


def test_inverted_images_are_found_whatever_side_the_others_are_on(clothes):
    images = clothes[0][:500].copy()
    images[[5, 50, 77]] = 255 - images[[5, 50, 77]]
    for both in (images, 255 - images):
        found = values_of(numbered(both[:450], both[450:]))
        assert found.facts["inverted"] == ["image 5", "image 50", "image 77"]


def test_images_of_one_value_are_found(clothes):
    images = clothes[0][:300].copy()
    images[3], images[290] = 0, 77
    found = values_of(numbered(images[:250], images[250:]))
    assert found.facts["constant"] == ["image 3", "held-out image 40"]


def test_overexposed_images_are_found_and_a_white_background_is_none():
    rng = np.random.default_rng(0)
    photos = np.kron(rng.normal(120, 30, (200, 8, 8)), np.ones((4, 4)))
    photos[:60] += 130
    found = values_of(numbered(photos.clip(0, 255).astype(np.uint8), np.zeros((1, 32, 32), "u1")))
    assert found.facts["clipping"]["clipped_bright"] >= 55
    assert found.facts["clipping"]["clipped_dark"] <= 1
    assert "clipped" in topics(found)
    white = photos[60:].clip(0, 255).astype(np.uint8)
    white[:, :8], white[:, -8:], white[:, :, :8], white[:, :, -8:] = (255,) * 4
    assert "clipped" not in topics(values_of(numbered(white, white[:1])))


def test_opacity_and_padding_are_no_values_of_the_images():
    rng = np.random.default_rng(0)
    dull = rng.integers(100, 140, (60, 16, 16, 4), np.uint8)
    dull[..., 3] = 255
    opaque = numbered(dull[:50], dull[50:])
    assert topics(values_of(opaque)) == {"contrast"}
    dull[:, :5, :, :3] = dull[:, -5:, :, :3] = 255
    padded = numbered(dull[:50], dull[50:])
    seen = glance(padded, padding=255.0)
    assert topics(data_values.examine(padded, seen)) == {"contrast"}
    assert seen.at_high.max() == 0
    assert seen.highest.max() < 140
    white = np.full((3, 8, 8, 1), 255, np.uint8)
    assert glance(numbered(white, white), padding=255.0).at_high.min() == 1


def test_drawings_in_black_and_white_are_told_not_blamed(clothes):
    drawings = ((clothes[0][:300] > 100) * 255).astype(np.uint8)
    found = values_of(numbered(drawings[:250], drawings[250:]))
    assert topics(found) == {"two values"}


def test_16_bits_that_use_one_part_in_a_hundred_are_to_be_stretched():
    rng = np.random.default_rng(0)
    dim = rng.integers(100, 700, (200, 16, 16)).astype(np.uint16)
    dim[5, 5, 5] = 65_000  # a hot pixel
    images = numbered(dim[:150], dim[150:], low=0.0, high=65_535.0)
    found = values_of(images)
    finding = next(each for each in found.findings if each.topic == "contrast")
    assert finding.verdict == "warning"
    assert "data.range=percentiles" in finding.remedy
    assert "100" in finding.remedy
    assert "699" in finding.remedy
    assert found.changes == ("data.range=percentiles",)
    full = numbered(dim[:150], dim[150:], low=100.0, high=700.0)
    assert "contrast" not in topics(values_of(full))


def test_grey_images_in_colour_are_found(clothes):
    images = clothes[0][:300][..., None].repeat(3, axis=3)
    assert topics(values_of(numbered(images[:250], images[250:]))) == {"grey"}
    images[::2, 10, 10, 0] ^= 128
    assert not topics(values_of(numbered(images[:250], images[250:])))


def test_values_are_taken_from_all_over_the_images(monkeypatch):
    monkeypatch.setattr(data_glance, "SAMPLED", 64 * 100)
    striped = np.zeros((100, 64, 64), np.uint8)
    striped[:, :, 1] = 255  # one column in 64
    values = glance(numbered(striped[:90], striped[90:])).values
    assert (values == 255).mean() == pytest.approx(1 / 64, rel=0.1)


# Numbers and classes.


def test_few_images_and_small_classes_are_told(clothes):
    images, labels = clothes
    rare = np.flatnonzero(labels == 3)[15:]
    scarce = np.flatnonzero(labels == 4)[21:]
    rows = np.setdiff1d(np.arange(12_000), np.concatenate([rare, scarce]))[:8000]
    found = data_labels.examine(numbered(images[rows], images[:500], labels[[*rows, *range(500)]]))
    said = [each.what for each in found.findings if each.topic == "labels"]
    assert len(said) == 1  # Coat has 21, and the largest class not 50 times as many
    assert "Dress (15)" in said[0]
    few = data_labels.examine(numbered(images[:300], images[300:320]))
    assert [each.verdict for each in few.findings] == ["warning"]
    some = data_labels.examine(numbered(images[:3000], images[3000:3020]))
    assert [each.verdict for each in some.findings] == ["note"]


def test_small_colour_images_on_a_gpu_are_as_in_the_paper():
    spec = ImageSpec(32, 32, 3)
    assert data_plan._choose(spec, True, {})[1:] == ("ddpm-cifar10", [])
    digits = ImageSpec(32, 32, 3, class_names=tuple("0123456789"))
    assert data_plan._choose(digits, True, {})[1:] == ("ddpm-cifar10", ["data.flips=false"])
    assert data_plan._choose(spec, False, {})[1] == "quick"
    assert data_plan._choose(ImageSpec(32, 32, 1), True, {})[1] == "quick"
