import gzip
from pathlib import Path

import numpy as np
import pytest

from loang.data.places.idx_collection import is_idx, open_idx
from loang.data.wishes import Wishes
from loang.errors import LoangError


def idx(values: np.ndarray) -> bytes:
    sizes = b"".join(side.to_bytes(4, "big") for side in values.shape)
    return bytes([0, 0, 8, values.ndim]) + sizes + values.astype(np.uint8).tobytes()


def saved(folder: Path, name: str, values: np.ndarray) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(gzip.compress(idx(values)) if name.endswith(".gz") else idx(values))
    return path


def some(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
        ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
        ("t10k-images.idx3-ubyte", "t10k-labels.idx1-ubyte.gz"),
        ("qmnist-test-images-idx3-ubyte.gz", "qmnist-test-labels-idx1-ubyte"),
        ("images-idx3-ubyte", "labels-idx1-ubyte"),
    ],
)
def test_a_file_by_path_with_its_labels_beside_it(tmp_path: Path, images: str, labels: str) -> None:
    values = some(12, 6, 5)
    path = saved(tmp_path, images, values)
    assert is_idx(str(path))
    assert open_idx(str(path), Wishes()).labels() is None
    saved(tmp_path, labels, np.array([9, 3, 10, 3] * 3))
    opened = open_idx(str(path), Wishes())
    assert len(opened) == 12
    for index in range(12):
        header = opened.header(index)
        assert (header.height, header.width, header.channels, header.depth) == (6, 5, 1, "uint8")
        np.testing.assert_array_equal(opened.picture(index)[..., 0], values[index])
    assert opened.labels().names == ("3", "9", "10")
    assert opened.labels().numbers.tolist() == [1, 0, 2, 0] * 3
    assert opened.held_out() is None
    assert opened.place(7) == f"{images}, image 7"


def test_colour(tmp_path: Path) -> None:
    values = some(4, 6, 5, 3)
    opened = open_idx(str(saved(tmp_path, "train-images-idx4-ubyte", values)), Wishes())
    assert opened.header(0).channels == 3
    np.testing.assert_array_equal(opened.picture(3), values[3])


@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize("test", ["t10k", "test"])
def test_a_folder_of_a_pair(tmp_path: Path, test: str, end: str) -> None:
    train, held = some(6, 4, 4), 255 - some(3, 4, 4)
    saved(tmp_path, f"train-images-idx3-ubyte{end}", train)
    saved(tmp_path, f"train-labels-idx1-ubyte{end}", np.arange(6) % 2)
    saved(tmp_path, f"{test}-images-idx3-ubyte{end}", held)
    saved(tmp_path, f"{test}-labels-idx1-ubyte{end}", np.arange(3) % 2)
    assert is_idx(str(tmp_path))
    opened = open_idx(str(tmp_path), Wishes())
    assert opened.held_out().tolist() == [False] * 6 + [True] * 3
    for index, expected in enumerate([*train, *held]):
        np.testing.assert_array_equal(opened.picture(index)[..., 0], expected)
    assert opened.labels().numbers.tolist() == [0, 1, 0, 1, 0, 1, 0, 1, 0]
    (tmp_path / f"{test}-labels-idx1-ubyte{end}").unlink()
    assert open_idx(str(tmp_path), Wishes()).labels() is None


def test_a_file_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    for end in ("", ".gz"):
        saved(tmp_path, f"train-images-idx3-ubyte{end}", some(6, 4, 4))
    assert len(open_idx(str(tmp_path), Wishes())) == 6


def test_emnist_is_turned_back(tmp_path: Path) -> None:
    upright = some(5, 6, 6)
    name = "emnist-letters-train-images-idx3-ubyte.gz"
    path = saved(tmp_path, name, upright.swapaxes(1, 2))
    saved(tmp_path, "emnist-letters-train-labels-idx1-ubyte.gz", np.arange(5))
    opened = open_idx(str(path), Wishes())
    np.testing.assert_array_equal(opened.picture(4)[..., 0], upright[4])
    assert "turned back" in " ".join(opened.notices)
    assert opened.labels().names == ("0", "1", "2", "3", "4")


def test_several_data_sets_in_a_folder(tmp_path: Path) -> None:
    for name in ("emnist-letters", "emnist-digits"):
        saved(tmp_path, f"{name}-train-images-idx3-ubyte", some(2, 4, 4))
    with pytest.raises(LoangError, match=r"several data sets: emnist-digits.*Name one"):
        open_idx(str(tmp_path), Wishes())


def test_other_files_and_folders_are_not_taken(tmp_path: Path) -> None:
    assert not is_idx(str(saved(tmp_path, "train-labels-idx1-ubyte", np.arange(3))))
    assert not is_idx(str(tmp_path))
    assert not is_idx(str(tmp_path / "train-images-idx3-ubyte"))


def test_damage_is_told(tmp_path: Path) -> None:
    path = saved(tmp_path, "train-images-idx3-ubyte", some(4, 3, 3))
    saved(tmp_path, "train-labels-idx1-ubyte", np.arange(5))
    with pytest.raises(LoangError, match=r"labels-idx1-ubyte has the shape \(5,\), and"):
        open_idx(str(path), Wishes()).labels()
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(LoangError, match="announces"):
        len(open_idx(str(path), Wishes()))
    saved(tmp_path, "train-images-idx3-ubyte", np.arange(4))
    with pytest.raises(LoangError, match="not one of many images"):
        len(open_idx(str(path), Wishes()))


def test_identity_changes_with_the_files(tmp_path: Path) -> None:
    path = saved(tmp_path, "train-images-idx3-ubyte", some(4, 3, 3))
    first = open_idx(str(path), Wishes()).identity()
    assert first == open_idx(str(path), Wishes()).identity()
    saved(tmp_path, "train-labels-idx1-ubyte", np.arange(4))
    second = open_idx(str(path), Wishes()).identity()
    assert second != first
    saved(tmp_path, "train-images-idx3-ubyte", some(5, 3, 3))
    assert open_idx(str(path), Wishes()).identity() != second
