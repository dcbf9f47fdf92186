"""Labels in a file beside the images."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from loang.data.collection import Labels
from loang.data.places.folder import FolderCollection
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


def labels_csv(folder: Path, text: str) -> Path:
    path = folder / "labels.csv"
    path.write_text(text)
    return path


def test_columns_are_those_of_the_head_or_of_all_lines(tmp_path: Path) -> None:
    path = labels_csv(tmp_path, "file_name,label\n1.png\n2.png,dog\n3.png,cat\n")
    assert words(read_labels(path, PLACES[:3]).labels) == [None, "dog", "cat"]
    path = tmp_path / "labels.jsonl"
    path.write_text(
        '{"file_name": "1.png"}\n{"file_name": "2.png", "label": "dog", "split": "val"}\n'
    )
    read = read_labels(path, PLACES[:2])
    assert words(read.labels) == [None, "dog"]
    assert read.held_out is not None
    assert read.held_out.tolist() == [False, True]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("file_name,label\nb/3.png,cat\n3.png,dog\n3.png,cat\n", "3.png"),
        ("file_name,label\n1.png,cat\n1.png,dog\n", "1.png"),
        ("file_name,split\n1.png,train\n1.png,val\n", "1.png"),
        ("file_name,label\n1.png,cat\n2.png,dog\n", "a/1.png, c/1.png"),
        ("file_name,label\n1,cat\n2,dog\n", "a/1.png, c/1.png"),
    ],
)
def test_what_is_said_twice_is_named(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(LoangError, match=named) as caught:
        read_labels(labels_csv(tmp_path, text), [*PLACES, "c/1.png"])
    assert "a/1.png" in caught.value.remedy


def test_the_same_said_twice_and_names_told_apart_by_paths_are_sound(tmp_path: Path) -> None:
    path = labels_csv(tmp_path, "file,label\n2.png,dog\n2.png,dog\na/1.png,cat\nc/1.png,owl\n")
    read = read_labels(path, ["a/1.png", "a/2.png", "c/1.png"])
    assert words(read.labels) == ["cat", "dog", "owl"]


def test_numbers_that_are_written_in_two_ways_are_two_classes(tmp_path: Path) -> None:
    path = labels_csv(tmp_path, "file,label\n1.png,007\n2.png,7\n3.png,10\n")
    assert words(read_labels(path, PLACES[:3]).labels) == ["007", "7", "10"]


def test_a_column_of_texts_that_all_differ_is_told_and_not_taken(tmp_path: Path) -> None:
    places = [f"{number}.png" for number in range(9)]
    for name, head in (("metadata.csv", "file_name,text\n"), ("labels.csv", "")):
        path = tmp_path / name
        path.write_text(head + "".join(f"{place},picture of {place}\n" for place in places))
        read = read_labels(path, places)
        assert read.labels is None
        assert "nearly all different" in " ".join(read.notices)
    path = tmp_path / "metadata.csv"
    assert len(set(words(read_labels(path, places, label_column="text").labels))) == 9


def test_captions_leave_the_labels_to_the_subfolders(tmp_path: Path) -> None:
    for place in PLACES:
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_bytes(b"")
    lines = [f"{place},picture of {place}" for place in PLACES]
    (tmp_path / "metadata.csv").write_text("\n".join(["file_name,text", *lines]))
    assert words(FolderCollection(tmp_path, Wishes()).labels()) == ["a", "a", "b", "b"]


@pytest.mark.parametrize("cell", ['{"a": 1}', "[1, 2]"])
def test_a_label_that_is_no_word_is_named_by_its_line(tmp_path: Path, cell: str) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text(
        f'{{"file_name": "1.png", "label": 3}}\n\n{{"file_name": "2.png", "label": {cell}}}\n'
    )
    with pytest.raises(LoangError, match="Line 3 of"):
        read_labels(path, PLACES)
    assert read_labels(path, PLACES, labels=False).labels is None


def test_a_file_that_names_no_image_is_refused_though_there_are_subfolders(tmp_path: Path) -> None:
    for place in ("a/1.png", "b/2.png"):
        (tmp_path / place).parent.mkdir()
        Image.fromarray(np.zeros((2, 2), np.uint8)).save(tmp_path / place)
    (tmp_path / "labels.csv").write_text("file_name,label\nphoto-1.png,cat\nphoto-2.png,dog\n")
    with pytest.raises(LoangError, match=r"No line .* photo-1\.png, .* a/1\.png"):
        FolderCollection(tmp_path, Wishes()).labels()


def test_a_line_without_a_name_is_that_of_no_image(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("file_name,label\n1.png,cat\n,dog\n")
    assert words(read_labels(path, PLACES).labels) == ["cat", None, None, None]
