import contextlib
import io
import struct
import tracemalloc
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from loang.data.open import open_dataset
from loang.data.places.arrays import ArrayCollection
from loang.errors import LoangError

GENERATOR = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _reseed() -> None:
    """Each test draws the same images whatever ran before it."""
    GENERATOR.bit_generator.state = np.random.default_rng(5).bit_generator.state


def some(*shape: int, dtype: str = "uint8") -> np.ndarray:
    return GENERATOR.integers(0, 256, shape).astype(dtype)


def saved(folder: Path, values: np.ndarray, **others: np.ndarray) -> Path:
    path = folder / ("file.npz" if others else "file.npy")
    np.savez(path, images=values, **others) if others else np.save(path, values)
    return path


def everything(dataset) -> set[bytes]:
    parts = (dataset.train, dataset.validation)
    return {picture.tobytes() for part in parts for picture in part.pixels}


@pytest.mark.parametrize(
    ("shape", "spec"),
    [
        ((30, 8, 6), (1, 8, 6)),
        ((30, 8, 6, 1), (1, 8, 6)),
        ((30, 8, 6, 3), (3, 8, 6)),
        ((30, 3, 8, 6), (3, 8, 6)),
        ((30, 8, 9, 5), (5, 8, 9)),
        ((30, 5, 8, 9), (5, 8, 9)),
        ((30, 3, 8, 4), (4, 3, 8)),
        ((1, 8, 6), (1, 8, 6)),
    ],
)
def test_layouts(tmp_path: Path, shape: tuple[int, ...], spec: tuple[int, int, int]) -> None:
    values = some(*shape)
    dataset = open_dataset(saved(tmp_path, values))
    assert dataset.spec.shape == spec
    channels_first = len(shape) == 4 and spec == shape[1:]
    rearranged = np.moveaxis(values, 1, -1) if channels_first else values
    assert everything(dataset) == {np.ascontiguousarray(row).tobytes() for row in rearranged}
    told = any("taken as the channels" in notice for notice in dataset.notices)
    assert told == (5 in shape or shape == (30, 3, 8, 4))


def test_a_batch_is_more_than_one_piece(tmp_path: Path) -> None:
    values = some(2500, 4, 5)
    dataset = open_dataset(saved(tmp_path, values))
    assert len(dataset.train) + len(dataset.validation) == 2500
    assert 150 < len(dataset.validation) < 350
    assert everything(dataset) == {row.tobytes() for row in values}


@pytest.mark.parametrize(
    ("dtype", "depth"),
    [
        ("uint8", "uint8"),
        ("uint16", "uint16"),
        (">u2", "uint16"),
        ("float16", "float32"),
        ("float32", "float32"),
        ("float64", "float32"),
        (">f8", "float32"),
    ],
)
def test_depths(tmp_path: Path, dtype: str, depth: str) -> None:
    assert open_dataset(saved(tmp_path, some(20, 4, 4, dtype=dtype))).spec.depth == depth


@pytest.mark.parametrize(
    ("lowest", "highest", "expected"),
    [
        (0.0, 1.0, (0, 1)),
        (0.2, 0.7, (0, 1)),
        (-0.5, 1.0, (-1, 1)),
        (-2.0, 1.0, (-2, 1)),
        (3.0, 250.0, (3, 250)),
    ],
)
def test_float_ranges(tmp_path: Path, lowest: float, highest: float, expected) -> None:
    values = GENERATOR.uniform(lowest, highest, (20, 4, 4)).astype(np.float32)
    values[0, 0, :2] = lowest, highest
    dataset = open_dataset(saved(tmp_path, values))
    assert (dataset.spec.low, dataset.spec.high) == expected
    assert "range" in dataset.notices[0]


@pytest.mark.parametrize(
    ("highest", "high"), [(3, 255), (1000, 1023), (4095, 4095), (40000, 65535)]
)
def test_sixteen_bit_ranges(tmp_path: Path, highest: int, high: int) -> None:
    values = GENERATOR.integers(0, highest + 1, (20, 4, 4), np.uint16)
    values[0, 0, 0] = highest
    dataset = open_dataset(saved(tmp_path, values))
    assert dataset.spec.high == high
    assert len(dataset.notices) == (high != 65535)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("size", [None, (8, 8)])
def test_what_is_not_finite_is_left_out_and_told(tmp_path: Path, bad: float, size) -> None:
    count, at = (1000, 700) if size is None else (100, 70)  # to scale them takes longer
    values = GENERATOR.normal(size=(count, 4, 4))
    values[at, 1, 1] = bad
    dataset = open_dataset(saved(tmp_path, values), size=size)
    assert len(dataset.train) + len(dataset.validation) == count - 1
    assert f"1 of the {count:,} images" in dataset.notices[0]
    assert f"image {at} (some of its values are not finite" in dataset.notices[0]
    if size is None:
        kept = np.delete(values, at, axis=0).astype(np.float32)
        assert everything(dataset) == {row[..., None].tobytes() for row in kept}


