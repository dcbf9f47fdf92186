"""What is written as single images is read back, value by value."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from loang import pictures
from loang.data.encoded.picture import count_pages, read_header, read_picture
from loang.data.spec import ImageSpec
from loang.errors import LoangError
from loang.pictures.single import save_stack

RANGES = {"uint8": (0.0, 255.0), "uint16": (0.0, 65535.0), "float32": (-2.0, 5.0)}
WRITTEN = [
    *((depth, channels) for depth in ("uint8", "uint16") for channels in (1, 2, 3, 4, 6)),
    *(("float32", channels) for channels in (1, 2, 3, 4, 5)),
]


def images(depth: str, channels: int) -> tuple[np.ndarray, ImageSpec]:
    spec = ImageSpec(5, 7, channels, depth, *RANGES[depth])
    values = np.random.default_rng(0).uniform(spec.low, spec.high, (3, 5, 7, channels))
    values[0, 0, 0], values[0, 0, 1] = spec.low, spec.high
    return values.astype(depth), spec


@pytest.mark.parametrize(("depth", "channels"), WRITTEN)
def test_singles_are_read_back_bit_by_bit(tmp_path: Path, depth: str, channels: int) -> None:
    pixels, spec = images(depth, channels)
    pictures.save_singles(pixels, spec, tmp_path)
    suffix = ".png" if depth != "float32" and channels in (1, 3, 4) else ".tif"
    written = sorted(tmp_path.iterdir())
    assert [path.name for path in written] == [f"0000{number}{suffix}" for number in range(3)]
    for image, path in zip(pixels, written, strict=True):
        found = read_picture(path)
        assert found.dtype == image.dtype
        assert np.array_equal(found, image)
        # Four channels are RGBA only where they are written as such.
        rgba = channels == 4 and depth != "float32"
        assert read_header(path).transparent == rgba
        assert read_header(path).channels == (3 if rgba else channels)


@pytest.mark.parametrize(("depth", "channels"), WRITTEN)
def test_a_stack_has_a_page_an_image(tmp_path: Path, depth: str, channels: int) -> None:
    pixels, _ = images(depth, channels)
    path = tmp_path / "stack.tif"
    save_stack(pixels, pixels.nbytes, path)
    assert count_pages(path) == 3
    for page, image in enumerate(pixels):
        assert np.array_equal(read_picture(path, page), image)
    assert [each.name for each in tmp_path.iterdir()] == ["stack.tif"]


@pytest.mark.parametrize("size", [2**30, 2**33])
def test_a_large_stack_has_wide_offsets(tmp_path: Path, size: int) -> None:
    pixels, _ = images("uint16", 3)
    save_stack(pixels, size, tmp_path / "stack.tif")
    with tifffile.TiffFile(tmp_path / "stack.tif") as tiff:
        assert tiff.is_bigtiff == (size > 2**32)
    assert np.array_equal(read_picture(tmp_path / "stack.tif", 2), pixels[2])


@pytest.mark.parametrize(("depth", "channels", "mode"), [("float32", 1, "F"), ("uint16", 3, "RGB")])
def test_other_programs_open_them(tmp_path: Path, depth: str, channels: int, mode: str) -> None:
    pixels, spec = images(depth, channels)
    pictures.save_singles(pixels, spec, tmp_path)
    with Image.open(next(tmp_path.iterdir())) as image:
        image.load()
        assert (image.mode, image.size) == (mode, (7, 5))


def test_what_could_not_be_read_back_is_not_written() -> None:
    spec = ImageSpec(9_000, 10_000, 1, "uint8", 0.0, 255.0)
    with pytest.raises(LoangError, match="too large for a picture"):
        pictures.check_singles(spec)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for depth, channels in (("uint16", 3), ("float32", 1)):
        pixels, spec = images(depth, channels)
        with pytest.raises(LoangError, match="can't be written"):
            pictures.save_singles(pixels, spec, tmp_path / "file")
