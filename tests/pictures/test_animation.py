"""Animations: exact pixels, exact durations, and a file that is whole or absent."""

import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from loang.errors import LoangError
from loang.pictures.animation import save_animation, save_image

SUFFIXES = [".gif", ".webp", ".png"]
MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def random_frames(
    count: int, channels: int = 1, height: int = 11, width: int = 17
) -> list[Image.Image]:
    shape = (count, height, width, channels)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return [Image.fromarray(image.squeeze(-1) if channels == 1 else image) for image in pixels]


def read(path: Path, mode: str) -> tuple[list[np.ndarray], list[int]]:
    """The frames of an animation and their durations."""
    with Image.open(path) as animation:
        frames, durations = [], []
        for frame in ImageSequence.Iterator(animation):
            frames.append(np.asarray(frame.convert(mode)))
            durations.append(round(frame.info.get("duration", 0)))
        return frames, durations


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_grey_frames_come_back_exactly_with_their_durations(tmp_path: Path, suffix: str) -> None:
    frames = random_frames(4, height=40, width=30)
    ramp = Image.fromarray(np.arange(1200).reshape(40, 30).astype(np.uint8))
    flat = Image.new("L", (30, 40), 113)
    save_animation(
        [ramp, flat, *frames], path := tmp_path / f"walk{suffix}", frame_ms=40, hold_ms=2000
    )
    read_back, durations = read(path, "RGB")
    assert len(read_back) == 6
    for got, sent in zip(read_back, [ramp, flat, *frames], strict=True):
        np.testing.assert_array_equal(got, np.asarray(sent.convert("RGB")))
    assert durations == [40] * 5 + [2040]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("channels", [3, 4])
def test_colour_frames(tmp_path: Path, suffix: str, channels: int) -> None:
    frames = random_frames(3, channels)  # 187 colours: few enough for a GIF to keep them all
    save_animation(frames, path := tmp_path / f"walk{suffix}")
    read_back, durations = read(path, MODES[channels])
    assert durations == [40, 40, 2040]
    for got, sent in zip(read_back, frames, strict=True):
        wanted = np.asarray(sent)
        if channels == 4 and suffix == ".gif":
            white = Image.new("RGBA", sent.size, "white")
            wanted = np.asarray(Image.alpha_composite(white, sent))
        if channels == 4:  # what cannot be seen has no colour
            got, wanted = got * (got[..., 3:] > 0), wanted * (wanted[..., 3:] > 0)
        np.testing.assert_array_equal(got, wanted)


def test_each_frame_of_a_gif_has_its_own_palette(tmp_path: Path) -> None:
    y, x = np.mgrid[0:64, 0:64] * 4
    shades = [Image.fromarray(np.stack([y, x, 0 * x + b], -1).astype(np.uint8)) for b in (0, 250)]
    save_animation(shades, path := tmp_path / "shades.gif")
    for got, sent in zip(read(path, "RGB")[0], shades, strict=True):
        assert np.abs(got.astype(int) - np.asarray(sent)).mean() < 5.0


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_it_loops_forever(tmp_path: Path, suffix: str) -> None:
    save_animation(random_frames(2), path := tmp_path / f"walk{suffix}")
    with Image.open(path) as animation:
        assert animation.info["loop"] == 0


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_equal_neighbours_are_stored_once_and_shown_for_longer(tmp_path: Path, suffix: str) -> None:
    a, b, c = random_frames(3)
    frames = [a, a, b, c, c.copy(), c]
    save_animation(frames, path := tmp_path / f"walk{suffix}", frame_ms=30, hold_ms=500)
    assert read(path, "L")[1] == [60, 30, 590]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_very_long_stillness_still_adds_up(tmp_path: Path, suffix: str) -> None:
    a, b = random_frames(2, height=2, width=2)
    save_animation(
        [b, *[a] * 5], path := tmp_path / f"s{suffix}", frame_ms=200_000, hold_ms=300_000
    )
    assert sum(read(path, "L")[1]) == 6 * 200_000 + 300_000


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("copies", [1, 5])
def test_one_frame_is_a_still_picture(tmp_path: Path, suffix: str, copies: int) -> None:
    (frame,) = random_frames(1)
    save_animation([frame] * copies, path := tmp_path / f"still{suffix}")
    frames, _ = read(path, "L")
    assert len(frames) == 1
    np.testing.assert_array_equal(frames[0], np.asarray(frame))


def test_durations_are_rounded_to_what_a_gif_can_say(tmp_path: Path) -> None:
    save_animation(random_frames(2), path := tmp_path / "walk.gif", frame_ms=33, hold_ms=96)
    assert read(path, "L")[1] == [30, 130]
    save_animation(random_frames(2), path, frame_ms=20, hold_ms=0)
    assert read(path, "L")[1] == [20, 20]


