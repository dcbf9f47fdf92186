"""What is read once is there at once ever after; and what goes wrong with that costs nobody."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from loang import files, lock
from loang.data import memory, pack
from loang.data.download import WAITING
from loang.data.environment import cache_folder
from loang.data.images import Dataset
from loang.data.open import open_dataset
from loang.data.places import folder as folder_module
from loang.data.places.files import holds_pictures
from loang.errors import LoangError

GENERATOR = np.random.default_rng(11)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for number in range(40):
        path = folder / ("boots" if number % 2 else "bags") / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(GENERATOR.integers(0, 256, (8, 6), np.uint8)).save(path)
    return folder


def packs() -> list[Path]:
    place = cache_folder() / "packed"
    found = sorted(place.iterdir()) if place.is_dir() else []
    return [each for each in found if not each.name.endswith(".lock")]


def same(one: Dataset, other: Dataset) -> bool:
    parts = ((one.train, other.train), (one.validation, other.validation))
    return one.fingerprint == other.fingerprint and all(
        a.spec == b.spec and np.array_equal(a[:], b[:]) and np.array_equal(a.labels, b.labels)
        for a, b in parts
    )


def test_the_second_use_decodes_nothing(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = open_dataset(photos)
    for name in ("read_picture", "read_header"):
        monkeypatch.setattr(folder_module, name, lambda *_: pytest.fail("decoded again"))
    second = open_dataset(photos)
    assert same(first, second)
    assert second.notices == first.notices
    names = {second.train.place(index) for index in range(len(second.train))}
    names |= {second.validation.place(index) for index in range(len(second.validation))}
    assert names == {path.relative_to(photos).as_posix() for path in photos.rglob("*.png")}


def test_an_image_has_the_name_of_its_file(photos: Path) -> None:
    for _ in range(2):
        train = open_dataset(photos).train
        for index in range(len(train)):
            expected = np.asarray(Image.open(photos / train.place(index)))
            assert np.array_equal(train[index : index + 1][0, ..., 0], expected)


@pytest.mark.parametrize("change", ["content", "name", "one more", "one less", "label"])
def test_what_was_changed_is_read_again_and_the_old_pack_goes(photos: Path, change: str) -> None:
    before = open_dataset(photos)
    path = photos / "boots" / "01.png"
    status = path.stat()
    if change == "content":  # of the same size, and with the same time of modification
        content = bytearray(path.read_bytes())
        other = np.asarray(Image.open(path)).copy()
        other[0, 0] ^= 255
        Image.fromarray(other).save(path)
        assert path.read_bytes() != bytes(content)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    elif change == "name":
        path.rename(path.with_name("00.png"))
    elif change == "one more":
        (photos / "boots" / "99.png").write_bytes((photos / "bags" / "00.png").read_bytes())
    elif change == "one less":
        path.unlink()
    else:
        (photos / "labels.csv").write_text(
            "file,label\n" + "".join(f"{n:02},{n % 3}\n" for n in range(40))
        )
    after = open_dataset(photos)
    assert len(packs()) == 1
    if change != "name":
        assert after.fingerprint != before.fingerprint


def test_other_wishes_are_other_packs_and_neither_disturbs_the_other(photos: Path) -> None:
    small = open_dataset(photos, size=(4, 4))
    assert open_dataset(photos).spec.shape == (1, 8, 6)
    assert len(packs()) == 2
    assert same(open_dataset(photos, size=(4, 4)), small)
    open_dataset(photos, unreadable=1.0)  # what decides no pixel shares a pack
    assert len(packs()) == 2


def test_a_folder_of_the_same_name_elsewhere_has_a_pack_of_its_own(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "elsewhere" / "photos"
    other.mkdir(parents=True)
    (other / "a.png").write_bytes((photos / "bags" / "00.png").read_bytes())
    for place in (photos.parent, other.parent):
        monkeypatch.chdir(place)
        open_dataset("photos")
    assert len(packs()) == 2


@pytest.mark.parametrize(
    "name", [pack.ABOUT, "pixels.npy", "train.npy", "held-out-labels.npy", "digests.npy"]
)
@pytest.mark.parametrize("damage", ["cut", "gone", "nonsense", "other rows"])
def test_a_damaged_pack_is_made_anew(photos: Path, name: str, damage: str) -> None:
    sound = open_dataset(photos)
    first = np.array(sound.train[:]), sound.fingerprint
    (place,) = packs()
    path = place / name
    content = path.read_bytes()
    path.unlink()
    if damage == "other rows":
        path.write_bytes(content)
        rows = np.load(place / "train.npy")
        np.save(place / "train.npy", np.append(rows[:-1], 40))  # there are 0 to 39
    elif damage != "gone":
        path.write_bytes(content[: len(content) // 2] if damage == "cut" else b"nonsense" * 20)
    again = open_dataset(photos)
    assert np.array_equal(again.train[:], first[0])
    assert again.fingerprint == first[1]
    assert len(packs()) == 1


def test_a_cache_that_cannot_be_written_costs_only_time(photos: Path) -> None:
    cached = open_dataset(photos)
    for place in packs():
        pack.remove(place)
    shutil.rmtree(cache_folder() / "packed")
    (cache_folder() / "packed").write_text("a file where a folder should be")
    dataset = open_dataset(photos)
    assert same(dataset, cached)
    assert "can't be written" in dataset.notices[-1]
    assert "in memory" in dataset.notices[-1]


def test_a_full_disk_costs_only_memory(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "free_space", lambda place: 1000)
    dataset = open_dataset(photos)
    assert dataset.spec.shape == (1, 8, 6)
    assert "disk" in dataset.notices[-1]
    assert packs() == []


def test_with_neither_disk_nor_memory_it_says_so(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "free_space", lambda place: 1000)
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=1000))
    with pytest.raises(LoangError, match="memory"):
        open_dataset(photos)


def test_a_disk_that_fills_up_while_it_is_written_costs_only_memory(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = open_dataset(photos)
    pack.remove(packs()[0])
    add = pack.Writer.add

    def refuse(self: pack.Writer, picture: np.ndarray) -> None:
        if self.file is not None and self.count == 30:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        add(self, picture)

    monkeypatch.setattr(pack.Writer, "add", refuse)
    dataset = open_dataset(photos)
    assert same(dataset, cached)
    assert "No space left" in dataset.notices[-1]
    assert "in memory" in dataset.notices[-1]
    assert packs() == []


def test_what_an_interruption_leaves_is_nothing(photos: Path) -> None:
    def interrupt(what: str, done: int, total: int | None) -> None:
        if what == "images read" and done > 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_dataset(photos, on_progress=interrupt)
    assert packs() == []


PACK = """
import sys, time
from loang.data import open_dataset, reading
reading.DECODED = 1  # tell after each image
def slow(what, done, total):
    print(what, flush=True)
    if what == "images read":
        time.sleep(0.02)
