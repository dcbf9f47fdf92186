"""TIFF: pages of one file, and what is read without imagecodecs."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from loang.data.encoded.picture import Header, Unreadable, count_pages, read_header, read_picture

DEEP = np.random.default_rng(0).integers(0, 65536, (21, 17, 7), np.uint16)


def stack(path: Path, parts: list[tuple[np.ndarray, dict[str, object]]]) -> Path:
    with tifffile.TiffWriter(path) as writer:
        for pixels, options in parts:
            writer.write(pixels, metadata=None, contiguous=False, **options)
    return path


def test_pages_are_images_of_their_own(tmp_path: Path) -> None:
    grey = {"photometric": "minisblack"}
    path = stack(
        tmp_path / "stack.tif",
        [
            (DEEP[..., 0], {**grey, "subfiletype": 2}),  # a page of several
            (DEEP[::2, ::2, 0], {**grey, "subfiletype": 1}),  # a thumbnail
            (DEEP[..., 1].astype(np.uint8), {**grey, "compression": "zlib"}),
            (DEEP[..., 0] > 9, {**grey, "subfiletype": 4}),  # a mask
            (DEEP[:5, :6, :3] / np.float32(3), {"photometric": "rgb"}),
        ],
    )
    for source in (path, path.read_bytes()):
        assert count_pages(source) == 3
        assert np.array_equal(read_picture(source), DEEP[..., :1])
        assert np.array_equal(read_picture(source, page=1), DEEP[..., 1:2].astype(np.uint8))
        assert read_header(source, page=2) == Header(5, 6, 3, "float32")
        assert np.array_equal(read_picture(source, page=2), DEEP[:5, :6, :3] / np.float32(3))
        for page in (-1, 3):
            with pytest.raises(Unreadable, match=f"no page {page}"):
                read_picture(source, page)


@pytest.mark.parametrize("imagej", [False, True])
def test_a_stack_with_one_directory_is_refused_and_a_page_taken_out_of_it_is_not(
    tmp_path: Path, imagej: bool
) -> None:
    path, values = tmp_path / "stack.tif", np.ascontiguousarray(DEEP.transpose(2, 0, 1))
    tifffile.imwrite(path, values, truncate=True, imagej=imagej, photometric="minisblack")
    with pytest.raises(Unreadable, match="holds 7 images, of which only the first"):
        read_header(path)
    with tifffile.TiffFile(path) as file:
        text = file.pages[0].description
    tifffile.imwrite(path, values[0], description=text, metadata=None, photometric="minisblack")
    assert np.array_equal(read_picture(path), DEEP[..., :1])
    for planes in ("contig", "separate"):
        laid = DEEP[..., :3] if planes == "contig" else values[:3]
        tifffile.imwrite(path, laid, photometric="rgb", planarconfig=planes)
        assert np.array_equal(read_picture(path), DEEP[..., :3])


def test_a_file_that_changes_is_looked_at_anew(tmp_path: Path) -> None:
    grey = {"photometric": "minisblack"}
    path = tmp_path / "stack.tif"
    for count in (3, 1, 2):
        stack(path, [(DEEP[..., 0], grey)] * count)
        assert count_pages(path) == count


def test_only_thumbnails_are_no_image(tmp_path: Path) -> None:
    parts = [(DEEP[..., 0], {"photometric": "minisblack", "subfiletype": 1})]
    with pytest.raises(Unreadable, match="reduced copies"):
        read_header(stack(tmp_path / "raw.tif", parts))


def test_pages_that_pillow_wrote(tmp_path: Path) -> None:
    bits = Image.fromarray(DEEP[..., 0] > 30000)
    photo = Image.fromarray(np.full((40, 30, 3), 90, np.uint8))
    for mode, image, compression in (("L", bits, "group4"), ("RGB", photo, "jpeg")):
        path = tmp_path / f"{compression}.tif"
        image.save(path, save_all=True, append_images=[image, image], compression=compression)
        assert count_pages(path) == 3
        wanted = np.array(image.convert(mode)).reshape(*image.size[::-1], -1).astype(int)
        assert np.abs(read_picture(path, 2) - wanted).max() <= 2


def test_a_stack_may_be_larger_than_a_picture(tmp_path: Path) -> None:
    """Only the page that is asked for is read; the file is sparse, and takes no place."""
    path = tmp_path / "large.tif"
    tifffile.imwrite(path, DEEP[..., 0], photometric="minisblack", bigtiff=True, metadata=None)
    content = path.read_bytes()
    place = int.from_bytes(content[8:16], "little")
    with path.open("wb") as file:
        file.write(content)
        file.seek(2**31)
        file.write(content[place:])  # its directory, which still points to the pixels
        file.seek(8)
        file.write((2**31).to_bytes(8, "little"))
    assert np.array_equal(read_picture(path), DEEP[..., :1])


WITHOUT_CODECS = """
import io, sys
sys.modules["imagecodecs"] = None
import numpy as np, tifffile
from PIL import Image
from loang.data.encoded import unpacking
from loang.data.encoded.picture import Unreadable, read_picture
unpacking.has_codecs = lambda: False
from loang.data.encoded import tiff_picture
tiff_picture.has_codecs = lambda: False
deep = np.arange(15 * 3, dtype=np.uint16).reshape(3, 5, 3) * 999
for options in ({}, {"compression": "zlib"}, {"compression": "zlib", "predictor": True}):
    file = io.BytesIO()
    tifffile.imwrite(file, deep, photometric="rgb", **options)
    assert np.array_equal(read_picture(file.getvalue()), deep)
file = io.BytesIO()
Image.fromarray((deep % 256).astype(np.uint8)).save(file, format="TIFF", compression="tiff_lzw")
assert np.array_equal(read_picture(file.getvalue()), deep % 256)
for name in sys.argv[1:]:
    try:
        read_picture(open(name, "rb").read())
    except Unreadable as reason:
        assert 'pip install "loang[tiff]"' in str(reason), reason
    else:
        raise AssertionError(name)
"""


def test_without_imagecodecs_what_needs_it_is_refused_in_words(tmp_path: Path) -> None:
    names = []
    for number, (pixels, options) in enumerate(
        [
            (DEEP[..., :3], {"compression": "lzw", "photometric": "rgb"}),
            (DEEP[..., 0] / np.float32(3), {"compression": "zlib", "predictor": True}),
        ]
    ):
        names.append(str(tmp_path / f"{number}.tif"))
        tifffile.imwrite(names[-1], pixels, **options)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_CODECS, *names], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
