import gc
import io
import json
import random
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from loang.data.encoded.picture import Unreadable
from loang.data.places import parquet
from loang.data.places.parquet import ParquetCollection, is_parquet, open_parquet
from loang.data.places.parquet_pages import check_pages, read_chunks
from loang.data.wishes import Wishes
from loang.data.workers import in_threads
from loang.errors import LoangError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def png(seed: int, height: int = 6, width: int = 5) -> tuple[bytes, np.ndarray]:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue(), pixels


def hugging(rows: int, **features: object) -> "pa.Table":
    """A table as `datasets` writes it."""
    cells = [{"bytes": png(row)[0], "path": f"{row}.png"} for row in range(rows)]
    known = {"image": {"_type": "Image"}, **features}
    metadata = {"huggingface": json.dumps({"info": {"features": known}})}
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    labels = pa.array([row % 3 - 1 for row in range(rows)])
    return pa.table({"image": pa.array(cells, kind), "label": labels}).replace_schema_metadata(
        metadata
    )


def saved(folder: Path, table: "pa.Table", name: str = "images.parquet", **options: object) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, **options)
    return path


def test_what_hugging_face_writes(tmp_path: Path) -> None:
    names = {"_type": "ClassLabel", "names": ["cat", "dog"]}
    path = saved(tmp_path, hugging(20, label=names), row_group_size=7)
    assert is_parquet(str(path))
    images = open_parquet(str(path), Wishes())
    assert len(images) == 20
    for row in range(20):
        header = images.header(row)
        assert (header.height, header.width, header.channels, header.depth) == (6, 5, 3, "uint8")
        np.testing.assert_array_equal(images.picture(row), png(row)[1])
    labels = images.labels()
    assert labels.names == ("cat", "dog")
    assert labels.numbers.tolist() == [row % 3 - 1 for row in range(20)]
    assert images.held_out() is None
    assert images.place(8) == f"{path}, row 8"


@pytest.mark.parametrize(
    ("values", "numbers", "names"),
    [
        ([3, 1, None, -1, 3], [1, 0, -1, -1, 1], ("1", "3")),
        (["b", "a", None, "", "b"], [1, 0, -1, -1, 1], ("a", "b")),
        ([True, False, None, True, True], [1, 0, -1, 1, 1], ("0", "1")),
        ([-1, 1, None, 1, -1], [0, 1, -1, 1, 0], ("-1", "1")),
        ([3.0, 1.0, None, float("nan"), 3.0], [1, 0, -1, -1, 1], ("1", "3")),
    ],
)
@pytest.mark.parametrize("dictionary", [False, True])
def test_labels_of_numbers_words_and_dictionaries(
    tmp_path: Path, values: list, numbers: list[int], names: tuple[str, ...], dictionary: bool
) -> None:
    column = pa.array(values)
    if dictionary and not isinstance(values[0], bool):
        column = column.dictionary_encode()
    table = pa.table({"photo": [png(0)[0]] * 5, "category": column})
    labels = open_parquet(str(saved(tmp_path, table)), Wishes()).labels()
    assert labels.names == names
    assert labels.numbers.tolist() == numbers


@pytest.mark.parametrize(
    ("values", "reason"),
    [([0.5, 1.0], "0.5 is not whole"), ([[1, 0], [0, 1]], "list"), ([b"a", b"b"], "binary")],
)
def test_a_column_of_labels_that_can_be_none_is_told(
    tmp_path: Path, values: list, reason: str
) -> None:
    table = pa.table({"image": [png(0)[0]] * 2, "label": values})
    images = open_parquet(str(saved(tmp_path, table)), Wishes(image_column="image"))
    assert images.labels() is None
    assert any("its column label" in each and reason in each for each in images.notices)


@pytest.mark.parametrize(
    ("dtype", "depth"),
    [("u1", "uint8"), ("u2", "uint16"), ("f2", "float32"), ("f4", "float32"), ("f8", "float32")],
)
@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 3), (3, 4, 6)])
def test_lists_of_numbers(tmp_path: Path, dtype: str, depth: str, shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).integers(0, 256, (9, *shape)).astype(dtype)
    kind = pa.from_numpy_dtype(values.dtype)
    for _ in shape:
        kind = pa.list_(kind)
    cells = [values[row].astype(float).tolist() for row in range(9)]
    if dtype[0] == "u":
        cells = [values[row].tolist() for row in range(9)]
    images = open_parquet(
        str(saved(tmp_path, pa.table({"x": pa.array(cells, kind)}), row_group_size=4)), Wishes()
    )
    for row in range(9):
        expected = values[row].reshape(4, 6, -1)
        if shape[0] == 3:
            expected = np.moveaxis(values[row], 0, -1)
        header, picture = images.header(row), images.picture(row)
        assert (header.height, header.width, header.channels) == expected.shape == picture.shape
        assert header.depth == depth == picture.dtype.name
        np.testing.assert_array_equal(picture, expected.astype(depth))


