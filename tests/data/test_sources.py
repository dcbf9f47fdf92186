"""Which source a name means; and sources of other packages."""

import gzip
import struct
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from loang.data import sources
from loang.data.collection import Collection, Labels
from loang.data.encoded.picture import Header
from loang.data.open import open_dataset
from loang.errors import LoangError

GENERATOR = np.random.default_rng(5)


class Stripes(Collection):
    """Somebody's own images, computed: `stripes:N` are N of them."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.count = int(name.partition(":")[2])

    def identity(self) -> str:
        return "1"

    def __len__(self) -> int:
        return self.count

    def header(self, index: int) -> Header:
        return Header(8, 6, 1, "uint8")

    def picture(self, index: int) -> np.ndarray:
        return np.full((8, 6, 1), 3 * index, np.uint8)

    def place(self, index: int) -> str:
        return f"stripe {index}"

    def labels(self) -> Labels | None:
        return Labels.of([index % 2 for index in range(self.count)])


STRIPES = sources.Source(
    "stripes:N", lambda name: name.startswith("stripes:"), lambda name, wishes: Stripes(name)
)
BROKEN = "no source"


def offered(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    point = EntryPoint("stripes", value, sources.ENTRY_POINTS)

    def entry_points(group: str) -> list[EntryPoint]:
        assert group == sources.ENTRY_POINTS
        return [point]

    monkeypatch.setattr(sources, "entry_points", entry_points)


def test_another_package_offers_a_source(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LoangError, match="no data set"):
        open_dataset("stripes:50")
    offered(monkeypatch, f"{__name__}:STRIPES")
    dataset = open_dataset("stripes:50")
    assert len(dataset.train) + len(dataset.validation) == 50
    assert dataset.spec.class_names == ("0", "1")
    assert dataset.train.place(0).startswith("stripe ")
    assert open_dataset("stripes:50", size=(4, 4)).spec.shape == (1, 4, 4)


def test_another_package_that_is_broken_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    offered(monkeypatch, "there_is_no_such_module:STRIPES")
    with pytest.raises(LoangError, match="stripes of another package") as caught:
        open_dataset("stripes:50")
    assert "there_is_no_such_module" in caught.value.remedy


def test_it_costs_nobody_else_anything(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    offered(monkeypatch, "there_is_no_such_module:STRIPES")
    np.save(tmp_path / "a.npy", GENERATOR.integers(0, 9, (20, 4, 4), np.uint8))
    assert open_dataset(tmp_path / "a.npy").spec.shape == (1, 4, 4)


def test_a_folder_of_photos_is_one_whatever_archives_lie_beside_them(tmp_path: Path) -> None:
    for number in range(10):
        pixels = GENERATOR.integers(0, 256, (8, 8), np.uint8)
        (tmp_path / "deep").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "deep" / f"{number}.png")
    for name in ("backup.tar", "table.parquet", "train-images-idx3-ubyte"):
        (tmp_path / name).write_bytes(b"whatever")
    dataset = open_dataset(tmp_path)
    assert len(dataset.train) + len(dataset.validation) == 10


def idx(values: np.ndarray) -> bytes:
    shape = struct.pack(f">{values.ndim}I", *values.shape)
    return gzip.compress(bytes([0, 0, 8, values.ndim]) + shape + values.tobytes())


def test_a_folder_of_mnist_has_the_names_of_fashion_mnist_and_opens(tmp_path: Path) -> None:
    for part, count in (("train", 40), ("t10k", 12)):
        images = GENERATOR.integers(0, 256, (count, 28, 28), np.uint8)
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(idx(images))
        labels = np.arange(count, dtype=np.uint8) % 10
        (tmp_path / f"{part}-labels-idx1-ubyte.gz").write_bytes(idx(labels))
    dataset = open_dataset(tmp_path)
    assert (len(dataset.train), len(dataset.validation)) == (40, 12)
    assert dataset.spec.class_names == tuple("0123456789")


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("a.npy", {"labels_file", "label_column", "image_column"}),
        ("a.npz", {"labels_file", "label_column", "image_column"}),
        ("train-images-idx3-ubyte", {"labels_file", "label_column", "image_column"}),
        ("fashion-mnist", {"labels_file", "label_column", "image_column"}),
        ("a.parquet", {"labels_file"}),
        ("a.feather", {"labels_file"}),
        ("a.tar", {"labels_file"}),
        ("hub:owner/name", {"labels_file"}),
        ("folder", set()),
    ],
)
def test_wishes_that_mean_nothing_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, refused: set[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    if not name.startswith(("fashion", "hub", "folder")):
        (tmp_path / name).write_bytes(b"")
    for wish in ("labels_file", "label_column", "image_column"):
        # Whatever else is wrong with these is told otherwise.
        with pytest.raises(LoangError) as caught:
            open_dataset(name, **{wish: "x"})
        assert ("means nothing" in caught.value.problem) == (wish in refused)
