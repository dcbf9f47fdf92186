import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from loang.errors import LoangError
from loang.evaluation import output, words
from loang.evaluation.comparison import compare
from loang.evaluation.evaluate import ALIGNED, evaluate
from loang.evaluation.subject import Subject
from loang.metrics.features.pixels import PixelFeatures


def measured(images, real, **asked):
    return evaluate(Subject("these", images), real, spaces=[PixelFeatures(real.spec)], **asked)


def value(report, column, name):
    return report.space.columns[column].cells[name].estimate.value


def test_real_images_measure_as_the_floor_and_what_is_worse_as_worse(real, blobs):
    report = measured(blobs(200, 7), real)
    for name in ("frechet", "kid", "sliced_wasserstein", "two_sample"):
        ours, floor = value(report, "samples", name), value(report, "floor", name)
        gaussian, noise = value(report, "gaussian", name), value(report, "noise", name)
        assert abs(ours - floor) < 0.5 * (gaussian - floor), name
        assert floor < gaussian <= noise, name
    assert (
        abs(value(report, "samples", "kid"))
        < 4 * report.space.columns["samples"].cells["kid"].estimate.error
    )
    assert report.copies[ALIGNED].interval[0] == 0.0
    said = " ".join(words.sentences(report))
    assert "No sign that training images are copied" in said
    # Every column is of as many images: nothing else would be fair.
    assert {column.count for column in report.space.columns.values()} == {200}


def test_planted_copies_are_found_named_and_shown(real, blobs):
    images = blobs(200, 7)
    planted = np.arange(0, 200, 4)
    images.pixels[planted] = real.train.pixels[planted + 100]
    report = measured(images, real)
    share = report.copies[ALIGNED].share.value
    assert share == pytest.approx(0.25, abs=0.03)
    assert "are copies of training images" in " ".join(words.sentences(report))
    named = report.to_dict()["memorisation"][ALIGNED]["most_suspicious"]
    assert len(named) == 20
    for each in named:
        assert each["sample"] in planted
        assert each["training_image"] == each["sample"] + 100
    np.testing.assert_array_equal(report.gallery.suspects, report.gallery.originals)


def test_the_report_is_written_whole_in_three_forms(real, blobs, tmp_path):
    report = measured(blobs(60, 7), real, command="loang evaluate these")
    output.write_report(report, tmp_path)
    found = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert found["spaces"][0]["columns"]["floor"]["kid"]["value"] == value(report, "floor", "kid")
    assert found["provenance"]["command"] == "loang evaluate these"
    assert found["data"]["fingerprint"] == real.fingerprint
    assert len(found["spaces"][0]["digest"]) == 64
    text = (tmp_path / "report.md").read_text("utf-8")
    for wanted in ("Fréchet distance", "other real images (60)", "pixel Gaussian", "of few images"):
        assert wanted in text
    with Image.open(tmp_path / "report.png") as page:
        assert page.width > 1000
        assert np.asarray(page.convert("L")).std() > 10


@pytest.mark.parametrize("count", [2, 3, 12, 45])
def test_what_few_images_cannot_tell_is_left_out_or_labelled(real, blobs, count, tmp_path):
    report = measured(blobs(count, 7), real)
    cells = report.space.columns["samples"].cells
    missing = {name for name, cell in cells.items() if cell.estimate is None}
    assert ("two_sample" in missing) == (count < 40)
    assert ("precision" in missing) == (count < 10)
    assert all(cells[name].note for name in missing)
    assert cells["frechet"].note  # 64 pixels ask for hundreds of images
    output.write_report(report, tmp_path)
    assert f"needs 50 images, not {count}" in (tmp_path / "report.md").read_text("utf-8")


def test_a_single_image_is_refused(real, blobs):
    with pytest.raises(LoangError, match="too few"):
        measured(blobs(1, 7), real)


def test_the_same_seed_gives_the_same_report(real, blobs):
    first, second = (measured(blobs(50, 7), real).to_dict() for _ in range(2))
    for report in (first, second):
        del report["provenance"]
    assert first == second


def test_a_comparison_tells_better_from_worse_and_admits_what_it_cannot_tell(real, blobs, tmp_path):
    good = measured(blobs(150, 7), real)
    blurred = blobs(150, 8)
    pixels = blurred.pixels.astype(int)
    smooth = (pixels + np.roll(pixels, 1, 1) + np.roll(pixels, 1, 2)) // 3
    bad = evaluate(
        Subject("blurred", replace(blurred, stored=smooth.astype(np.uint8))),
        real,
        spaces=[PixelFeatures(real.spec)],
    )
    assert compare(good, bad).verdict.startswith("these is better than blurred")
    assert compare(bad, good).verdict.startswith("these is better than blurred")
    comparison = compare(bad, good)
    lines = {line.measure.name: line for line in comparison.lines["pixels-v1"]}
    assert lines["frechet"].better == 2
    assert lines["coverage"].difference
    assert lines["coverage"].better is None  # its error can be too small
    assert lines["frechet"].difference.value > 1.96 * lines["frechet"].difference.error
    output.write_comparison(comparison, tmp_path)
    assert "blurred" in (tmp_path / "comparison.md").read_text("utf-8")
    assert json.loads((tmp_path / "comparison.json").read_text("utf-8"))["verdict"]

    alike = [measured(blobs(150, seed), real) for seed in (7, 9)]
    assert "can't be told" in compare(*alike).verdict


@pytest.mark.parametrize(("count", "votes"), [(5, False), (49, False), (50, True)])
def test_the_frechet_distance_tells_of_fifty_images_or_more(real, blobs, count, votes):
    """Of fewer, two sets of the same images lie too often beyond each other's errors."""
    good, bad = blobs(count, 7), blobs(count, 8)
    bad.pixels[:] = 255
    comparison = compare(measured(bad, real), measured(good, real))
    lines = {line.measure.name: line for line in comparison.lines["pixels-v1"]}
    frechet = lines["frechet"]
    assert frechet.difference.value > 1.96 * frechet.difference.error
    assert frechet.better == (2 if votes else None)
    assert (lines["recall"].better is None) == (not votes)
    kept = comparison.to_dict()["differences"]["pixels-v1"]["frechet"]
    assert kept["better"] == ("second" if votes else None)
    assert ("by Fréchet" in comparison.verdict or "and Fréchet" in comparison.verdict) == votes
    assert ("There are too few images" in comparison.verdict) == (count < 10)


def test_reports_against_other_images_are_not_compared(real, blobs):
    other = replace(real, fingerprint="0" * 64)
    with pytest.raises(ValueError, match="different real images"):
        compare(measured(blobs(50, 7), real), measured(blobs(50, 7), other))


def test_samples_that_are_all_the_same_are_measured_and_found_bad(real, blobs, tmp_path):
    images = blobs(60, 7)
    images.pixels[:] = 0
    report = measured(images, real)
    for name in ("frechet", "kid"):
        assert value(report, "samples", name) > 10 * abs(value(report, "floor", name))
    assert value(report, "samples", "recall") < 0.1
    output.write_report(report, tmp_path)


def test_real_images_that_are_all_the_same_are_refused(real, blobs):
    same = replace(real.train, stored=np.repeat(real.train.pixels[:1], len(real.train), axis=0))
    with pytest.raises(LoangError, match="are the same"):
        measured(blobs(20, 7), replace(real, train=same))