def test_values_that_run_too_far_for_a_range_are_refused(tmp_path: Path) -> None:
    """Found by fuzzing: high - low was more than float32 holds."""
    values = some(4, 4, 4, dtype="float32")
    values[0, 0, :2] = -3e38, 3e38
    with pytest.raises(LoangError, match="run from -3e\\+38 to 3e\\+38, which is too far"):
        open_dataset(saved(tmp_path, values))


def test_a_signalling_nan_is_one_like_any_other(tmp_path: Path) -> None:
    """Found by fuzzing: numpy warns when it is cast."""
    values = some(4, 4, 4, dtype="float64")
    values.view("uint64")[1, 2, 3] = 0x7FF0000000000001
    with pytest.raises(LoangError, match="not finite"):
        open_dataset(saved(tmp_path, values))


def test_a_header_that_can_be_anything_is_not_repeated_whole(tmp_path: Path) -> None:
    """Found by fuzzing: numpy's message holds the header."""
    text = b"9" * 6000
    content = b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text
    (tmp_path / "odd.npy").write_bytes(content)
    with pytest.raises(LoangError, match="no sound array file") as caught:
        open_dataset(tmp_path / "odd.npy")
    assert len(caught.value.problem) < 400 + len(str(tmp_path))


def test_constant_values_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LoangError, match="nothing to learn"):
        open_dataset(saved(tmp_path, np.ones((4, 4, 4), np.float32)))


@pytest.mark.parametrize("labels", [[7, 3, 7] * 10, ["no", "ja", "no"] * 10])
@pytest.mark.parametrize("key", ["labels", "y"])
def test_labels(tmp_path: Path, labels: list, key: str) -> None:
    values = np.where(np.arange(30) % 3 == 1, 200, 10).astype(np.uint8)
    values = values[:, None, None] + np.arange(30, dtype=np.uint8)[:, None, None] % 30
    images = np.broadcast_to(values, (30, 4, 4))
    dataset = open_dataset(saved(tmp_path, images, **{key: np.array(labels)}))
    assert dataset.spec.class_names == (("3", "7") if labels[0] == 7 else ("ja", "no"))
    for part in (dataset.train, dataset.validation):
        assert part.labels is not None
        assert np.array_equal(part.labels, (part.pixels[:, 0, 0, 0] < 100).astype(int))


def test_minus_one_is_no_label(tmp_path: Path) -> None:
    values = np.array([-1, 0, 10, 2] * 3)
    labels = ArrayCollection(saved(tmp_path, some(12, 4, 4), labels=values)).labels()
    assert labels.names == ("0", "2", "10")
    assert labels.numbers[:4].tolist() == [-1, 0, 2, 1]


@pytest.mark.parametrize(
    "labels", [np.zeros(29, int), np.zeros((30, 2), int), np.zeros(30), np.zeros(30, bool)]
)
def test_labels_that_are_none(tmp_path: Path, labels: np.ndarray) -> None:
    with pytest.raises(LoangError, match="labels"):
        open_dataset(saved(tmp_path, some(30, 4, 4), labels=labels))


