import io
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from loang.data.encoded.picture import Unreadable
from loang.data.places.arrow import is_arrow, open_arrow
from loang.data.wishes import Wishes
from loang.errors import LoangError

pa = pytest.importorskip("pyarrow")
feather = pytest.importorskip("pyarrow.feather")


def png(seed: int) -> tuple[bytes, np.ndarray]:
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 5, 3), np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue(), pixels


def table(rows: int = 40) -> "pa.Table":
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    cells = pa.array([{"bytes": png(row)[0], "path": None} for row in range(rows)], kind)
    words = pa.array([("cat", "dog", None)[row % 3] for row in range(rows)]).dictionary_encode()
    return pa.table({"n": range(rows), "image": cells, "label": words})


def saved(
    folder: Path, how: str, rows: int = 40, compression: str | None = None, batch: int = 9
) -> Path:
    path = folder / "images.arrow"
    kind = {"file": pa.ipc.new_file, "stream": pa.ipc.new_stream}[how]
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with kind(str(path), table(rows).schema, options=options) as writer:
        writer.write_table(table(rows), max_chunksize=batch)
    return path


@pytest.mark.parametrize("how", ["file", "stream"])
@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
def test_both_formats_in_any_order_and_by_threads(
    tmp_path: Path, how: str, compression: str | None
) -> None:
    path = saved(tmp_path, how, compression=compression)
    assert is_arrow(str(path))
    images = open_arrow(str(path), Wishes())
    assert len(images) == 40
    for rows in (range(40), range(39, -1, -1)):
        with ThreadPoolExecutor(4) as pool:
            for row, picture in zip(rows, pool.map(images.picture, rows), strict=True):
                np.testing.assert_array_equal(picture, png(row)[1])
    assert images.header(3).depth == "uint8"
    assert images.labels().names == ("cat", "dog")
    assert images.labels().numbers[:5].tolist() == [0, 1, -1, 0, 1]
    assert images.place(9) == f"{path}, row 9"


def test_feather(tmp_path: Path) -> None:
    path = tmp_path / "images.feather"
    feather.write_feather(table(), path)
    assert is_arrow(str(path))
    images = open_arrow(str(path), Wishes())
    np.testing.assert_array_equal(images.picture(31), png(31)[1])


def test_what_datasets_saves(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["x", "y"])}
    )
    parts = {
        name: datasets.Dataset.from_dict(
            {
                "image": [{"bytes": png(start + row)[0], "path": None} for row in range(7)],
                "label": [0, 1, 1, 0, -1, 0, 1],
            },
            features=features,
        )
        for name, start in (("train", 0), ("test", 100))
    }
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "both"))
    assert is_arrow(str(tmp_path / "both"))
    images = open_arrow(str(tmp_path / "both"), Wishes())
    assert images.labels().names == ("x", "y")
    assert images.labels().numbers.tolist() == [0, 1, 1, 0, -1, 0, 1] * 2
    for index in range(14):
        held = images.held_out()[index]
        np.testing.assert_array_equal(images.picture(index), png(index % 7 + 100 * held)[1])
    assert images.held_out().sum() == 7

    parts["train"].save_to_disk(str(tmp_path / "one"), num_shards=3)
    images = open_arrow(str(tmp_path / "one"), Wishes())
    assert images.held_out() is None
    for index in range(7):
        np.testing.assert_array_equal(images.picture(index), png(index)[1])


def test_arrays_as_datasets_saves_them(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    values = np.arange(5 * 12, dtype=np.uint8).reshape(5, 3, 4)
    features = datasets.Features({"x": datasets.Array2D((3, 4), "uint8")})
    datasets.Dataset.from_dict({"x": list(values)}, features=features).save_to_disk(str(tmp_path))
    images = open_arrow(str(tmp_path), Wishes())
    for index in range(5):
        np.testing.assert_array_equal(images.picture(index)[..., 0], values[index])


@pytest.mark.parametrize("how", ["file", "stream"])
def test_a_file_cut_short_is_refused(tmp_path: Path, how: str) -> None:
    path = saved(tmp_path, how)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(LoangError, match="no sound Arrow file"):
        open_arrow(str(path), Wishes())


def test_places_that_lie_outside_are_never_followed(tmp_path: Path) -> None:
    """Arrow's own readers trust the places of values, and would read any memory."""
    path = tmp_path / "images.arrow"
    hostile = pa.Array.from_buffers(
        pa.binary(),
        3,
        [None, pa.py_buffer(np.array([0, 9, 2**30, 5], "<i4").tobytes()), pa.py_buffer(bytes(64))],
    )
    batch = pa.record_batch([hostile], names=["image"])
    with pa.ipc.new_file(str(path), batch.schema) as writer:
        writer.write_batch(batch)
    images = open_arrow(str(path), Wishes())
    with pytest.raises(Unreadable, match="damaged"):
        images.picture(1)


@pytest.mark.parametrize("how", ["file", "stream"])
@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_rows_take_no_memory_that_they_announce(tmp_path: Path, how: str, compression: str) -> None:
    """pyarrow's reader would ask for as much as a compressed buffer says."""
    path = saved(tmp_path, how, compression=compression, batch=40)
    size = sum(len(png(row)[0]) for row in range(40)).to_bytes(8, "little")
    content = path.read_bytes()
    assert size in content
    for hostile in (2**32, 2**60):
        path.write_bytes(content.replace(size, hostile.to_bytes(8, "little")))
        most = pa.default_memory_pool().max_memory()
        with pytest.raises(LoangError, match=r"GB once they are unpacked together\. Write it"):
            open_arrow(str(path), Wishes())
        assert pa.default_memory_pool().max_memory() < most + 10**7


def test_a_file_that_announces_more_rows_than_it_can_hold_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "images.arrow"
    nothing = pa.record_batch([pa.nulls(10**7)], names=["n"])
    with pa.ipc.new_stream(str(path), nothing.schema) as writer:
        writer.write_batch(nothing)
    with pytest.raises(LoangError, match="announces 10,000,000 rows"):
        open_arrow(str(path), Wishes())


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, "stream")
    path.write_bytes(path.read_bytes().replace(b"label", b"lab\xffl"))
    with pytest.raises(LoangError, match="no sound Arrow file"):
        open_arrow(str(path), Wishes())


def test_a_missing_package_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path, "file")
    monkeypatch.setitem(sys.modules, "pyarrow.ipc", None)
    with pytest.raises(LoangError, match=r'pip install "loang\[parquet\]"'):
        open_arrow(str(path), Wishes())
