import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import loang
from loang.data import open_dataset
from loang.data.places import fashion_mnist
from loang.data.places.fashion_mnist import DEBIAN, holds_fashion_mnist
from loang.errors import LoangError


@pytest.fixture(autouse=True)
def _only_the_sample(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(fashion_mnist, "DEBIAN", tmp_path / "no-debian")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 6), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def array(tmp_path: Path) -> Path:
    path = tmp_path / "clothes.npz"
    np.savez(path, images=np.arange(20 * 16, dtype=np.uint16).reshape(20, 4, 4), y=np.arange(20))
    return path


@pytest.mark.parametrize("name", ["fashion-mnist", "Fashion_MNIST", "FashionMNIST"])
def test_fashion_mnist_by_name(name: str) -> None:
    dataset = open_dataset(name)
    assert dataset.name == "fashion-mnist"
    assert len(dataset.train) == 10_000
    assert dataset.notices


def test_fashion_mnist_is_the_default_and_takes_wishes() -> None:
    plain = open_dataset()
    changed = open_dataset(size=(32, 32), channels=3, labels=False)
    assert changed.spec.shape == (3, 32, 32)
    assert changed.spec.class_names == ()
    assert changed.train.labels is None
    assert changed.train.pixels.shape == (10_000, 32, 32, 3)
    assert changed.fingerprint != plain.fingerprint
    assert changed.notices == plain.notices


@pytest.mark.skipif(not holds_fashion_mnist(DEBIAN), reason="Debian's package is not installed")
def test_a_folder_of_the_four_files_is_fashion_mnist() -> None:
    assert len(open_dataset(DEBIAN).train) == 60_000


def test_a_folder(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = open_dataset(photos)
    assert len(dataset.train) + len(dataset.validation) == 12
    monkeypatch.chdir(photos.parent)
    assert open_dataset("photos").fingerprint == dataset.fingerprint
    monkeypatch.setenv("HOME", str(photos.parent))
    monkeypatch.setenv("USERPROFILE", str(photos.parent))
    assert open_dataset("~/photos/").fingerprint == dataset.fingerprint
    resized = open_dataset(photos, size=(4, 4), channels=3)
    assert resized.spec.shape == (3, 4, 4)


def test_an_array_file(array: Path) -> None:
    dataset = open_dataset(array)
    assert len(dataset.spec.class_names) == 20
    changed = open_dataset(array, size=(8, 8), channels=4, labels=False)
    assert changed.spec.shape == (4, 8, 8)
    assert changed.train.labels is None
    shutil.copy(array, array.with_suffix(".NPZ"))
    assert open_dataset(array.with_suffix(".NPZ")).fingerprint == dataset.fingerprint


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("fashion-minst", "fashion-mnist"),
        ("fashion", "fashion-mnist"),
        ("{0}/photo", "photos"),
        ("{0}/cloth.npz", "clothes.npz"),
        ("{0}/nothing/like/it", "Name fashion-mnist"),
        ("", "Name fashion-mnist"),
        ("~nobody-of-that-name/x", "Name fashion-mnist"),
        ("x" * 5000, "Name fashion-mnist"),
        ("a\0b", "Name fashion-mnist"),
    ],
)
def test_an_unknown_name(
    photos: Path, array: Path, monkeypatch: pytest.MonkeyPatch, name: str, meant: str
) -> None:
    monkeypatch.chdir(photos)
    with pytest.raises(LoangError) as caught:
        open_dataset(name.format(photos.parent))
    assert meant in caught.value.remedy


def test_a_file_of_another_kind(photos: Path) -> None:
    with pytest.raises(LoangError, match=r"0\.png is a file of a kind"):
        open_dataset(photos / "0.png")


def test_the_hub_is_for_later() -> None:
    with pytest.raises(LoangError, match="hub:owner/name"):
        open_dataset("hub:owner/name")


@pytest.mark.parametrize("size", [(0, 4), (4, -1)])
def test_a_size_that_cannot_be(size: tuple[int, int]) -> None:
    with pytest.raises(LoangError, match="pixels high"):
        open_dataset(size=size)


def test_channels_that_cannot_be(photos: Path, array: Path) -> None:
    for name in (photos, array, "fashion-mnist"):
        with pytest.raises(LoangError, match="2"):
            open_dataset(name, channels=2)


def test_is_public_and_imports_little() -> None:
    assert loang.open_dataset is open_dataset
    code = (
        "import sys, loang.data; "
        "print([m for m in ('PIL', 'psutil', 'http.server', 'matplotlib') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
