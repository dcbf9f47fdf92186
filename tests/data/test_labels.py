"""Labels in a file beside the images."""

from pathlib import Path

import numpy as np
import pytest

from loang.data.collection import Labels
from loang.data.places.labels import LabelFile
from loang.data.places.labels import read_labels as read_for
from loang.data.wishes import Wishes
from loang.errors import LoangError

PLACES = ["a/1.png", "a/2.png", "b/3.png", "b/sub/4.jpg"]


def read_labels(path: Path, places: list[str], **wishes: object) -> LabelFile:
    return read_for(path, places, Wishes(**wishes))


def words(labels: Labels | None) -> list[str | None]:
    assert labels is not None
    return [None if n < 0 else labels.names[n] for n in labels.numbers]


@pytest.mark.parametrize(
    "text",
    [
        "file_name,label\na/1.png,cat\na/2.png,dog\nb/3.png,cat\nb/sub/4.jpg,owl\n",
        "label;filename\r\ncat;1.png\r\ndog;2.png\r\ncat;3.png\r\nowl;4.jpg\r\n",
        "Image\tClass\n1\tcat\n2\tdog\n3\tcat\n4\towl\n",
        "a/1.png,cat\na/2.png,dog\nb/3.png,cat\nb/sub/4.jpg,owl\n",
        '\ufeff"path","note, long","y"\n./a/1.png,x,cat\n,,\na\\2.png,,dog\n'
        "3.png,,cat\n4.jpg,,owl\n",
    ],
    ids=["plain", "semicolons", "tabs and stems", "no heads", "mark and quotes"],
)
def test_files_that_people_write(tmp_path: Path, text: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(text, encoding="utf-8")
    read = read_labels(path, PLACES)
    assert words(read.labels) == ["cat", "dog", "cat", "owl"]
    assert read.labels is not None
    assert read.labels.names == ("cat", "dog", "owl")
    assert read.held_out is None


def test_lines_of_json(tmp_path: Path) -> None:
    path = tmp_path / "metadata.jsonl"
    path.write_text(
        '{"file_name": "a/1.png", "label": 10, "split": "train"}\n\n'
        '{"file_name": "a/2.png", "label": 9, "split": "test"}\n'
        '{"file_name": "b/3.png", "label": null, "split": "train"}\n'
        '{"file_name": "gone.png", "label": 9, "split": "validation"}\n'
    )
    read = read_labels(path, PLACES)
    assert words(read.labels) == ["10", "9", None, None]
    assert read.labels is not None
    assert read.labels.names == ("9", "10")  # as numbers, not as words
    assert read.held_out is not None
    assert read.held_out.tolist() == [False, True, False, False]
    assert any("1 of the 4 lines" in notice for notice in read.notices)


def test_columns_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("file,label,species\n1.png,x,cat\n2.png,y,dog\n")
    assert words(read_labels(path, PLACES[:2], label_column="species").labels) == ["cat", "dog"]
    assert words(
        read_labels(path, ["x.png", "y.png"], image_column="label", label_column="species").labels
    ) == ["cat", "dog"]
    for wrong in ({"label_column": "sort"}, {"image_column": "sort"}):
        with pytest.raises(LoangError, match="no column 'sort'") as caught:
            read_labels(path, PLACES, **wrong)
        assert "label, species" in caught.value.remedy


def test_captions_are_no_labels(tmp_path: Path) -> None:
    """Hugging Face's metadata often has texts of which no two are the same, by other names."""
    path = tmp_path / "metadata.csv"
    path.write_text("file_name,text,width\n1.png,a cat,10\n2.png,a dog,10\n")
    assert read_labels(path, PLACES).labels is None


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("labels.csv", b""),
        ("labels.csv", b"\xff\xfe\x00binary"),
        ("labels.csv", b'file,label\n"unclosed,cat\n' + b"x" * 200_000),
        ("labels.jsonl", b"[1, 2]\n"),
        ("labels.jsonl", b'{"file_name": "a.png"\n'),
        ("labels.jsonl", b"[" * 100_000),
    ],
)
def test_what_is_no_such_file_is_told(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(LoangError, match=r"labels\.(csv|jsonl)"):
        read_labels(path, PLACES)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(LoangError, match="can't be read"):
        read_labels(tmp_path / "labels.csv", PLACES)


def test_labels_are_in_order_and_what_is_none_is_minus_one() -> None:
    labels = Labels.of([10, 9, None, 9])
    assert labels is not None
    assert labels.names == ("9", "10")
    assert np.array_equal(labels.numbers, [1, 0, -1, 0])
    assert Labels.of([None, None]) is None
