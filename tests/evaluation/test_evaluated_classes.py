"""What is planted among labelled samples is what is found: swapped labels, a class that lacks."""

from dataclasses import replace

import numpy as np
import pytest

from loang.data.images import Images
from loang.data.places.fashion_mnist import CLASS_NAMES
from loang.evaluation import words
from loang.evaluation.cast import Cast
from loang.evaluation.classes import distances, look
from loang.evaluation.evaluate import evaluate
from loang.evaluation.markdown import markdown
from loang.evaluation.subject import Subject
from loang.metrics import classes
from loang.metrics.features.fashion import fashion_features
from loang.metrics.features.pixels import PixelFeatures


class Sides:
    """The pixels as features, and a classifier that says which half is brighter."""

    name, digest, preprocessing, about = "sides", "0" * 64, "none", {}

    def __init__(self, spec):
        self.pixels = PixelFeatures(spec)
        self.dimension = self.pixels.dimension

    def __call__(self, pixels, spec, on_step=None):
        return self.pixels(pixels, spec)

    def classify(self, pixels, spec):
        halves = pixels.astype(np.int64).reshape(len(pixels), spec.height, 2, -1).sum(axis=(1, 3))
        return halves.argmax(axis=1)


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    """A tenth of the training: enough to tell left from right."""
    monkeypatch.setattr(classes, "_RECIPE", replace(classes._RECIPE, images=2000))


def seen(samples, real):
    return look(Sides(real.spec), Cast.of(samples, real, 0), 0)


def relabelled(images, labels):
    return Images(images.pixels, images.spec, labels)


def some(images, rows):
    return Images(images[rows], images.spec, images.labels[rows])


def of_class(images, which):
    return some(images, np.flatnonzero(images.labels == which))


def test_swapped_labels_cost_exactly_their_share(real, blobs):
    samples = blobs(200, 7)
    before = seen(samples, real)
    assert before.accuracy.estimate.value > 0.9
    assert abs(before.accuracy.estimate.value - before.real_accuracy.estimate.value) < 0.1
    right = np.flatnonzero(Sides(real.spec).classify(samples.pixels, real.spec) == samples.labels)
    labels = samples.labels.copy()
    labels[right[:50]] = 1 - labels[right[:50]]
    after = seen(relabelled(samples, labels), real)
    lost = before.accuracy.estimate.value - after.accuracy.estimate.value
    assert lost == pytest.approx(50 / 200)
    # What the classifier sees of the images, and of real ones, is what it was.
    assert after.shares == before.shares
    assert after.real_accuracy == before.real_accuracy
    of_each = [cell.estimate.value for cell in after.by_class]
    assert np.average(of_each, weights=after.asked) == pytest.approx(after.accuracy.estimate.value)


def test_a_class_that_lacks_shows_in_shares_and_in_words(real, blobs):
    whole = seen(blobs(200, 7), real)
    assert sum(whole.shares) == pytest.approx(1)
    assert whole.apart.p_value > 0.05
    report = evaluate(Subject("half", of_class(blobs(200, 7), 0)), real, spaces=[Sides(real.spec)])
    found = report.classes
    assert found.asked[1] == 0
    assert found.shares[1] < 0.1
    assert found.apart.distance.value > 0.35
    assert found.apart.p_value < 0.001
    assert "Nearly missing: right." in words.sentences(report)
    assert found.by_class[1].estimate is None
    text = markdown(report)
    assert "(p = 0.0005)" in text  # the least that 2,000 draws can say
    assert "of fewer than 50 images are left out" in text


def test_a_classifier_learns_from_real_images_and_nothing_from_shuffled_labels(real, blobs):
    samples = blobs(200, 7)
    found = seen(samples, real)
    assert found.real_score.estimate.value > 0.9
    assert found.score.estimate.value > found.real_score.estimate.value - 0.08
    shuffled = np.random.default_rng(0).permutation(samples.labels)
    lost = seen(relabelled(samples, shuffled), real)
    assert abs(lost.score.estimate.value - 0.5) < 0.25
    assert lost.real_score == found.real_score


def test_few_images_give_a_note_and_no_number(real, blobs):
    found = seen(blobs(19, 7), real)
    for cell in (found.score, found.real_score):
        assert cell.estimate is None
        assert cell.note == "needs 20 images, not 19"
    assert found.accuracy.estimate is not None
    report = evaluate(Subject("few", blobs(19, 7)), real, spaces=[Sides(real.spec)])
    assert "classifier accuracy score, of one that learned from 19 images alone: needs 20" in (
        markdown(report)
    )


def test_without_labels_there_are_shares_and_no_accuracy(real, blobs):
    found = seen(relabelled(blobs(60, 7), None), real)
    assert sum(found.shares) == pytest.approx(1)
    assert (found.accuracy, found.score, list(found.asked)) == (None, None, [])
    report = evaluate(
        Subject("without", relabelled(blobs(60, 7), None)), real, spaces=[Sides(real.spec)]
    )
    assert report.space.by_class == []
    assert "asked for" not in markdown(report)


def test_nothing_is_seen_where_nobody_knows_the_classes(real, blobs):
    samples = blobs(60, 7)
    assert look(PixelFeatures(real.spec), Cast.of(samples, real, 0), 0) is None
    # fashion-v1 would take a spot for a shoe.
    assert "left" not in CLASS_NAMES
    assert look(fashion_features(), Cast.of(samples, real, 0), 0) is None
    spec = replace(real.spec, class_names=())
    nameless = replace(
        real,
        train=Images(real.train.pixels, spec),
        validation=Images(real.validation.pixels, spec),
    )
    assert look(Sides(spec), Cast.of(samples, nameless, 0), 0) is None


def apart(samples, real):
    space, cast = Sides(real.spec), Cast.of(samples, real, 0)
    return distances(space, cast, space(samples.pixels, samples.spec), 0)


def test_the_class_that_is_bad_is_the_one_that_is_far(real, blobs):
    samples = blobs(200, 7)
    spoilt = samples.pixels.copy()
    spoilt[samples.labels == 1] //= 2
    for index, (ours, floor) in enumerate(apart(replace(samples, stored=spoilt), real)):
        farther = ours.estimate.value - floor.estimate.value
        assert (farther > 4 * ours.estimate.error) == (index == 1)


def test_the_floor_of_a_class_is_of_as_many_images(real, blobs):
    samples = blobs(300, 7)
    lefts, rights = (np.flatnonzero(samples.labels == which) for which in (0, 1))
    samples = some(samples, np.concatenate([lefts[:90], rights[:60]]))
    found = apart(samples, real)
    for (ours, floor), count in zip(found, (90, 60), strict=True):
        assert ours.note == floor.note == f"of few images: {count}, better 640"
    few = apart(some(samples, np.arange(130)), real)
    assert [cell.note for cell in few[1]] == ["needs 50 images, not 40"] * 2
    assert apart(relabelled(samples, None), real) == []


def test_a_class_without_any_real_image_aside_has_no_floor(real, blobs):
    """All held-out images are of the other class, and so are those that the reference spares."""
    lefts = of_class(blobs(300, 8), 0)
    ours, floor = apart(of_class(blobs(200, 7), 1), replace(real, validation=lefts))[1]
    assert ours.estimate is not None
    assert floor.estimate is None