def test_lists_of_fixed_length(tmp_path: Path) -> None:
    values = np.arange(5 * 12, dtype=np.uint8).reshape(5, 3, 4)
    rows = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), 4)
    table = pa.table({"x": pa.FixedSizeListArray.from_arrays(rows, 3)})
    images = open_parquet(str(saved(tmp_path, table, row_group_size=2)), Wishes())
    for row in range(5):
        np.testing.assert_array_equal(images.picture(row)[..., 0], values[row])


def test_rows_that_hold_no_picture_are_told_apart(tmp_path: Path) -> None:
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    cells = [
        {"bytes": png(0)[0], "path": None},
        {"bytes": None, "path": "elsewhere/7.png"},
        None,
        {"bytes": b"no picture", "path": None},
        {"bytes": b"", "path": None},
    ]
    images = open_parquet(
        str(saved(tmp_path, pa.table({"image": pa.array(cells, kind)}))), Wishes()
    )
    assert images.picture(0).shape == (6, 5, 3)
    with pytest.raises(Unreadable, match=r"not in the file, which only names elsewhere/7\.png"):
        images.header(1)
    for row in (2, 3, 4):
        with pytest.raises(Unreadable):
            images.header(row)
        with pytest.raises(Unreadable):
            images.picture(row)


def test_lists_that_are_no_image_are_unreadable(tmp_path: Path) -> None:
    cells = [[[1, 2], [3, 4]], [[1, 2], [3]], [[1, None], [3, 4]], None, [[], []], [], [None, [1]]]
    table = pa.table({"x": pa.array(cells, pa.list_(pa.list_(pa.uint8())))})
    images = open_parquet(str(saved(tmp_path, table)), Wishes())
    assert images.picture(0)[..., 0].tolist() == [[1, 2], [3, 4]]
    for row in range(1, len(cells)):
        with pytest.raises(Unreadable):
            images.header(row)
        with pytest.raises(Unreadable):
            images.picture(row)


def test_the_column_is_the_only_one_or_has_a_usual_name_or_is_named(tmp_path: Path) -> None:
    first, second = png(1)[0], png(2)[0]
    only = saved(tmp_path, pa.table({"scan": [first], "n": [1], "box": [[1.0, 2.0]]}), "1.parquet")
    assert open_parquet(str(only), Wishes()).columns.image == "scan"
    usual = saved(tmp_path, pa.table({"mask": [second], "Image": [first]}), "2.parquet")
    assert open_parquet(str(usual), Wishes()).columns.image == "Image"
    several = saved(tmp_path, pa.table({"mask": [second], "scan": [first]}), "3.parquet")
    with pytest.raises(LoangError, match=r"Several columns.*mask \(binary\), scan.*image_column="):
        open_parquet(str(several), Wishes())
    named = open_parquet(str(several), Wishes(image_column="scan"))
    np.testing.assert_array_equal(named.picture(0), png(1)[1])
    none = saved(tmp_path, pa.table({"n": [1]}), "4.parquet")
    with pytest.raises(LoangError, match=r"No column.*n \(int64\).*data\.image_column="):
        open_parquet(str(none), Wishes())
    with pytest.raises(LoangError, match=r"The column other .* is not there"):
        open_parquet(str(several), Wishes(image_column="other"))
    with pytest.raises(LoangError, match=r"The column scan .* holds no labels"):
        open_parquet(str(only), Wishes(label_column="scan"))
    assert open_parquet(str(only), Wishes(label_column="n")).labels().names == ("1",)


def test_sound_is_no_image(tmp_path: Path) -> None:
    table = hugging(3)
    table = table.append_column("audio", table["image"])
    known = {"image": {"_type": "Image"}, "audio": {"_type": "Audio"}}
    table = table.rename_columns(["scan", "label", "audio"]).replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": known}})}
    )
    assert open_parquet(str(saved(tmp_path, table)), Wishes()).columns.image == "scan"


