import io
import json
import tarfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from loang.data.encoded.picture import Unreadable
from loang.data.places.tar import is_tar, open_tar
from loang.data.wishes import Wishes
from loang.errors import LoangError


def png(seed: int) -> tuple[bytes, np.ndarray]:
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 5, 3), np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue(), pixels


def saved(path: Path, files: dict[str, bytes], format_: int = tarfile.PAX_FORMAT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=format_) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def samples(count: int, start: int = 0, **labels: object) -> dict[str, bytes]:
    """As WebDataset has them; each label is a function of the number."""
    files = {}
    for number in range(start, start + count):
        files[f"{number:05d}.png"] = png(number)[0]
        for extension, value in labels.items():
            files[f"{number:05d}.{extension}"] = str(value(number)).encode()
    return files


def opened(path: Path | str, **wishes: object):
    assert is_tar(str(path))
    return open_tar(str(path), Wishes(**wishes))


@pytest.mark.parametrize("format_", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_images_by_subfolder(tmp_path: Path, format_: int) -> None:
    long = "x" * (90 if format_ == tarfile.USTAR_FORMAT else 200)
    names = [f"{'ab'[number % 2]}/{long}/{number}.png" for number in range(20)]
    files = {name: png(number)[0] for number, name in enumerate(names)}
    images = opened(saved(tmp_path / "x.tar", {**files, "README": b"x"}, format_))
    assert [images.place(index) for index in range(20)] == names
    with ThreadPoolExecutor(4) as pool:
        for number, picture in enumerate(pool.map(images.picture, range(20))):
            np.testing.assert_array_equal(picture, png(number)[1])
    assert images.header(0).channels == 3
    assert images.labels().names == ("a", "b")
    assert images.labels().numbers.tolist() == [0, 1] * 10
    assert images.held_out() is None


@pytest.mark.parametrize(
    ("labels", "wishes", "names"),
    [
        ({"cls": lambda n: n % 3}, {}, ("0", "1", "2")),
        ({"cls": lambda n: 9 + n % 2}, {}, ("9", "10")),
        ({"cls": lambda n: "dc"[n % 2]}, {}, ("c", "d")),
        ({"json": lambda n: json.dumps({"label": n % 2})}, {}, ("0", "1")),
        (
            {"json": lambda n: json.dumps({"a": n % 2, "label": 7})},
            {"label_column": "a"},
            ("0", "1"),
        ),
        ({"txt": lambda n: f"kind {n % 2}"}, {}, ("kind 0", "kind 1")),
        ({"txt": lambda n: f"picture {n}"}, {}, None),
        ({"json": lambda n: json.dumps({"label": float(n % 2)})}, {}, ("0", "1")),
        ({"json": lambda n: "{", "txt": lambda n: n % 2}, {}, ("0", "1")),
        ({}, {}, None),
    ],
)
def test_labels_as_webdataset_has_them(
    tmp_path: Path, labels: dict, wishes: dict, names: tuple[str, ...] | None
) -> None:
    images = opened(saved(tmp_path / "x.tar", samples(12, **labels)), **wishes)
    assert len(images) == 12
    if names is None:
        assert images.labels() is None
        return
    assert images.labels().names == names
    value = labels.get("cls", labels.get("txt", labels.get("json")))
    found = [str(value(number)) for number in range(12)]
    told = [names[number] for number in images.labels().numbers]
    assert told == found or "json" in labels


def test_labels_that_can_be_none_are_told(tmp_path: Path) -> None:
    files = samples(6, json=lambda n: json.dumps({"label": [n, 1]}))
    images = opened(saved(tmp_path / "x.tar", files))
    assert images.labels() is None
    assert any("6 labels" in notice and "[0, 1]" in notice for notice in images.notices)


def test_an_image_without_a_label_is_of_no_class(tmp_path: Path) -> None:
    files = samples(6, cls=lambda n: n % 2)
    del files["00003.cls"]
    images = opened(saved(tmp_path / "x.tar", files))
    assert images.labels().numbers.tolist() == [0, 1, 0, -1, 0, 1]


def test_samples_of_several_pictures(tmp_path: Path) -> None:
    files = {}
    for number in range(4):
        files[f"a/{number}.png"] = png(number)[0]
        files[f"a/{number}.seg.png"] = png(100 + number)[0]
    path = saved(tmp_path / "x.tar", files)
    images = opened(path)
    np.testing.assert_array_equal(images.picture(2), png(2)[1])
    assert len(images) == 4
    assert "4 others" in " ".join(images.notices)
    images = opened(path, image_column="seg.png")
    np.testing.assert_array_equal(images.picture(2), png(102)[1])


def test_pictures_that_are_numbered_after_a_point(tmp_path: Path) -> None:
    names = [f"{kind}.{number}.png" for kind in ("cat", "dog") for number in range(4)]
    images = opened(saved(tmp_path / "x.tar", {name: png(0)[0] for name in names}))
    assert [images.place(index) for index in range(8)] == names


def test_shards_in_braces_and_in_a_folder(tmp_path: Path) -> None:
    for shard in range(3):
        saved(tmp_path / f"train-{shard:03d}.tar", samples(4, 4 * shard, cls=lambda n: n % 2))
    images = opened(f"{tmp_path}/train-{{000..002}}.tar")
    assert len(images) == 12
    np.testing.assert_array_equal(images.picture(9), png(9)[1])
    assert images.place(9) == "train-002.tar/00009.png"
    assert len(opened(f"{tmp_path}/train-{{001..002}}.tar")) == 8
    with pytest.raises(LoangError, match=r"2 of the 5 files .* missing: .*train-003\.tar"):
        opened(f"{tmp_path}/train-{{000..004}}.tar")
    with pytest.raises(LoangError, match="is no range"):
        opened(f"{tmp_path}/train-{{004..001}}.tar")
    with pytest.raises(LoangError, match="is no range"):
        opened(f"{tmp_path}/train-{{0..999999999}}.tar")
    saved(tmp_path / "test-000.tar", samples(2, 50, cls=lambda n: n % 2))
    images = opened(tmp_path)
    assert len(images) == 14
    assert images.held_out().sum() == 2
    assert images.labels().names == ("0", "1")


def test_subfolders_that_are_parts(tmp_path: Path) -> None:
    files = {
        f"{part}/{kind}/{number}.png": png(number)[0]
        for part in ("train", "test")
        for kind in "ab"
        for number in range(3)
    }
    images = opened(saved(tmp_path / "x.tar", files))
    assert images.held_out().tolist() == [False] * 6 + [True] * 6
    assert images.labels().names == ("a", "b")
    images = opened(saved(tmp_path / "x.tar", {**files, "val/a/1.png": png(1)[0]}))
    assert images.held_out().tolist() == [False] * 6 + [True]
    assert "left aside" in " ".join(images.notices)


def test_what_is_no_plain_file_within_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(png(7)[0])
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        for name in ("good.png", "/absolute.png", "../up.png", "a/../../up.png", "./also/good.png",
                     "._good.png", ".hidden/x.png", "__MACOSX/x.png"):  # fmt: skip
            member = tarfile.TarInfo(name)
            member.size = len(png(0)[0])
            archive.addfile(member, io.BytesIO(png(0)[0]))
        for kind, target in (
            (tarfile.SYMTYPE, "/etc/passwd"),
            (tarfile.LNKTYPE, str(tmp_path / "secret.png")),
            (tarfile.CHRTYPE, ""),
            (tarfile.FIFOTYPE, ""),
            (tarfile.DIRTYPE, ""),
            (tarfile.GNUTYPE_SPARSE, ""),
        ):
            member = tarfile.TarInfo(f"odd-{kind!r}.png")
            member.type, member.linkname = kind, target
            archive.addfile(member)
    images = opened(path)
    assert [images.place(index) for index in range(len(images))] == ["good.png", "also/good.png"]
    before = sorted(tmp_path.rglob("*"))
    assert images.picture(1).shape == (6, 5, 3)
    assert sorted(tmp_path.rglob("*")) == before  # nothing is ever written


@pytest.mark.parametrize("suffix", ["gz", "bz2", "xz"])
def test_a_compressed_file_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x.tar.{suffix}"
    with tarfile.open(path, f"w:{suffix}") as archive:
        archive.addfile(tarfile.TarInfo("a.png"))
    with pytest.raises(LoangError, match=r"is compressed.*Unpack it"):
        opened(path)
    hidden = path.rename(tmp_path / "x.tar")
    with pytest.raises(LoangError, match="no sound tar file"):
        opened(hidden)


def test_damage_is_found_before_any_image_is_read(tmp_path: Path) -> None:
    content = saved(tmp_path / "x.tar", samples(9)).read_bytes()
    path = tmp_path / "spoilt.tar"
    path.write_bytes(content[:3000])
    with pytest.raises(LoangError, match="no sound tar file"):
        opened(path)
    spoilt = bytearray(content)
    spoilt[1024 * 2 + 3] ^= 1  # a name, of which the header has a checksum
    path.write_bytes(spoilt)
    with pytest.raises(LoangError, match=r"header at byte 2,048 is damaged"):
        opened(path)


def test_a_file_that_shrinks_is_unreadable(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.tar", samples(9))
    images = opened(path)
    with path.open("r+b") as file:
        file.truncate(3000)
    assert images.picture(0).shape == (6, 5, 3)
    with pytest.raises(Unreadable, match="shorter"):
        images.picture(8)


def header(name: bytes, size: int, kind: bytes) -> bytes:
    made = bytearray(512)
    made[: len(name)] = name
    made[100:108], made[108:116], made[116:124] = b"0000644\0", b"0000000\0", b"0000000\0"
    made[124:136] = b"%011o\0" % size if size < 8**11 else b"\x80" + size.to_bytes(11, "big")
    made[136:148], made[156:157], made[257:265] = b"00000000000\0", kind, b"ustar\x0000"
    made[148:156] = b"        "
    made[148:156] = b"%06o\0 " % sum(made)
    return bytes(made)


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
@pytest.mark.parametrize("size", [2**31, 2**62, 2**20])
def test_a_header_takes_no_memory_that_it_announces(tmp_path: Path, kind: bytes, size: int) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(header(b"a", size, kind) + bytes(4096))
    with path.open("r+b") as file:
        file.truncate(2**32)  # with a hole, so that there is as much to be read
    with pytest.raises(LoangError, match="no sound tar file"):
        opened(path)


@pytest.mark.parametrize("size", [600, 2**40, 2**62])
def test_a_file_that_ends_after_the_archive_is_refused(tmp_path: Path, size: int) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(header(b"a.png", size, b"0") + bytes(512))
    with pytest.raises(LoangError, match="no sound tar file"):
        opened(path)


def test_no_images(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.tar", {"a.csv": b"1", "b.csv": b"2"})
    with pytest.raises(LoangError, match=r"holds no images: only \.csv"):
        opened(path)


def test_identity_changes_with_the_file(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.tar", samples(2))
    first = opened(path).identity()
    assert first == opened(path).identity()
    saved(path, samples(3))
    assert first != opened(path).identity()


def test_a_picture_that_is_none_is_unreadable(tmp_path: Path) -> None:
    images = opened(saved(tmp_path / "x.tar", {"a.png": zlib.compress(b"x"), "b.png": b""}))
    for index in range(2):
        with pytest.raises(Unreadable):
            images.header(index)


def test_what_would_lie_outside_is_told(tmp_path: Path) -> None:
    files = {f"{number}.png": png(number)[0] for number in range(3)}
    odd = {"../../x.png": b"x", "/y.png": b"x", ".hidden/z.png": b"x"}
    (notice,) = opened(saved(tmp_path / "x.tar", {**files, **odd})).notices
    assert "2 entries" in notice
    assert "../../x.png, /y.png" in notice
    assert "hidden" not in notice


def test_strays_beside_train_and_val_change_nothing(tmp_path: Path) -> None:
    files = {
        f"{part}/{kind}/{number}.png": png(number)[0]
        for part in ("train", "val")
        for kind in "ab"
        for number in range(3)
    }
    images = opened(saved(tmp_path / "x.tar", {**files, "overview.png": png(9)[0]}))
    assert images.held_out().tolist() == [False] * 6 + [True] * 6
    assert images.labels().names == ("a", "b")
    assert "overview.png" in " ".join(images.notices)


def test_a_shard_of_no_part_is_left_aside_where_others_have_one(tmp_path: Path) -> None:
    for number, name in enumerate(("extras", "test-0", "train-0")):
        saved(tmp_path / f"{name}.tar", samples(2, 10 * number))
    images = opened(tmp_path)
    assert images.held_out().tolist() == [True, True, False, False]
    assert "extras.tar" in " ".join(images.notices)


def test_names_of_members_cannot_command_a_terminal(tmp_path: Path) -> None:
    images = opened(saved(tmp_path / "x.tar", {"a\x1b[31m\nb.png": png(0)[0]}))
    assert images.place(0) == "a\\x1b[31m\\nb.png"


def test_labels_of_different_lengths_stay_apart(tmp_path: Path) -> None:
    images = opened(saved(tmp_path / "x.tar", samples(4, cls=lambda n: ["7", "007"][n % 2])))
    assert images.labels().names == ("007", "7")
