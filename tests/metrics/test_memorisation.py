"""Planted copies are counted, new images are not, and chance is stated as it is."""

import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

from loang.data.places.sample import read_sample
from loang.metrics.alignment import nearest_aligned
from loang.metrics.memorisation import OTHERS, image_memorisation, judge, memorisation

SHARES = (0, 1, 2, 5, 10, 20, 30, 50, 75, 100)


def generator(seed=0):
    return np.random.Generator(np.random.Philox(seed))


def noisy(x, deviation=4):
    return np.clip(np.rint(x + generator().normal(0, deviation, x.shape)), 0, 255).astype(np.uint8)


def shifted(x):
    """A pixel to the right; the first column becomes black."""
    return np.concatenate((np.zeros_like(x[:, :, :1]), x[:, :, :-1]), axis=2)


def through_pillow(x, change):
    return np.stack([np.asarray(change(Image.fromarray(image[..., 0])))[..., None] for image in x])


def blurred(x, radius):
    return through_pillow(x, lambda image: image.filter(ImageFilter.GaussianBlur(radius)))


def compressed(x, quality=50):
    def jpeg(image):
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality)
        return Image.open(file)

    return through_pillow(x, jpeg)


COPIES = {
    "exact": lambda x: x,
    "noisy": noisy,
    "shifted": shifted,
    "blurred": lambda x: blurred(x, 0.5),
    "compressed": compressed,
    "darker": lambda x: (x * 0.9).astype(np.uint8),
    "mirrored": lambda x: x[:, :, ::-1],
}


def projected(x, among, components):
    """What is left of images in the leading principal components of others."""
    flat = among.reshape(len(among), -1).astype(float)
    centre = flat.mean(axis=0)
    basis = np.linalg.eigh(np.cov((flat - centre).T))[1][:, -components:]
    left = (x.reshape(len(x), -1) - centre) @ basis @ basis.T + centre
    return np.clip(left, 0, 255).astype(np.uint8).reshape(x.shape)