def test_a_folder_of_shards_and_its_parts(tmp_path: Path) -> None:
    for name in ("train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001"):
        saved(tmp_path, hugging(4), f"data/{name}.parquet")
    (tmp_path / "README.md").write_text("x")
    assert is_parquet(str(tmp_path))
    images = open_parquet(str(tmp_path), Wishes())
    assert len(images) == 12
    assert images.held_out().tolist() == [True] * 4 + [False] * 8
    assert images.place(5).endswith("train-00000-of-00002.parquet, row 1")
    saved(tmp_path, hugging(5), "data/validation-00000-of-00001.parquet")
    images = open_parquet(str(tmp_path), Wishes())
    assert (len(images), images.held_out().sum()) == (13, 5)
    assert any("test" in notice and "left aside" in notice for notice in images.notices)


def test_shards_of_other_columns_are_refused(tmp_path: Path) -> None:
    saved(tmp_path, hugging(2), "a.parquet")
    saved(tmp_path, pa.table({"image": [png(0)[0]], "label": [1]}), "b.parquet")
    with pytest.raises(LoangError, match=r"b\.parquet has no column image like"):
        open_parquet(str(tmp_path), Wishes())


def test_shards_that_name_their_classes_in_another_order_are_of_the_same_classes(
    tmp_path: Path,
) -> None:
    for shard, names in (("a", ["cat", "dog"]), ("b", ["dog", "owl", "cat"])):
        feature = {"_type": "ClassLabel", "names": names}
        saved(tmp_path, hugging(3, label=feature), f"{shard}.parquet")  # -1, 0, 1
    labels = open_parquet(str(tmp_path), Wishes()).labels()
    assert labels.names == ("cat", "dog", "owl")
    assert labels.numbers.tolist() == [-1, 0, 1, -1, 1, 2]
    saved(tmp_path, hugging(3), "c.parquet")
    unlike = open_parquet(str(tmp_path), Wishes())
    with pytest.raises(LoangError, match=r"c\.parquet does not say what the numbers .* mean"):
        unlike.labels()


def test_links_that_leave_the_folder_are_left_aside(tmp_path: Path) -> None:
    outside = saved(tmp_path / "elsewhere", hugging(3))
    saved(tmp_path / "here", hugging(2), "a.parquet")
    (tmp_path / "here" / "b.parquet").symlink_to(outside)
    images = open_parquet(str(tmp_path / "here"), Wishes())
    assert len(images) == 2
    assert "b.parquet" in " ".join(images.notices)
    assert len(open_parquet(str(tmp_path / "here"), Wishes(follow_links=True))) == 5


def test_a_table_beside_images_is_no_data_set_of_its_own(tmp_path: Path) -> None:
    saved(tmp_path, pa.table({"file_name": ["a.png"]}), "metadata.parquet")
    assert not is_parquet(str(tmp_path))


def test_identity_changes_with_the_file_and_the_column(tmp_path: Path) -> None:
    path = saved(tmp_path, pa.table({"a": [png(0)[0]], "b": [png(1)[0]]}))
    first = open_parquet(str(path), Wishes(image_column="a")).identity()
    assert first == open_parquet(str(path), Wishes(image_column="a")).identity()
    assert first != open_parquet(str(path), Wishes(image_column="b")).identity()
    saved(tmp_path, pa.table({"a": [png(2)[0]], "b": [png(1)[0]]}))
    assert first != open_parquet(str(path), Wishes(image_column="a")).identity()


def test_rows_in_any_order_and_by_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "BATCH", 1000)  # some rows each
    images = open_parquet(str(saved(tmp_path, hugging(300), row_group_size=64)), Wishes())
    order = list(range(300))
    for rows in (order, order[::-1], random.Random(0).sample(order, 60)):
        with ThreadPoolExecutor(8) as pool:
            for row, picture in zip(rows, pool.map(images.picture, rows), strict=True):
                np.testing.assert_array_equal(picture, png(row)[1])


