import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from loang.data.open import open_dataset
from loang.data.wishes import Wishes
from loang.errors import LoangError

GENERATOR = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _reseed() -> None:
    """Each test draws the same images whatever ran before it."""
    GENERATOR.bit_generator.state = np.random.default_rng(5).bit_generator.state


def write(path: Path, shape: tuple[int, ...] = (8, 6), value: int | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = GENERATOR.integers(0, 256, shape, np.uint8)
    Image.fromarray(pixels if value is None else np.full(shape, value, np.uint8)).save(path)
    return path


def many(folder: Path, count: int = 40, shape: tuple[int, ...] = (8, 6)) -> Path:
    for number in range(count):
        write(folder / f"{number:03}.png", shape)
    return folder


def rows(images) -> set[bytes]:
    return {image.tobytes() for image in images.pixels}


def test_reads_a_folder(tmp_path: Path) -> None:
    reports = list[tuple[str, int, int | None]]()
    dataset = open_dataset(many(tmp_path), on_progress=lambda *report: reports.append(report))
    assert dataset.spec.shape == (1, 8, 6)
    assert len(dataset.train) + len(dataset.validation) == 40
    assert 1 <= len(dataset.validation) <= 12
    assert dataset.train.labels is None
    assert dataset.notices == ()
    assert reports[-1] == ("images read", 40, 40)
    everything = {np.asarray(Image.open(path)).tobytes() for path in tmp_path.iterdir()}
    assert rows(dataset.train) | rows(dataset.validation) == everything
    assert open_dataset(tmp_path).fingerprint == dataset.fingerprint


def test_any_depth_any_name_and_sorted(tmp_path: Path) -> None:
    for place in ("b/ähnlich.PNG", "a/x y/z.png", "a/1.Jpeg", "con nước.webp"):
        write(tmp_path / place, (8, 8, 3))
    dataset = open_dataset(tmp_path)
    assert len(dataset.train) + len(dataset.validation) == 4
    assert dataset.spec.channels == 3


def test_hidden_files_and_leftovers_are_passed_over(tmp_path: Path) -> None:
    many(tmp_path)
    for place in (".hidden.png", ".git/a.png", "__MACOSX/._a.png"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_text("no picture")
    assert open_dataset(tmp_path).notices == ()


def test_other_files_are_told(tmp_path: Path) -> None:
    many(tmp_path)
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "phone.heic").write_text("")
    (notice,) = open_dataset(tmp_path).notices
    assert "2 files of other kinds" in notice
    assert ".heic" in notice


def test_a_missing_an_empty_and_a_strange_folder(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("")
    (tmp_path / "empty").mkdir()
    for name, remedy in (("missing", "folder of images"), ("empty", "png"), ("notes", "png")):
        with pytest.raises(LoangError, match=name) as caught:
            open_dataset(tmp_path / name)
        assert remedy in caught.value.remedy


def test_one_image_serves_twice(tmp_path: Path) -> None:
    write(tmp_path / "only.png")
    dataset = open_dataset(tmp_path)
    assert np.array_equal(dataset.train.pixels, dataset.validation.pixels)
    assert len(dataset.train) == 1
    assert "only one image" in dataset.notices[0]


@pytest.mark.parametrize("seed", range(10))
def test_two_images_are_one_on_each_side(tmp_path: Path, seed: int) -> None:
    GENERATOR.bytes(8 * seed)
    for name in "ab":
        write(tmp_path / f"{name}.png")
    dataset = open_dataset(tmp_path)
    assert len(dataset.train) == len(dataset.validation) == 1


def test_a_file_added_tomorrow_moves_no_other(tmp_path: Path) -> None:
    today = open_dataset(many(tmp_path))
    for number in range(10):
        write(tmp_path / f"a colour {number}.png", (8, 6, 3))
    tomorrow = open_dataset(tmp_path)
    first = {np.repeat(np.asarray(image), 3, axis=-1).tobytes() for image in today.train.pixels}
    assert first <= rows(tomorrow.train)
    assert len(today.validation) <= len(tomorrow.validation)


def test_size_and_channels_do_not_change_the_sides(tmp_path: Path) -> None:
    many(tmp_path)
    plain = open_dataset(tmp_path)
    for settings in ({"size": (4, 4)}, {"channels": 3}, {"channels": 4, "size": (9, 9)}):
        assert len(open_dataset(tmp_path, **settings).validation) == len(plain.validation)


def test_copies_are_on_one_side(tmp_path: Path) -> None:
    for number in range(30):
        grey = write(tmp_path / f"{number}.png")
        image = Image.open(grey)
        image.save(tmp_path / f"{number}.bmp")
        image.convert("RGB").save(tmp_path / f"{number}-rgb.png")
        image.convert("LA").save(tmp_path / f"{number}-la.png")
    dataset = open_dataset(tmp_path)
    assert not rows(dataset.train) & rows(dataset.validation)
    assert len(dataset.validation) % 4 == 0


def test_subfolders_are_classes(tmp_path: Path) -> None:
    for name, value in (("dogs", 10), ("cats", 200)):
        for number in range(10):
            write(tmp_path / name / "deep" / f"{number}.png", value=value + number)
    dataset = open_dataset(tmp_path)
    assert dataset.spec.class_names == ("cats", "dogs")
    for part in (dataset.train, dataset.validation):
        assert part.labels is not None
        assert np.array_equal(part.labels, (part.pixels.reshape(len(part), -1)[:, 0] < 100))


def test_no_classes_where_an_image_lies_outside_or_there_is_one(tmp_path: Path) -> None:
    many(tmp_path / "a")
    assert open_dataset(tmp_path).spec.class_names == ()
    many(tmp_path / "b")
    assert open_dataset(tmp_path).spec.class_names == ("a", "b")
    write(tmp_path / "outside.png")
    assert open_dataset(tmp_path).train.labels is None


def test_parts_of_a_data_set_are_no_classes(tmp_path: Path) -> None:
    many(tmp_path / "train")
    many(tmp_path / "Test")
    dataset = open_dataset(tmp_path)
    assert dataset.train.labels is None
    assert dataset.notices == ()


def test_mixed_grey_and_colour_become_rgb(tmp_path: Path) -> None:
    write(tmp_path / "grey.png", value=7)
    write(tmp_path / "colour.png", (8, 6, 3))
    dataset = open_dataset(tmp_path)
    assert dataset.spec.channels == 3
    assert np.full((8, 6, 3), 7, np.uint8).tobytes() in rows(dataset.train) | rows(
        dataset.validation
    )


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_channels_convert(tmp_path: Path, channels: int) -> None:
    write(tmp_path / "grey.png")
    write(tmp_path / "colour.png", (8, 6, 3))
    write(tmp_path / "clear.png", (8, 6, 4), value=0)
    dataset = open_dataset(tmp_path, channels=channels)
    assert dataset.spec.channels == channels
    clear = np.full((8, 6, channels), 0 if channels == 4 else 255, np.uint8)
    assert clear.tobytes() in rows(dataset.train) | rows(dataset.validation)


def test_channels_that_cannot_be(tmp_path: Path) -> None:
    write(tmp_path / "grey.png")
    with pytest.raises(LoangError, match="1 channel, and can't be given 2"):
        open_dataset(tmp_path, channels=2)


def test_of_several_sizes_one_is_chosen_and_told(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / f"{number}.png", (300, 200))
    write(tmp_path / "wide.png", (80, 160))
    dataset = open_dataset(tmp_path)
    # 64 x 64 pixels in the shape of most, in multiples of 8.
    assert dataset.spec.shape == (1, 80, 56)
    assert "2 sizes, 300x200 (3), 80x160 (1)" in dataset.notices[0]
    assert "--size" in dataset.notices[0]
    dataset = open_dataset(tmp_path, size=(4, 5))
    assert dataset.spec.shape == (1, 4, 5)


def test_the_centre_is_kept(tmp_path: Path) -> None:
    pixels = np.zeros((10, 30), np.uint8)
    pixels[:, 10:20] = 255
    Image.fromarray(pixels).save(tmp_path / "stripe.png")
    assert open_dataset(tmp_path, size=(10, 10)).train.pixels.min() == 255
    assert open_dataset(tmp_path, size=(20, 20)).train.pixels[:, :, 2:-2].min() > 250
    assert open_dataset(tmp_path, size=(5, 5)).train.pixels[:, :, 1:-1].min() > 240


def test_sixteen_bits(tmp_path: Path) -> None:
    for number in range(5):
        deep = GENERATOR.integers(0, 4096, (8, 6), np.uint16)
        deep[0, 0] = 4000
        Image.fromarray(deep).save(tmp_path / f"{number}.png")
    dataset = open_dataset(tmp_path)
    assert dataset.spec.depth == "uint16"
    assert dataset.spec.high == 4095
    assert "12 bits" in dataset.notices[0]
    assert open_dataset(tmp_path, size=(4, 4), channels=3).spec.shape == (3, 4, 4)
    write(tmp_path / "shallow.png", value=200)
    dataset = open_dataset(tmp_path)
    assert dataset.spec.depth == "uint16"
    assert "5 images of 16 bits with 1 of 8" in dataset.notices[0]
    both = rows(dataset.train) | rows(dataset.validation)
    assert np.full((8, 6, 1), 200 * 257, np.uint16).tobytes() in both


def test_a_few_bad_files_are_named(tmp_path: Path) -> None:
    many(tmp_path, 60)
    (tmp_path / "text.png").write_text("no picture")
    cut = write(tmp_path / "cut.jpg", (64, 64))
    cut.write_bytes(cut.read_bytes()[:1500])
    dataset = open_dataset(tmp_path, size=(8, 6))
    assert len(dataset.train) + len(dataset.validation) == 60
    (notice,) = dataset.notices
    assert "2 of the 62 images" in notice
    assert "text.png" in notice
    assert "cut.jpg" in notice


def test_leaving_bad_files_out_changes_nothing_else(tmp_path: Path) -> None:
    many(tmp_path, 40)
    sound = open_dataset(tmp_path)
    cut = write(tmp_path / "005 cut.jpg")
    cut.write_bytes(cut.read_bytes()[:-40])
    assert open_dataset(tmp_path).fingerprint == sound.fingerprint


def test_many_bad_files_are_refused(tmp_path: Path) -> None:
    many(tmp_path, 10)
    for number in range(15):
        (tmp_path / f"bad {number:02}.png").write_text("no picture")
    with pytest.raises(LoangError, match="15 of the 25 images") as caught:
        open_dataset(tmp_path)
    assert "bad 09.png" in caught.value.problem
    assert "bad 10.png" not in caught.value.problem
    assert "5 more" in caught.value.problem


def test_all_bad_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_text("no picture")
    with pytest.raises(LoangError, match=r"bad\.png"):
        open_dataset(tmp_path)


def test_links_in_a_loop_end(tmp_path: Path) -> None:
    many(tmp_path / "images", 25)
    (tmp_path / "images" / "back").symlink_to(tmp_path)
    (tmp_path / "again").symlink_to(tmp_path / "images")
    (tmp_path / "self.png").symlink_to(tmp_path / "self.png")
    dataset = open_dataset(tmp_path)
    assert len(dataset.train) + len(dataset.validation) == 25
    assert "self.png" in dataset.notices[0]


def test_links_that_leave_the_folder_are_followed_only_where_that_is_asked_for(
    tmp_path: Path,
) -> None:
    outside, here = many(tmp_path / "elsewhere", 12), many(tmp_path / "here", 8)
    (here / "folder").symlink_to(outside)
    (here / "file.png").symlink_to(outside / "000.png")
    (here / "again.png").symlink_to(here / "000.png")  # stays within

    def read(**asked: bool) -> tuple[int, tuple[str, ...]]:
        dataset = open_dataset(here, **asked)
        return len(dataset.train) + len(dataset.validation), dataset.notices

    count, (notice,) = read()
    assert count == 8 + 1
    assert "2 links that leave the folder (file.png, folder;" in notice
    assert "data.follow_links" in notice
    assert read(follow_links=True) == (8 + 2 + 12, ())


def test_a_folder_of_nothing_but_links_that_leave_it_says_so(tmp_path: Path) -> None:
    outside = many(tmp_path / "elsewhere", 3)
    (tmp_path / "here").mkdir()
    for number in range(7):
        (tmp_path / "here" / f"{number}.png").symlink_to(outside / "000.png")
    with pytest.raises(LoangError, match=r"holds no images: only 7 links that leave.* and 2 more"):
        open_dataset(tmp_path / "here")


def test_a_folder_that_is_itself_a_link_is_opened(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(many(tmp_path / "elsewhere"))
    assert open_dataset(tmp_path / "link").notices == ()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such pipes")
def test_a_pipe_that_is_called_a_picture_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(many(tmp_path, 30) / "pipe.png")
    (notice,) = open_dataset(tmp_path).notices
    assert "pipe.png (it is no plain file)" in notice


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is closed to root"
)
def test_what_may_not_be_read(tmp_path: Path) -> None:
    closed = write(tmp_path / "closed" / "a.png")
    closed.chmod(0)
    with pytest.raises(LoangError, match="Permission denied"):
        open_dataset(tmp_path)
    closed.parent.chmod(0)
    try:
        with pytest.raises(LoangError, match="Permission denied"):
            open_dataset(tmp_path)
    finally:
        closed.parent.chmod(0o700)


def test_sizes_that_no_network_takes_are_refused_before_any_is_decoded(tmp_path: Path) -> None:
    many(tmp_path, 3)
    with pytest.raises(LoangError, match="more than 268,435,456 values"):
        open_dataset(tmp_path, size=(10_000_000, 10_000_000))


def test_an_interruption_ends_the_reading(tmp_path: Path) -> None:
    def interrupt(name: str, done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_dataset(many(tmp_path), on_progress=interrupt)


def test_the_share_is_a_tenth() -> None:
    from loang.data.split import VALIDATION_SHARE

    assert VALIDATION_SHARE == 0.1
    assert Wishes().unreadable == 0.05
