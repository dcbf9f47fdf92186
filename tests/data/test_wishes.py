"""What a person asks of images, through the whole of opening them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from loang.data.images import Dataset
from loang.data.open import open_dataset
from loang.data.places import fashion_mnist
from loang.data.resize import resize_picture
from loang.errors import LoangError

GENERATOR = np.random.default_rng(8)


def everything(dataset: Dataset) -> dict[str, np.ndarray]:
    """All images by their names."""
    return {
        part.place(index): part[index : index + 1][0]
        for part in (dataset.train, dataset.validation)
        for index in range(len(part))
    }


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("depth", ["uint8", "uint16", "float32"])
def test_fits_keep_what_they_say(fit: str, depth: str) -> None:
    """A picture of four quarters, twice as wide as it is high, brought to a square."""
    quarters = np.array([[10, 20], [30, 40]]).repeat(8, 0).repeat(16, 1)[..., None].astype(depth)
    square = resize_picture(quarters, 8, 8, fit, 99.0)
    assert square.shape == (8, 8, 1)
    assert square.dtype == depth
    rows = {"crop": (1, 6), "pad": (2, 5), "stretch": (1, 6)}[fit]
    corners = square[rows[0] :: rows[1] - rows[0], 1:7:5, 0][:2]
    assert np.abs(corners.astype(float) - [[10, 20], [30, 40]]).max() < 2
    assert (square[[0, 1, 6, 7]] == 99).all() == (fit == "pad")
    assert (square[2:6] != 99).all()


def test_a_narrow_picture_is_padded_at_its_sides_evenly() -> None:
    fitted = resize_picture(np.full((30, 3, 3), 7, np.uint8), 10, 10, "pad", 200.0)
    assert (fitted[:, 4:5] == 7).all()
    assert (fitted[:, :4] == 200).all()
    assert (fitted[:, 5:] == 200).all()


@pytest.mark.parametrize("depth", ["uint8", "uint16"])
def test_what_is_invisible_does_not_shine_through(depth: str) -> None:
    """A red disc on transparent green: no green comes into the red when it shrinks."""
    high = np.iinfo(depth).max
    rows, columns = np.mgrid[0:40, 0:40]
    inside = (np.hypot(rows - 19.5, columns - 19.5) < 12)[..., None]
    red, green = np.array([high, 0, 0, high]), np.array([0, high, 0, 0])
    picture = np.where(inside, red, green).astype(depth)
    small = resize_picture(picture, 13, 13, alpha=True)
    seen = small[..., 3] > high // 4
    assert seen.sum() > 30
    assert small[seen][:, 1].max() < high * 0.02
    assert small[seen][:, 0].min() > high * 0.95
    plain = resize_picture(picture, 13, 13)
    assert plain[..., 1][seen].max() > high * 0.1  # as four plain channels it does


def test_opacity_is_laid_on_a_background_or_kept(tmp_path: Path) -> None:
    pixels = GENERATOR.integers(0, 256, (12, 6, 5, 4), np.uint8)
    pixels[..., 3] = np.array([0, 255], np.uint8)[GENERATOR.integers(0, 2, (12, 6, 5))]
    for number, picture in enumerate(pixels):
        Image.fromarray(picture).save(tmp_path / f"{number:02}.png")
    visible = pixels[..., 3:] > 0
    for background, behind in (("white", 255), ("black", 0)):
        found = everything(open_dataset(tmp_path, background=background))
        for number in range(12):
            expected = np.where(visible[number], pixels[number, ..., :3], behind)
            assert np.array_equal(found[f"{number:02}.png"], expected)
    kept = everything(open_dataset(tmp_path, channels=4))
    assert all(np.array_equal(kept[f"{n:02}.png"], pixels[n]) for n in range(12))
    small = open_dataset(tmp_path, size=(3, 3), fit="pad", background="black")
    assert small.spec.shape == (3, 3, 3)


def hot(tmp_path: Path, depth: str) -> Path:
    """Values of about 1000 to 2000, and one pixel in ten thousand that is 60,000."""
    values = GENERATOR.uniform(1000, 2000, (100, 20, 20))
    values.flat[::10_000] = 60_000
    np.save(tmp_path / "hot.npy", values.astype(depth))
    return tmp_path / "hot.npy"


@pytest.mark.parametrize("depth", ["uint16", "float32"])
def test_rules_of_the_range(tmp_path: Path, depth: str) -> None:
    path = hot(tmp_path, depth)
    values = np.load(path)
    ends = {}
    for rule in ("data", "percentiles"):
        dataset = open_dataset(path, range=rule)
        ends[rule] = (dataset.spec.low, dataset.spec.high)
        assert f"{dataset.spec.low:g} to {dataset.spec.high:g} is taken" in dataset.notices[-1]
    assert ends["data"] == (values.min(), values.max())
    low, high = ends["percentiles"]
    assert np.allclose([low, high], np.percentile(values, [0.1, 99.9]), atol=1)
    if depth == "uint16":
        full = open_dataset(path, range="full").spec
        assert (full.low, full.high) == (0, 65535)
    else:
        with pytest.raises(LoangError, match="no full range"):
            open_dataset(path, range="full")


def test_rules_of_the_range_for_images_that_are_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fashion_mnist, "DEBIAN", tmp_path)  # the sample is enough, and quicker
    dataset = open_dataset("fashion-mnist", range="percentiles", size=(8, 12), fit="pad")
    assert dataset.spec.shape == (1, 8, 12)
    assert dataset.spec.low == 0
    assert 100 < dataset.spec.high <= 255
    plain = open_dataset("fashion-mnist", size=(8, 12), fit="pad")
    assert (plain.spec.low, plain.spec.high) == (0, 255)
    assert (plain.train[:100][:, :, :2] == 255).all()  # white on both sides
    assert not (plain.train[:100][:, :, 2:10] == 255).all(axis=(1, 2)).any()


@pytest.mark.parametrize("background", ["white", "black"])
def test_padding_and_opacity_do_not_change_the_range(tmp_path: Path, background: str) -> None:
    """A 12-bit camera's images keep its range; background and opacity are its ends."""
    deep = GENERATOR.integers(5, 4000, (20, 8, 6), np.uint16)
    for number, picture in enumerate(deep):
        Image.fromarray(picture).save(tmp_path / f"{number:02}.png")
    dataset = open_dataset(tmp_path, size=(16, 16), fit="pad", channels=4, background=background)
    assert (dataset.spec.low, dataset.spec.high) == (0, 4095)
    for picture in everything(dataset).values():
        assert (picture[:, [0, 1, -1], :3] == (4095 if background == "white" else 0)).all()
        assert (picture[..., 3] == 4095).all()
        assert picture[:, 2:14, :3].max() < 4096