def test_the_first_unnamed_array_and_x(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", some(5, 4, 4))
    np.savez_compressed(tmp_path / "b.npz", x=some(5, 4, 4), y=np.arange(5))
    for name in "ab":
        dataset = open_dataset(tmp_path / f"{name}.npz")
        assert len(dataset.train) + len(dataset.validation) == 5


@pytest.mark.parametrize(
    "values",
    [
        np.zeros((4, 4, 4), complex),
        np.array(["a", "b"]),
        np.zeros((4, 4), np.uint8),
        np.array(3, np.uint8),
        np.zeros((0, 4, 4), np.uint8),
        np.zeros((4, 0, 4), np.uint8),
        np.zeros((40, 50, 3), np.uint8),
        np.zeros((4, 9, 9, 9), np.uint8),
        np.zeros((4, 9, 5, 9), np.uint8),
        np.zeros((2, 2, 4, 4, 3), np.uint8),
    ],
    ids=lambda values: f"{values.dtype.name}{values.shape}",
)
def test_nonsense_is_refused(tmp_path: Path, values: np.ndarray) -> None:
    with pytest.raises(LoangError, match=r"file\.npy"):
        open_dataset(saved(tmp_path, values))


def test_pickles_are_never_opened(tmp_path: Path) -> None:
    np.save(tmp_path / "file.npy", np.array([{"a": 1}], object), allow_pickle=True)
    np.savez(tmp_path / "file.npz", images=np.array([{"a": 1}], object), allow_pickle=True)
    for suffix in ("npy", "npz"):
        with pytest.raises(LoangError, match="file"):
            open_dataset(tmp_path / f"file.{suffix}")


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_damage_is_told(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"file.{suffix}"
    np.savez(path, images=some(20, 4, 4)) if suffix == "npz" else np.save(path, some(20, 4, 4))
    sound = path.read_bytes()
    for damaged in (b"", b"text", sound[:20], sound[:-20], sound[: len(sound) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(LoangError, match="file"):
            open_dataset(path)
    for place in GENERATOR.integers(0, min(len(sound), 200), 60):
        path.write_bytes(sound[:place] + b"\xff" + sound[place + 1 :])
        with contextlib.suppress(LoangError):
            open_dataset(path)


def test_an_archive_without_images(tmp_path: Path) -> None:
    np.savez(tmp_path / "file.npz", pictures=some(2, 4, 4))
    with pytest.raises(LoangError, match="pictures"):
        open_dataset(tmp_path / "file.npz")
    with zipfile.ZipFile(tmp_path / "file.npz", "w") as file:
        file.writestr("images", "text")
    with pytest.raises(LoangError, match="file"):
        open_dataset(tmp_path / "file.npz")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(LoangError, match="no data set, folder or file"):
        open_dataset(tmp_path / "missing.npy")


def test_a_row_added_tomorrow_moves_no_other(tmp_path: Path) -> None:
    values = some(60, 4, 4)
    today = open_dataset(saved(tmp_path, values[:40]))
    tomorrow = open_dataset(saved(tmp_path, values[::-1]))
    for part in ("train", "validation"):
        before = {row.tobytes() for row in getattr(today, part).pixels}
        assert before <= {row.tobytes() for row in getattr(tomorrow, part).pixels}


def test_a_small_archive_of_very_many_zeros_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, images=np.zeros((500, 256, 256), np.uint8))
    assert path.stat().st_size < 2**16
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=10**7))
    monkeypatch.setattr(np.lib.format, "read_array", lambda *_, **__: pytest.fail("unpacked"))
    with pytest.raises(LoangError, match=r"bomb\.npz would take 0\.0 GB of memory.* free"):
        open_dataset(path)


def test_an_archive_that_announces_more_than_it_has_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large.npz"
    content = header((10**6, 1000, 1000)) + bytes(100)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", content)
    with pytest.raises(LoangError, match="images is cut short"):
        open_dataset(path)


def header(shape: tuple[int, ...]) -> bytes:
    content = io.BytesIO()
    about = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_2_0(content, about)
    return content.getvalue()


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_an_archive_that_numpy_would_not_pack_so_is_refused(tmp_path: Path, method: int) -> None:
    path = tmp_path / "odd.npz"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("images.npy", header((3, 4, 4)) + bytes(48))
    with pytest.raises(LoangError, match="packed in a way"):
        open_dataset(path)


def test_an_npz_whose_list_is_endless_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "crowded.npz"
    np.savez(path, images=some(4, 4, 4))
    with zipfile.ZipFile(path, "a") as file:
        for number in range(30_000):
            file.writestr(zipfile.ZipInfo(str(number)), b"")
    tracemalloc.start()
    try:
        with pytest.raises(LoangError, match=r"crowded\.npz.*list of members is too long"):
            open_dataset(path)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 2**21


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_the_length_of_a_header_decides_no_memory(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"long.{suffix}"
    content = b"\x93NUMPY\x02\0" + struct.pack("<I", 2**27) + b"{" + b" " * 2**27
    if suffix == "npy":
        path.write_bytes(content)
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("images.npy", content)
    del content
    tracemalloc.start()
    with pytest.raises(LoangError, match="header has 134,217,728 bytes"):
        open_dataset(path)
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


@pytest.mark.parametrize("dtype", ["i1", "i2", ">i2", "i4", "i8", "u4", "u8"])
@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_signed_and_long_whole_numbers_stay_exact(tmp_path: Path, dtype: str, suffix: str) -> None:
    low, high = (-128, 128) if dtype == "i1" else (-9000 * (dtype[-2] == "i"), 2**15)
    values = GENERATOR.integers(low, high, (20, 4, 5)).astype(dtype)
    others = {"labels": np.arange(20) % 2} if suffix == "npz" else {}
    dataset = open_dataset(saved(tmp_path, values, **others))
    assert dataset.spec.depth == "float32"
    assert everything(dataset) == {row[..., None].astype(np.float32).tobytes() for row in values}
    assert any("kept as real ones" in notice for notice in dataset.notices)


def test_whole_numbers_that_are_too_long_are_left_out_and_told(tmp_path: Path) -> None:
    values = GENERATOR.integers(0, 2**24, (100, 4, 5))
    values[7, 1, 1] = 2**24 + 1
    dataset = open_dataset(saved(tmp_path, values))
    assert len(dataset.train) + len(dataset.validation) == 99
    assert any("image 7 (some of its whole numbers" in notice for notice in dataset.notices)


def test_false_and_true_are_black_and_white(tmp_path: Path) -> None:
    values = GENERATOR.integers(0, 2, (20, 4, 5)).astype(bool)
    dataset = open_dataset(saved(tmp_path, values))
    assert dataset.spec.depth == "uint8"
    assert everything(dataset) == {(row[..., None] * np.uint8(255)).tobytes() for row in values}