NEW = {
    "real": lambda x, y: x,
    "averages of two": lambda x, y: (x // 2 + y // 2).astype(np.uint8),
    "projected on 20 components": lambda x, y: projected(x, y, 20),
    "projected on 100 components": lambda x, y: projected(x, y, 100),
    "blurred": lambda x, y: blurred(x, 1.0),
    "noisy": lambda x, y: noisy(x, 20),
}


class Clothes:
    """4,000 training images, 1,000 held out, 500 that a generator might have made."""

    def __init__(self):
        images = read_sample()[0][..., None]
        self.train, self.source = images[:4000], images[1000:1500]
        self.held_out, self.new = images[10000:11000], images[11000:11500]
        self.others = images[9000:9500]
        self.near_held_out = self.near(self.held_out)
        self.near_new = self.near(self.new)

    def near(self, images):
        return nearest_aligned(images, self.train, OTHERS + 1)


@pytest.fixture(scope="module")
def clothes():
    return Clothes()


@pytest.mark.parametrize("change", COPIES.values(), ids=COPIES)
def test_the_share_of_planted_copies_is_recovered_within_two_points(clothes, change):
    copies = clothes.near(change(clothes.source))
    for percent in SHARES:
        planted = 5 * percent
        mixture = tuple(
            np.concatenate((a[:planted], b[planted:]))
            for a, b in zip(copies, clothes.near_new, strict=True)
        )
        found = judge(mixture, clothes.near_held_out)
        assert abs(100 * found.share.value - percent) <= 2, percent
        low, high = found.interval
        assert low <= percent / 100 <= high


@pytest.mark.parametrize("make", NEW.values(), ids=NEW)
def test_new_images_are_no_copies_however_smooth(clothes, make):
    found = judge(clothes.near(make(clothes.new, clothes.others)), clothes.near_held_out)
    assert found.share.value < 0.02
    assert found.interval[0] == 0
    assert found.interval[1] < 0.05


def test_the_whole_from_images_finds_the_sources(clothes):
    samples = np.concatenate((clothes.new[:60], shifted(clothes.source[:40])))
    found = image_memorisation(samples, clothes.train, clothes.held_out)
    assert set(found.order[:39]) <= set(range(60, 100))
    assert (found.neighbours[60:] == np.arange(1000, 1040)).mean() > 0.95
    np.testing.assert_array_equal(found.copies, found.statistic <= found.threshold)
    assert found.flagged == found.copies.sum()
    assert found.calibrated
    assert found.held_out_rate == pytest.approx(10 / 1001)
    assert found.share.value == pytest.approx(0.4, abs=0.03)


def clouds(seed, count, d=12):
    """Points of three clusters of unlike width, as features are."""
    g = generator(seed)
    which = g.integers(3, size=count)
    centres = np.eye(3, d) * 20
    return centres[which] + g.normal(size=(count, d)) * np.array([1.0, 2.0, 0.5])[which][:, None]


TRAIN, HELD_OUT, FRESH = clouds(1, 2000), clouds(2, 1000), clouds(3, 500)


@pytest.mark.parametrize("percent", SHARES)
def test_copies_among_features_are_counted(percent):
    planted = 5 * percent
    copies = TRAIN[:planted] + generator(4).normal(size=(planted, 12)) * 0.02
    found = memorisation(np.concatenate((copies, FRESH[planted:])), TRAIN, HELD_OUT)
    assert 100 * found.share.value == pytest.approx(percent, abs=2)
    assert found.interval[0] <= percent / 100 <= found.interval[1]
    np.testing.assert_array_equal(found.neighbours[:planted], np.arange(planted))


def test_all_copies_and_none_are_sane():
    all_copies = memorisation(TRAIN[:300], TRAIN, HELD_OUT)
    assert all_copies.share.value == 1
    assert all_copies.interval[1] == 1
    assert all_copies.interval[0] > 0.97
    np.testing.assert_array_equal(all_copies.statistic, 0)
    assert memorisation(FRESH + 100, TRAIN, HELD_OUT).share.value == 0


def test_a_copy_of_an_image_that_training_has_many_times_is_flagged():
    """Its next neighbours are at distance 0 too: 0/0."""
    train = np.concatenate((np.repeat(TRAIN[:1], 50, axis=0), TRAIN))
    samples = np.concatenate((TRAIN[:1], TRAIN[:1] + 0.02, TRAIN[30:31], FRESH[:7]))
    found = memorisation(samples, train, HELD_OUT)
    assert found.copies[:3].all()
    # Of equal images the first is named, and others by their place among all.
    np.testing.assert_array_equal(found.neighbours[:3], [0, 0, 80])


def test_equal_training_images_whose_features_differ_by_rounding_hide_no_copy():
    g = generator(6)
    repeats = TRAIN[:1] + g.normal(size=(50, 12)) * 1e-6
    found = memorisation(
        np.concatenate((TRAIN[:1] + 5e-7, FRESH[:9])), np.concatenate((TRAIN, repeats)), HELD_OUT
    )
    assert found.copies[0]
    assert found.statistic[0] == 0


def test_near_duplicates_of_an_image_in_training_hide_no_copy():
    """Three more takes of the same scene: the yardstick is the median of ten."""
    takes = TRAIN[:1] + generator(7).normal(size=(3, 12)) * 0.05
    samples = np.concatenate((TRAIN[:1] + 0.1, FRESH[:9]))
    assert memorisation(samples, np.concatenate((TRAIN, takes)), HELD_OUT).copies[0]


def test_near_copies_in_the_held_out_images_are_what_the_samples_are_measured_against():
    """Where 10 % of held-out images repeat training images, 10 % of samples doing so is no news."""
    held_out = np.concatenate((TRAIN[:100], HELD_OUT[:900]))
    samples = np.concatenate((TRAIN[500:550], FRESH[:450]))
    found = memorisation(samples, TRAIN, held_out)
    assert found.held_out_rate == pytest.approx(0.1, abs=0.002)
    assert found.interval[0] == 0
    assert found.share.value < 0.02
    more = memorisation(np.concatenate((TRAIN[500:750], FRESH[:250])), TRAIN, held_out)
    assert more.interval[0] <= 0.5 / 0.9 - 0.1 / 0.9 <= more.interval[1]


def test_one_near_copy_among_few_held_out_images_hides_no_copies():
    held_out = np.concatenate((TRAIN[7:8], HELD_OUT[:39]))
    found = memorisation(np.concatenate((TRAIN[:20] + 0.02, FRESH[:80])), TRAIN, held_out)
    assert found.copies[:20].all()
    assert found.interval[0] <= 0.2 <= found.interval[1]


def uniform_neighbours(statistic):
    """Neighbours whose statistic is the given one: the next are at distance 1."""
    distances = np.concatenate((statistic[:, None], np.ones((len(statistic), 2))), axis=1)
    return distances, np.zeros(distances.shape, np.int64)


@pytest.mark.parametrize("held_out", [40, 300])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.1, 0.5, 1.0])
def test_the_interval_holds_the_share_in_95_of_100_cases(held_out, share):
    """Of a generator that copies at this rate, from few held-out images as from many."""
    g = generator(8)
    trials, hits, widths = 120, 0, []
    for _ in range(trials):
        statistic = 0.01 + g.uniform(size=200)
        statistic[g.uniform(size=200) < share] = 0
        found = judge(
            uniform_neighbours(statistic), uniform_neighbours(0.01 + g.uniform(size=held_out))
        )
        low, high = found.interval
        assert 0 <= low <= found.share.value <= high <= 1
        hits += low <= share <= high
        widths.append(high - low)
    assert hits >= 0.95 * trials - 3 * np.sqrt(trials * 0.95 * 0.05)
    if 0 < share < 1:
        assert np.mean(widths) > 0.02