def test_padding_does_not_change_the_range_of_real_numbers(tmp_path: Path) -> None:
    kelvin = GENERATOR.uniform(188, 358, (20, 8, 4)).astype(np.float32)
    np.save(tmp_path / "kelvin.npy", kelvin[..., None])
    plain = open_dataset(tmp_path / "kelvin.npy").spec
    dataset = open_dataset(tmp_path / "kelvin.npy", size=(8, 8), fit="pad")
    assert (dataset.spec.low, dataset.spec.high) == (plain.low, plain.high)
    for part in (dataset.train, dataset.validation):
        assert (part[:][:, :, [0, 1, -2, -1]] == np.float32(plain.high)).all()
    inside = {part.tobytes() for part in dataset.train[:][:, :, 2:6, 0]}
    assert inside <= {picture.tobytes() for picture in kelvin}


@pytest.mark.parametrize("wish", [{"size": (16, 16), "fit": "pad"}, {"channels": 4}])
def test_percentiles_are_those_of_the_pictures_own_values(
    tmp_path: Path, wish: dict[str, object]
) -> None:
    for number, picture in enumerate(GENERATOR.integers(100, 4000, (20, 16, 10), np.uint16)):
        Image.fromarray(picture).save(tmp_path / f"{number:02}.png")
    plain = open_dataset(tmp_path, range="percentiles").spec
    found = open_dataset(tmp_path, range="percentiles", **wish)
    assert (found.spec.low, found.spec.high) == (plain.low, plain.high)
    filled = everything(found)["00.png"][..., -1][:, [0, -1]]
    assert (filled == plain.high).all()


@pytest.mark.parametrize("depth", ["uint8", "float32"])
def test_where_code_divides_by_255_black_and_no_opacity_are_0(tmp_path: Path, depth: str) -> None:
    high = 255 if depth == "uint8" else 5
    values = GENERATOR.uniform(0, high, (20, 8, 4, 1)).astype(depth)
    values.flat[0] = high
    np.save(tmp_path / "some.npy", values)
    wish = {"size": (8, 8), "fit": "pad", "background": "black"}
    dataset = open_dataset(tmp_path / "some.npy", range="unit", **wish)
    assert (dataset.spec.low, dataset.spec.high) == (-high, high)
    assert all((picture[:, [0, 1, 6, 7]] == 0).all() for picture in everything(dataset).values())


def test_opacity_is_as_stored_where_code_divides_by_255(tmp_path: Path) -> None:
    stored = GENERATOR.integers(0, 256, (20, 6, 5, 4), np.uint8)
    for number, picture in enumerate(stored):
        Image.fromarray(picture).save(tmp_path / f"{number:02}.png")
    found = everything(open_dataset(tmp_path, range="unit", channels=4))
    assert all(np.array_equal(found[f"{n:02}.png"], picture) for n, picture in enumerate(stored))


@pytest.mark.parametrize(
    ("rule", "highest", "said"),
    [("percentiles", 3000.0, "data.range=data"), ("data", 1e-31, "Scale")],
)
def test_ranges_that_leave_nothing_to_compute_with_are_told(
    tmp_path: Path, rule: str, highest: float, said: str
) -> None:
    sparse = np.zeros((20, 20, 20), np.float32)
    sparse[::4, 3, 3] = highest
    np.save(tmp_path / "sparse.npy", sparse)
    with pytest.raises(LoangError, match=f"run from 0 to {highest:g}") as caught:
        open_dataset(tmp_path / "sparse.npy", range=rule)
    assert said in caught.value.remedy