open_dataset(sys.argv[1], on_progress=slow)
"""


@pytest.fixture
def packer(photos: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process, in the midst of packing the photos."""
    with subprocess.Popen(
        [sys.executable, "-c", PACK, str(photos)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        read = 0
        while read < 5:
            read += process.stdout.readline() == "images read\n"
        yield process
        process.kill()


def test_killed_while_it_packs_leaves_no_pack_and_the_next_tidies_up(
    photos: Path, packer: subprocess.Popen[str]
) -> None:
    packer.send_signal(signal.SIGKILL)
    packer.wait()
    (staged,) = packs()
    assert staged.name.startswith(".")
    dataset = open_dataset(photos)
    assert len(dataset.train) + len(dataset.validation) == 40
    (place,) = packs()
    assert not place.name.startswith(".")


def test_of_two_that_would_pack_the_same_at_once_one_waits(
    photos: Path, packer: subprocess.Popen[str]
) -> None:
    told = list[str]()
    dataset = open_dataset(photos, on_progress=lambda what, done, total: told.append(what))
    assert told == [WAITING]
    assert packer.wait(60) == 0
    (place,) = packs()
    assert len(dataset.train) + len(dataset.validation) == 40
    assert pack.read(place) is not None


def test_one_that_is_killed_while_another_waits_leaves_the_packing_to_it(
    photos: Path, packer: subprocess.Popen[str]
) -> None:

    def kill(what: str, done: int, total: int | None) -> None:
        told.append(what)
        if what == WAITING:
            packer.kill()

    told = list[str]()
    dataset = open_dataset(photos, on_progress=kill)
    packer.wait()
    assert told[0] == WAITING
    assert "images read" in told
    assert len(dataset.train) + len(dataset.validation) == 40


def test_without_locks_both_pack_and_one_pack_stays(
    photos: Path, packer: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "_take", lambda file: None)
    told = list[str]()
    open_dataset(photos, on_progress=lambda what, done, total: told.append(what))
    assert WAITING not in told
    assert packer.wait(60) == 0
    (place,) = packs()
    assert pack.read(place) is not None


def test_all_that_was_left_out_is_listed(photos: Path) -> None:
    for number in range(12):
        (photos / "bags" / f"bad {number}.png").write_text("no picture")
    dataset = open_dataset(photos, unreadable=0.5)
    (place,) = packs()
    assert str(place / pack.LEFT_OUT) in dataset.notices[-1]
    lines = (place / pack.LEFT_OUT).read_text().splitlines()
    assert len(lines) == 12
    assert lines[0] == "bags/bad 0.png: it is no picture of a known format"
    with pytest.raises(LoangError, match="12 of the 52 images"):
        open_dataset(photos)  # from the pack, the share that may be bad is asked anew


def test_opening_does_not_grow_with_the_images(tmp_path: Path) -> None:
    """A pack of a hundred million rows opens as one of ten: nothing of it is read."""
    values = np.arange(40, dtype=np.uint8).reshape(10, 2, 2, 1)
    np.save(tmp_path / "few.npy", values)
    open_dataset(tmp_path / "few.npy", size=(1, 1))
    (place,) = packs()
    count = 10**8
    for name, shape, depth in (("pixels", (count, 1, 1, 1), "u1"), ("train", (count,), "i8")):
        with (place / f"{name}.npy").open("wb") as file:
            np.lib.format.write_array_header_1_0(
                file,
                {
                    "descr": depth if depth == "u1" else "<i8",
                    "fortran_order": False,
                    "shape": shape,
                },
            )
            file.truncate(file.tell() + count * (1 if depth == "u1" else 8))
    began = time.perf_counter()
    dataset = open_dataset(tmp_path / "few.npy", size=(1, 1))
    assert time.perf_counter() - began < 0.5
    assert len(dataset.train) == count
    assert dataset.train[np.array([0, count - 1])].shape == (2, 1, 1, 1)


def test_a_label_that_is_missing_leaves_its_image_out(photos: Path) -> None:
    lines = [f"{n:02}.png,{'even' if n % 2 == 0 else 'odd'}" for n in range(40)]
    (photos / "labels.csv").write_text("\n".join(["file_name,label", *lines[:39]]))
    dataset = open_dataset(photos)
    assert dataset.spec.class_names == ("even", "odd")
    assert "1 of the 40 images" in dataset.notices[1]
    assert "it has no label" in dataset.notices[1]
    assert not open_dataset(photos, labels=False).spec.class_names


def test_images_on_both_sides_of_a_given_split_are_told(tmp_path: Path) -> None:
    for part, count in (("train", 30), ("val", 10), ("test", 5)):
        (tmp_path / part / "a").mkdir(parents=True)
        (tmp_path / part / "b").mkdir()
        for number in range(count):
            pixels = GENERATOR.integers(0, 256, (4, 4), np.uint8)
            Image.fromarray(pixels).save(tmp_path / part / "ab"[number % 2] / f"{number}.png")
    for number in range(3):
        copy = (tmp_path / "train" / "ab"[number % 2] / f"{number}.png").read_bytes()
        (tmp_path / "val" / "a" / f"copy {number}.png").write_bytes(copy)
    dataset = open_dataset(tmp_path)
    assert (len(dataset.train), len(dataset.validation)) == (30, 13)
    assert dataset.spec.class_names == ("a", "b")
    said = " ".join(dataset.notices)
    assert "3 of the 13 images held out are also among those to learn from" in said
    assert "test of" in said
    assert "left aside" in said


def test_the_pack_says_what_it_is(photos: Path) -> None:
    open_dataset(photos)
    (place,) = packs()
    about = json.loads((place / pack.ABOUT).read_text())
    assert about["name"] == str(photos)
    assert np.load(place / "pixels.npy").shape == (40, 8, 6, 1)  # a file that numpy opens


def test_who_asks_for_what_was_found_out_gets_the_same_pack(tmp_path: Path) -> None:
    """A run that is gone on with asks for the size and channels that it had to find out."""
    for number in range(12):
        shape = (30 + 8 * (number % 2), 20, 3)
        pixels = GENERATOR.integers(0, 256, shape, np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    first = open_dataset(tmp_path)
    size = first.spec.height, first.spec.width
    for wishes in ({"size": size, "channels": 3}, {"size": size}, {"channels": 3}, {}):
        assert same(open_dataset(tmp_path, **wishes), first)
        assert len(packs()) == 1
    grey = open_dataset(tmp_path, size=size, channels=1)
    assert grey.spec.channels == 1
    assert open_dataset(tmp_path, size=(8, 8), channels=3).spec.shape == (3, 8, 8)
    assert len(packs()) == 3
    # The other way round nobody knows what would be found out.
    for place in packs():
        pack.remove(place)
    open_dataset(tmp_path, size=(8, 8))
    assert open_dataset(tmp_path).spec.shape == first.spec.shape


def test_relative_and_absolute_names_are_one_pack(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos.parent)
    one = open_dataset("photos")
    other = open_dataset(photos)
    assert len(packs()) == 1
    assert one.fingerprint == other.fingerprint
    names = [one.train.place(index) for index in range(len(one.train))]
    (photos / "bags" / "later.png").write_bytes((photos / "bags" / "00.png").read_bytes())
    open_dataset(photos)  # the first pack is gone, and whoever uses it goes on
    assert [one.train.place(index) for index in range(len(one.train))] == names
    assert one.train[:].shape == (len(names), 8, 6, 1)


def test_a_pack_is_told_by_the_name_that_is_asked_for(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not by what somebody called it who packed it first."""
    (photos / "bags" / "bad.png").write_bytes(b"no picture")
    monkeypatch.chdir(photos)
    first = open_dataset(".")
    monkeypatch.chdir(photos.parent)
    second = open_dataset("photos")
    assert len(packs()) == 1
    assert (first.name, second.name) == (".", "photos")
    assert "images in .: bags/bad.png" in first.notices[0]
    assert "images in photos: bags/bad.png" in second.notices[0]
    assert open_dataset("photos/").fingerprint == first.fingerprint


@pytest.mark.skipif(os.name == "nt" or sys.platform == "darwin", reason="names are UTF-8 there")
def test_names_that_are_no_utf8_are_read(photos: Path) -> None:
    for place in (b"boots/\xff\xfe.png", b"bags/bad \xff.png"):
        path = photos / os.fsdecode(place)
        content = (photos / "bags" / "00.png").read_bytes()
        path.write_bytes(b"no picture" if b"bad" in place else content)
    for _ in range(2):
        dataset = open_dataset(photos)
        assert len(dataset.train) + len(dataset.validation) == 41
        assert "1 of the 42 images" in dataset.notices[0]
        dataset.notices[0].encode("utf-8")
    assert len(packs()) == 1


def test_a_mapped_file_of_images_too_large_is_refused_in_words(tmp_path: Path) -> None:
    with (tmp_path / "huge.npy").open("wb") as file:
        about = {"descr": "|u1", "fortran_order": False, "shape": (2, 16400, 16400)}
        np.lib.format.write_array_header_1_0(file, about)
        file.truncate(file.tell() + 2 * 16400**2)
    with pytest.raises(LoangError, match="more than 268,435,456 values"):
        open_dataset(tmp_path / "huge.npy")


def test_what_another_machine_packs_at_this_moment_is_let_be(photos: Path) -> None:
    open_dataset(photos)
    (place,) = packs()
    foreign = place.with_name(f".{place.name}.0123456789abcdef.4194303")
    foreign.mkdir()
    open_dataset(photos, size=(4, 4))
    assert foreign.exists()


def test_classes_without_an_image_to_learn_from_are_told(tmp_path: Path) -> None:
    for place in ("train/a", "train/b", "val/a", "val/c"):
        for number in range(6):
            path = tmp_path / place / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(GENERATOR.integers(0, 256, (4, 4), np.uint8)).save(path)
    dataset = open_dataset(tmp_path)
    assert dataset.spec.class_names == ("a", "b", "c")
    assert any("no image to learn from of c:" in notice for notice in dataset.notices)


def test_the_run_inside_the_images_is_none_of_them(photos: Path) -> None:
    run = photos / "runs" / "photos-quick"
    (run / "samples").mkdir(parents=True)
    for name in ("config.json", "log.jsonl"):
        (run / name).write_text("{}")
    for name in ("samples.png", "samples/00000010.png"):
        (run / name).write_bytes((photos / "bags" / "00.png").read_bytes())
    dataset = open_dataset(photos)
    assert len(dataset.train) + len(dataset.validation) == 40
    assert dataset.spec.class_names == ("bags", "boots")
    assert any("runs/photos-quick" in notice for notice in dataset.notices)
    # Who names a run's samples means them.
    assert len(open_dataset(run / "samples").train) == 1


@pytest.mark.parametrize(
    ("report", "drawings"),
    [
        ("doctor.json", ("contact-sheet.png", "suspicious.png")),
        ("report.json", ("report.png", "nearest.png")),
    ],
)
def test_what_doctor_and_evaluations_drew_inside_the_images_is_none_of_them(
    photos: Path, tmp_path: Path, report: str, drawings: tuple[str, str]
) -> None:
    drawn = photos / "doctor-photos"
    drawn.mkdir()
    (drawn / report).write_text("{}")
    for name in drawings:
        (drawn / name).write_bytes((photos / "bags" / "00.png").read_bytes())
    dataset = open_dataset(photos)
    assert len(dataset.train) + len(dataset.validation) == 40
    assert dataset.spec.class_names == ("bags", "boots")
    assert any("doctor-photos" in notice for notice in dataset.notices)
    # Beside shards it makes no folder of images of them.
    (tmp_path / "shards").mkdir()
    drawn.rename(tmp_path / "shards" / "doctor-shards")
    assert not holds_pictures(tmp_path / "shards")


def test_only_what_is_larger_than_memory_is_read_here_and_there(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the system reads megabytes around each row, or nothing ahead of any."""
    advised = list[tuple[int, str]]()
    monkeypatch.setattr(
        memory, "_advise", lambda values, advice: advised.append((values.nbytes, advice))
    )
    open_dataset(photos)
    assert advised == []
    monkeypatch.setattr(memory, "is_small", lambda values: False)
    open_dataset(photos)
    assert (40 * 8 * 6, "MADV_RANDOM") in advised