@pytest.mark.parametrize("held_out", [1, 5, 19, 20, 400])
def test_the_rate_of_flags_among_unseen_images_is_the_one_that_is_stated(held_out):
    g = generator(9)
    rates, stated = [], set()
    for _ in range(200):
        found = judge(
            uniform_neighbours(g.uniform(size=50)), uniform_neighbours(g.uniform(size=held_out))
        )
        rates.append(found.flagged / 50)
        stated.add(found.held_out_rate)
        assert found.calibrated == (held_out >= 20)
    (rate,) = stated
    assert np.mean(rates) == pytest.approx(rate, abs=4 * np.std(rates) / 200**0.5)


def test_few_images_are_sane_and_too_few_are_refused():
    one = memorisation(TRAIN[:1], TRAIN[:2], HELD_OUT[:1])
    assert not one.calibrated
    assert 0 <= one.interval[0] <= one.share.value <= one.interval[1] <= 1
    assert one.interval[1] - one.interval[0] > 0.5
    for samples, train, held_out in (
        (TRAIN[:0], TRAIN, HELD_OUT),
        (FRESH, TRAIN, HELD_OUT[:0]),
        (FRESH, TRAIN[:1], HELD_OUT),
        (FRESH, np.repeat(TRAIN[:1], 9, axis=0), HELD_OUT),
        (FRESH, TRAIN[:0], HELD_OUT),
        (FRESH, TRAIN + np.inf, HELD_OUT),
    ):
        with pytest.raises(ValueError, match=r"no samples|training images|not a number"):
            memorisation(samples, train, held_out)


class Watched:
    """Images of a file: how many were asked for at once, and never by more than their numbers."""

    def __init__(self, images):
        self.images, self.most = images, 0

    def __len__(self):
        return len(self.images)

    def __getitem__(self, rows):
        self.most = max(self.most, len(rows))
        return self.images[rows]


def test_images_are_read_in_pieces_and_found_as_all_at_once(monkeypatch):
    draw = generator().integers(0, 256, (130, 70, 40, 3), dtype=np.uint8)
    train, held_out, samples = draw[:80], draw[80:110], draw[100:]
    train[40:50] = train[20:30]  # equal ones are found once
    searched = np.arange(3, 77, 2)
    samples[:5] = train[searched[7:12]]
    whole = image_memorisation(samples, train[searched], held_out)
    monkeypatch.setattr("loang.metrics.alignment._VALUES", 6 * train[0].size + 1)
    parts = [Watched(images) for images in (samples, train, held_out)]
    found = image_memorisation(*parts, searched=searched)
    assert [part.most for part in parts] == [6, 6, 6]
    np.testing.assert_array_equal(found.neighbours, whole.neighbours)
    np.testing.assert_array_equal(found.neighbours[:5], range(7, 12))
    np.testing.assert_allclose(found.distances, whole.distances, atol=1e-5)
    np.testing.assert_array_equal(found.order, whole.order)
    assert found.interval == whole.interval