def test_rising_rows_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "BATCH", 1000)
    rows = 400
    images = open_parquet(str(saved(tmp_path, hugging(rows), row_group_size=100)), Wishes())
    begun, batches = [], parquet.ParquetTable.batches
    monkeypatch.setattr(
        parquet.ParquetTable,
        "batches",
        lambda self, part, column: begun.append(part) or batches(self, part, column),
    )

    def some(start: int) -> None:
        for row in range(start, start + 20):
            images.header(row)

    list(in_threads(some, range(0, rows, 20)))  # as `reading` does
    assert begun == [0, 1, 2, 3]


MEASURE = """
import resource, sys
from loang.data.places.parquet import open_parquet
from loang.data.wishes import Wishes
from loang.data.places.cells import encoded
def peak():
    return int(next(l for l in open("/proc/self/status") if l.startswith("VmHWM")).split()[1])
import pyarrow.parquet
images = open_parquet(sys.argv[1], Wishes())
before = peak()
for row in range(len(images)):
    encoded(*images.rows.at(row))
print((peak() - before) // 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is not told here")
@pytest.mark.parametrize("compression", ["none", pytest.param("snappy", marks=pytest.mark.slow)])
def test_a_large_row_group_is_never_in_memory_as_a_whole(tmp_path: Path, compression: str) -> None:
    path, random_ = tmp_path / "large.parquet", np.random.default_rng(0)
    cells = [random_.bytes(200_000) for _ in range(2000)]
    table = pa.table({"image": cells})
    options = {"use_dictionary": False, "write_batch_size": 8}  # so that pages are small
    pq.write_table(table, path, row_group_size=2000, compression=compression, **options)
    assert pq.ParquetFile(path).num_row_groups == 1
    del table, cells
    gc.collect()
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 250  # of 400 MB


def test_a_file_that_announces_more_than_it_can_hold_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, pa.table({"image": pa.nulls(10**6, pa.binary())}))
    assert path.stat().st_size < 10**5
    with pytest.raises(LoangError, match="announces 1,000,000 rows"):
        open_parquet(str(path), Wishes())


def varint(number: int) -> bytes:
    """As Thrift's compact protocol has whole numbers."""
    number, made = 2 * number, bytearray()
    while number > 127:
        made.append(number & 127 | 128)
        number >>= 7
    return bytes([*made, number])


def test_pages_are_as_pyarrow_has_them(tmp_path: Path) -> None:
    path = saved(tmp_path, hugging(300), row_group_size=70, compression="zstd")
    metadata = pq.ParquetFile(path).metadata
    with path.open("rb") as file:
        groups = read_chunks(file, path.stat().st_size)
        assert len(groups) == metadata.num_row_groups == 5
        for g, chunks in enumerate(groups):
            for c, chunk in enumerate(chunks):
                told = metadata.row_group(g).column(c)
                start = told.dictionary_page_offset or told.data_page_offset
                assert chunk.column == told.path_in_schema.split(".")[0]
                assert chunk.start == start
                assert (chunk.size, chunk.values) == (told.total_compressed_size, told.num_values)
                unpacked = check_pages(file, path.stat().st_size, chunk)
                # Theirs counts the heads of the pages too.
                assert 0 < told.total_uncompressed_size - unpacked < 1000


@pytest.mark.parametrize("field", ["bytes", "values"])
def test_a_page_takes_no_memory_that_it_announces(tmp_path: Path, field: str) -> None:
    """pyarrow's reader would ask for what the head of a page says, up to 2 GB."""
    options = {"compression": "gzip", "use_dictionary": False, "write_statistics": False}
    path = saved(tmp_path, pa.table({"image": [b"x" * 40_000] * 20}), **options)
    content = path.read_bytes()
    footer = 8 + int.from_bytes(content[-8:-4], "little")
    start, pages, end = content[:4], content[4:-footer], content[-footer:]
    # A head begins with its kind, 0 (field 1), and the size of the page unpacked (field 2).
    before, number = (b"\x15\x00\x15", 2**31 - 1) if field == "bytes" else (b"\x2c\x15", 2**30)
    at = pages.index(before) + len(before)
    rest = pages[at:].lstrip(bytes(range(128, 256)))[1:]  # after the number that is there
    hostile = pages[:at] + varint(number) + rest
    for inside in (pages, hostile):
        changed = io.BytesIO(start + inside + end)
        size = len(changed.getvalue())
        (chunk,) = read_chunks(changed, size)[0]
        chunk = replace(chunk, size=len(inside))
        if inside is pages:
            assert check_pages(changed, size, chunk) > 800_000
        else:
            with pytest.raises(ValueError, match="a page of it announces"):
                check_pages(changed, size, chunk)
    path.write_bytes(start + hostile[: len(pages)] + end)
    with pytest.raises(Unreadable, match="a page of it"):
        open_parquet(str(path), Wishes()).header(0)


