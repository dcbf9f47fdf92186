"""Which images are learned from, held out, or left aside, by subfolders and by a column."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from loang.data.collection import Collection
from loang.data.open import open_dataset
from loang.data.places.files import holds_pictures
from loang.data.places.folder import FolderCollection
from loang.data.places.parts import parts_of_column
from loang.data.wishes import Wishes
from loang.errors import LoangError

GENERATOR = np.random.default_rng(3)


def pictures(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(GENERATOR.integers(0, 256, (8, 6), np.uint8)).save(path)
    return folder


def sides(images: Collection) -> dict[str, list[str]]:
    """The places that are learned from, and held out."""
    held = images.held_out()
    assert held is not None
    places = [images.place(index) for index in range(len(images))]
    return {
        "learned": [place for place, out in zip(places, held, strict=True) if not out],
        "held": [place for place, out in zip(places, held, strict=True) if out],
    }


def told(images: Collection) -> str:
    len(images)
    images.labels()
    return " ".join(images.notices)


@pytest.mark.parametrize("labels", ["label,", ""])
def test_a_column_leaves_test_aside_where_there_is_val(tmp_path: Path, labels: str) -> None:
    pictures(tmp_path, "a.png", "b.png", "c.png", "d.png")
    value = "x," if labels else ""
    said = ["train", "val", "Test", "train"]
    lines = [f"{n}.png,{value}{s}" for n, s in zip("abcd", said, strict=True)]
    (tmp_path / "labels.csv").write_text("\n".join([f"file_name,{labels}split", *lines]))
    images = FolderCollection(tmp_path, Wishes())
    assert sides(images) == {"learned": ["a.png", "d.png"], "held": ["b.png"]}
    assert len(images) == 3
    assert "The part test" in told(images)
    assert "a place of their own to evaluate" in told(images)
    assert ("Labels and parts are" if labels else "Parts are") in told(images)
    if labels:
        found = images.labels()
        assert found is not None
        assert len(found.numbers) == 3


def test_parts_are_not_told_where_there_are_none(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", "b.png")
    (tmp_path / "labels.csv").write_text("file_name,label\na.png,x\nb.png,x\n")
    assert "Labels are those of" in told(FolderCollection(tmp_path, Wishes()))


def test_each_page_goes_where_its_file_goes(tmp_path: Path) -> None:
    pages = [Image.fromarray(GENERATOR.integers(0, 256, (8, 6), np.uint8)) for _ in range(3)]
    for name in "abc":
        pages[0].save(tmp_path / f"{name}.tif", save_all=True, append_images=pages[1:])
    (tmp_path / "labels.csv").write_text(
        "file,label,split\na.tif,1,test\nb.tif,2,val\nc.tif,3,train\n"
    )
    images = FolderCollection(tmp_path, Wishes())
    found = sides(images)
    assert found["held"] == ["b.tif", "b.tif, page 2", "b.tif, page 3"]
    assert len(found["learned"]) == 3
    labels = images.labels()
    assert labels is not None
    assert [labels.names[n] for n in labels.numbers] == ["2"] * 3 + ["3"] * 3


def test_a_misspelt_part_is_told_and_not_learned_from() -> None:
    parts = parts_of_column(["train", "tset", "train", "val", ""], "split", "labels.csv")
    assert parts.kept.tolist() == [True, False, True, True, False]
    assert parts.held_out is not None
    assert parts.held_out.tolist() == [False, False, False, True, False]
    (notice,) = parts.notices
    assert "tset" in notice
    assert "left aside" in notice
    parts = parts_of_column(["train", "tset"], "split", "labels.csv")
    assert parts.kept.tolist() == [True, False]


def test_where_no_part_to_learn_from_is_named_the_others_are() -> None:
    parts = parts_of_column(["", "val", "other"], "split", "labels.csv")
    assert parts.kept.all()
    assert parts.held_out is not None
    assert parts.held_out.tolist() == [False, True, False]
    assert "other" in parts.notices[0]
    assert parts_of_column(["", "val"], "split", "labels.csv").notices == ()


def test_a_column_of_no_parts_is_told(tmp_path: Path) -> None:
    parts = parts_of_column(["0", "1", "2"], "fold", "labels.csv")
    assert parts.held_out is None
    assert parts.kept.all()
    assert "fold" in parts.notices[0]


def test_strays_beside_train_and_val_change_nothing(tmp_path: Path) -> None:
    for part in ("Train", "val"):
        pictures(tmp_path, *(f"{part}/{kind}/{n}.png" for kind in "ab" for n in range(4)))
    plain = FolderCollection(tmp_path, Wishes())
    assert told(plain) == ""
    before, labels = sides(plain), plain.labels()
    assert labels is not None
    assert labels.names == ("a", "b")
    pictures(tmp_path, "overview.png", "extras/1.png", "extras/2.png")
    images = FolderCollection(tmp_path, Wishes())
    assert sides(images) == before
    after = images.labels()
    assert after is not None
    assert after.names == ("a", "b")
    assert "3 images" in told(images)
    assert "extras, overview.png" in told(images)


def test_a_folder_called_train_among_others_is_a_class(tmp_path: Path) -> None:
    pictures(tmp_path, "train/1.png", "car/1.png", "bus/1.png")
    labels = FolderCollection(tmp_path, Wishes()).labels()
    assert labels is not None
    assert labels.names == ("bus", "car", "train")


def test_why_there_are_no_classes_is_told_once(tmp_path: Path) -> None:
    for part in ("train", "val"):
        pictures(tmp_path, f"{part}/a/1.png", f"{part}/b/1.png")
    pictures(tmp_path, "val/x.png")
    images = FolderCollection(tmp_path, Wishes())
    assert images.labels() is None
    assert told(images).count("There are no classes, as 1 of the images") == 1
    assert "x.png" in told(images)
    (tmp_path / "flat").mkdir()
    assert told(FolderCollection(pictures(tmp_path / "flat", "a/1.png", "1.png"), Wishes())) == ""


def test_archives_deep_within_a_folder_hide_no_images(tmp_path: Path) -> None:
    pictures(tmp_path, *(f"train/deep/{kind}/{n}.png" for kind in "ab" for n in range(6)))
    (tmp_path / "backup.tar").write_bytes(b"whatever")
    dataset = open_dataset(tmp_path)
    assert len(dataset.train) + len(dataset.validation) == 12


def test_looking_for_a_picture_ends_and_stays_inside(tmp_path: Path) -> None:
    pictures(tmp_path / "outside", "1.png")
    inside = tmp_path / "inside"
    (inside / "deep").mkdir(parents=True)
    (inside / "deep" / "round").symlink_to(inside)
    (inside / "deep" / "out").symlink_to(tmp_path / "outside")
    pictures(inside, ".hidden/1.png", "__MACOSX/1.png")
    assert not holds_pictures(inside)
    pictures(inside, "deep/deeper/1.PNG")
    assert holds_pictures(inside)


def test_names_cannot_command_a_terminal_and_stay_apart(tmp_path: Path) -> None:
    names = ["a\nb.png", "a\\nb.png", "\x1b[31mred.png", "con nước 水彩 👩‍🔬.png", "\u202egnp.png"]
    images = FolderCollection(pictures(tmp_path, *names), Wishes())
    places = [images.place(index) for index in range(len(images))]
    assert len(set(places)) == len(names)
    assert "con nước 水彩 👩‍🔬.png" in places
    assert "\\x1b[31mred.png" in places
    assert not any(sign in place for place in places for sign in "\n\x1b\u202e")
    outside = pictures(tmp_path / "elsewhere", "1.png")
    here = pictures(tmp_path / "here", "1.png")
    (here / "x.\x1b[31mtxt").write_text("")
    (here / "l\n.png").symlink_to(outside / "1.png")
    notices = told(FolderCollection(here, Wishes()))
    assert "\\x1b" in notices
    assert "l\\n.png" in notices
    assert not any(sign in notices for sign in "\n\x1b")


@pytest.mark.skipif(os.name == "nt" or sys.platform == "darwin", reason="names are UTF-8 there")
def test_a_class_whose_name_is_no_text_is_named(tmp_path: Path) -> None:
    pictures(tmp_path, "a/1.png", "b/1.png")
    (tmp_path / "b").rename(tmp_path / os.fsdecode(b"b\xff"))
    with pytest.raises(LoangError, match=r"class .* of .* is no UTF-8"):
        open_dataset(tmp_path)


def test_a_class_of_an_odd_name_is_named(tmp_path: Path) -> None:
    pictures(tmp_path, "a/1.png", "b\x1b[31m/1.png")
    with pytest.raises(LoangError, match=r"class b\\x1b\[31m of .* control character") as caught:
        open_dataset(tmp_path)
    assert "Rename that subfolder" in caught.value.remedy
    assert open_dataset(tmp_path, labels=False).train.labels is None


@pytest.mark.parametrize("name", ["images.npy", "deep/images.parquet", "a.tar"])
def test_a_folder_of_other_kinds_names_the_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"")
    with pytest.raises(LoangError, match="holds no images") as caught:
        FolderCollection(tmp_path, Wishes())
    assert str(path) in caught.value.remedy


def test_columns_without_a_file_of_them_are_told(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    with pytest.raises(LoangError, match="no file of labels"):
        open_dataset(tmp_path, label_column="species")