@pytest.mark.parametrize(
    "durations", [{"frame_ms": 19}, {"frame_ms": 300_010}, {"hold_ms": -1}, {"hold_ms": 300_010}]
)
def test_durations_that_viewers_would_not_keep_are_refused(
    tmp_path: Path, durations: dict[str, int]
) -> None:
    with pytest.raises(ValueError, match="is not between"):
        save_animation(random_frames(2), tmp_path / "walk.gif", **durations)


def test_a_gif_is_written_as_the_frames_come(tmp_path: Path) -> None:
    made: list[weakref.ref[Image.Image]] = []
    most = 0

    def frames() -> Iterator[Image.Image]:
        nonlocal most
        for level in range(30):
            frame = Image.new("L", (8, 8), level)
            made.append(weakref.ref(frame))
            most = max(most, sum(ref() is not None for ref in made))
            yield frame

    save_animation(frames(), tmp_path / "walk.gif")
    assert most <= 4


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_failing_iterator_leaves_nothing_behind_and_the_old_file_alone(
    tmp_path: Path, suffix: str
) -> None:
    def failing() -> Iterator[Image.Image]:
        yield from random_frames(3)
        raise RuntimeError("the sampler broke")

    path = tmp_path / f"walk{suffix}"
    with pytest.raises(RuntimeError, match="sampler broke"):
        save_animation(failing(), path)
    assert list(tmp_path.iterdir()) == []
    path.write_bytes(b"older")
    with pytest.raises(RuntimeError, match="sampler broke"):
        save_animation(failing(), path)
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"older"]


def test_nothing_is_seen_under_the_name_before_the_end(tmp_path: Path) -> None:
    path = tmp_path / "walk.gif"

    def watching() -> Iterator[Image.Image]:
        for frame in random_frames(3):
            assert not path.exists()
            yield frame

    save_animation(watching(), path)
    assert [p.name for p in tmp_path.iterdir()] == ["walk.gif"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_frames(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        save_animation([], tmp_path / f"walk{suffix}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([Image.new("L", (4, 4)), Image.new("L", (4, 5))], "follows"),
        ([Image.new("L", (4, 4)), Image.new("RGB", (4, 4))], "follows"),
        ([Image.new("CMYK", (4, 4))], "not CMYK"),
    ],
)
def test_frames_that_do_not_fit(tmp_path: Path, frames: list[Image.Image], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        save_animation(frames, tmp_path / "walk.gif")


@pytest.mark.parametrize("name", ["walk.bmp", "walk"])
def test_an_unknown_suffix_is_the_persons_to_mend(tmp_path: Path, name: str) -> None:
    frame = random_frames(1)[0]
    remedy = r"Give the file a name that ends in \.gif, \.webp or \.png\."
    with pytest.raises(LoangError, match=r"^loang can't write (\.bmp )?animations .*" + remedy):
        save_animation([frame], tmp_path / name)
    with pytest.raises(LoangError, match=r"^loang can't write (\.bmp )?pictures .*" + remedy):
        save_image(frame, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".PNG"])
@pytest.mark.parametrize("channels", [1, 3])
def test_still_pictures_come_back_exactly(tmp_path: Path, suffix: str, channels: int) -> None:
    (picture,) = random_frames(1, channels)
    save_image(picture, path := tmp_path / "new" / f"picture{suffix}")
    with Image.open(path) as read_back:
        np.testing.assert_array_equal(
            np.asarray(read_back.convert(picture.mode)), np.asarray(picture)
        )
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_picture_is_as_readable_as_any_other_new_file(tmp_path: Path) -> None:
    save_image(random_frames(1)[0], path := tmp_path / "picture.png")
    (other := tmp_path / "other").touch()
    assert path.stat().st_mode == other.stat().st_mode


@pytest.mark.parametrize(("suffix", "most"), [(".webp", 16383), (".gif", 65535), (".png", None)])
def test_what_is_too_wide_for_a_format_is_told_and_what_fits_is_written(
    tmp_path: Path, suffix: str, most: int | None
) -> None:
    path = tmp_path / f"a{suffix}"
    for width, height in ((1, most or 70_000), (most or 70_000, 1)):
        image = Image.new("L", (width, height))
        larger = Image.new("L", (width + (height == 1), height + (width == 1)))
        for write, fits, large in (
            (save_image, image, larger),
            (save_animation, [image], [larger]),
        ):
            write(fits, path)
            if most is not None:
                with pytest.raises(LoangError, match=r"a side at the most.*\.png"):
                    write(large, path)