def test_a_damaged_file_is_refused_or_its_rows_are(tmp_path: Path) -> None:
    path = saved(tmp_path, hugging(40), row_group_size=10, compression="none")
    content = path.read_bytes()
    (tmp_path / "cut.parquet").write_bytes(content[: len(content) // 2])
    with pytest.raises(LoangError, match="no sound Parquet file"):
        open_parquet(str(tmp_path / "cut.parquet"), Wishes())
    with pytest.raises(LoangError, match="no sound Parquet file"):
        ParquetCollection([tmp_path / "cut.parquet"], "x")
    chunk = pq.ParquetFile(path).metadata.row_group(1).column(0)
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    spoilt = bytearray(content)
    spoilt[start : start + 20] = b"\xff" * 20
    (tmp_path / "spoilt.parquet").write_bytes(spoilt)
    images = open_parquet(str(tmp_path / "spoilt.parquet"), Wishes())
    for row in (*range(10), *range(20, 40)):
        np.testing.assert_array_equal(images.picture(row), png(row)[1])
    for row in range(10, 20):
        with pytest.raises(Unreadable, match="damaged"):
            images.picture(row)


def test_a_missing_file_and_a_missing_package_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LoangError, match="missing"):
        open_parquet(str(tmp_path / "none.parquet"), Wishes())
    path = saved(tmp_path, hugging(1))
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(LoangError, match=r'pip install "loang\[parquet\]"'):
        open_parquet(str(path), Wishes())


def test_threads_that_meet_damage_all_hear_of_it(tmp_path: Path) -> None:
    path = saved(tmp_path, hugging(30), compression="none")
    content = bytearray(path.read_bytes())
    content[4:40] = b"\xff" * 36
    path.write_bytes(content)
    images = open_parquet(str(path), Wishes())
    told, lock = [], threading.Lock()

    def look(row: int) -> None:
        with pytest.raises(Unreadable):
            images.header(row)
        with lock:
            told.append(row)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(look, range(30)))
    assert len(told) == 30


def test_a_column_says_the_parts(tmp_path: Path) -> None:
    splits = ["train", "val", "test", "tset"] * 3
    cells = [png(row)[0] for row in range(12)]
    table = pa.table({"image": cells, "label": list(range(12)), "split": splits})
    images = open_parquet(str(saved(tmp_path, table, row_group_size=5)), Wishes())
    assert len(images) == 6
    assert images.held_out().tolist() == [False, True] * 3
    rows = [0, 1, 4, 5, 8, 9]
    for index, row in enumerate(rows):
        np.testing.assert_array_equal(images.picture(index), png(row)[1])
        assert images.place(index).endswith(f"row {row}")
    labels = images.labels()
    assert [int(labels.names[number]) for number in labels.numbers] == rows
    told = " ".join(images.notices)
    assert "tset" in told
    assert "The part test" in told


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "i8", "u4", "u8", "?"])
def test_lists_of_other_whole_numbers_stay_exact(tmp_path: Path, dtype: str) -> None:
    values = np.random.default_rng(0).integers(0, 2 if dtype == "?" else 100, (5, 4, 6))
    kind = pa.list_(pa.list_(pa.from_numpy_dtype(np.dtype(dtype))))
    table = pa.table({"x": pa.array(values.astype(dtype).tolist(), kind)})
    images = open_parquet(str(saved(tmp_path, table)), Wishes())
    for row in range(5):
        picture = images.picture(row)
        assert picture.dtype.name == images.header(row).depth
        assert picture.dtype == (np.uint8 if dtype == "?" else np.float32)
        expected = values[row] * 255 if dtype == "?" else values[row]
        np.testing.assert_array_equal(picture[..., 0], expected)


def test_boxes_beside_pictures_are_no_images(tmp_path: Path) -> None:
    boxes = pa.array([[[1, 2], [3, 4]]] * 2, pa.list_(pa.list_(pa.int64())))
    table = pa.table({"boxes": boxes, "scan": [png(0)[0]] * 2})
    assert open_parquet(str(saved(tmp_path, table)), Wishes()).columns.image == "scan"
