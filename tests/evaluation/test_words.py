"""Numbers as a person reads them, and sentences that say no more than the numbers do."""

from dataclasses import replace

import pytest

from loang.evaluation import words
from loang.evaluation.evaluate import evaluate
from loang.evaluation.subject import Subject
from loang.evaluation.table import Cell
from loang.metrics.estimate import Estimate
from loang.metrics.features.pixels import PixelFeatures


@pytest.mark.parametrize(
    ("estimate", "wanted"),
    [
        (Estimate(1.4931, 0.0552), "1.493 ± 0.055"),
        (Estimate(1234.5, 20.0), "1,234 ± 20"),
        (Estimate(-0.00001, 0.0018), "0.0000 ± 0.0018"),
        (Estimate(3e-9, 2e-9), "3.00e-09 ± 2e-09"),
        (Estimate(0.5), "0.500"),
        (None, "–"),
    ],
)
def test_an_error_leaves_as_many_digits_as_it_knows(estimate, wanted):
    assert words.measured(Cell(estimate)) == wanted


@pytest.mark.parametrize(
    ("share", "wanted"),
    [(0.0, "0 %"), (0.0003, "0.03 %"), (0.014, "1.4 %"), (0.28, "28 %"), (1.0, "100 %")],
)
def test_a_small_share_is_not_nothing(share, wanted):
    assert words.percent(share) == wanted


@pytest.fixture
def report(real, blobs):
    """Of 600 images; 400 real ones can stand aside, all held-out ones and half of the others."""
    return evaluate(Subject("these", blobs(600, 7)), real, spaces=[PixelFeatures(real.spec)])


def with_distances(report, **estimates):
    """The report, with other Fréchet distances of samples, floor and pixel Gaussian."""
    columns = dict(report.space.columns)
    for name, estimate in estimates.items():
        cells = {**columns[name].cells, "frechet": Cell(estimate)}
        columns[name] = replace(columns[name], cells=cells)
    return replace(report, spaces=[replace(report.space, columns=columns)])


@pytest.mark.parametrize(
    ("ours", "error", "ceiling", "wanted"),
    [
        (2.0, 0.1, 5.0, "25 % of the way from real to that"),
        (2.0, 0.6, 5.0, "no farther than real images are from one another"),
        (0.5, 0.1, 5.0, "no farther than real images are from one another"),
        (6.0, 0.1, 5.0, "farther than real images and the pixel Gaussian"),
        (1.2, 0.1, 1.2, "so few images can't tell"),
        (0.9, 0.1, 0.9, "so few images can't tell"),
        (2.0, 0.1, 1.2, "farther than real images and the pixel Gaussian"),
        (2.0, 0.1, 0.9, "farther than real images and the pixel Gaussian"),
        (1.5, 0.1, (1.6, 0.4), "farther than real images are from one another"),
    ],
)
def test_a_distance_is_called_far_only_beyond_chance(report, ours, error, ceiling, wanted):
    """And as far as it is, also where the pixel Gaussian can't be told from real images."""
    changed = with_distances(
        report,
        samples=Estimate(ours, error),
        floor=Estimate(1.0, 0.1),
        gaussian=Estimate(*ceiling) if isinstance(ceiling, tuple) else Estimate(ceiling, 0.1),
    )
    assert wanted in words.sentences(changed)[0]


def test_the_floor_is_said_to_be_of_as_many_images_as_it_is(report):
    assert "(pixels-v1, 600 samples); 400 other real images" in words.sentences(report)[0]
