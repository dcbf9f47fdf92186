"""Where samples go: each kind of file holds what the model drew."""

from pathlib import Path

import numpy as np
import pytest

from in_steps import IN_STEPS
from loang import build, drawing, presets
from loang.config import changed
from loang.data import ImageSpec
from loang.data.encoded.picture import count_pages, read_picture
from loang.editing import output
from loang.errors import LoangError
from loang.model import Model

TINY = (
    *("network.width=8", "network.multipliers=[1]", "network.attention=[]", "network.heads=1"),
    *("network.blocks=1", "schedule.steps=20", "sampling.steps=2", *IN_STEPS),
)
KINDS = {
    "uint8": ImageSpec(8, 8, 3),
    "uint16": ImageSpec(8, 8, 4, "uint16", 0.0, 4095.0),
    "float32": ImageSpec(8, 8, 1, "float32", -3.0, 1.5),
    "many": ImageSpec(8, 8, 5, "uint16", 0.0, 65535.0),
}


def model(kind: str) -> Model:
    settings = changed(presets.quick(), TINY)
    facts = {"data": "x", "steps": 0, "loss": 0.5, "training_images": 9, "fingerprint": "0"}
    return Model(build.build_denoiser(settings, KINDS[kind]), KINDS[kind], settings, facts)


@pytest.mark.parametrize("kind", KINDS)
def test_folders_stacks_and_arrays_hold_the_same_samples(tmp_path: Path, kind: str) -> None:
    drawn = model(kind)
    for name in ("array.npy", "stack.tif", "singles"):
        assert drawing.draw(drawn, 3, tmp_path / name) == [tmp_path / name]
    samples = np.load(tmp_path / "array.npy")
    assert count_pages(tmp_path / "stack.tif") == 3
    singles = sorted((tmp_path / "singles").iterdir())
    assert len(singles) == 3
    for page, sample in enumerate(samples):
        for found in (read_picture(tmp_path / "stack.tif", page), read_picture(singles[page])):
            assert found.dtype == sample.dtype
            assert np.array_equal(found, sample)


def test_another_suffix_is_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    with pytest.raises(LoangError, match="no kind of file"):
        drawing.draw(model("uint8"), 3, tmp_path / "samples.jpg")


def test_a_sheet_that_its_format_cant_hold_is_refused_before_anything_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, most = model("uint8"), 16383 // 10 * 8  # images of 8 pixels with gaps of 2, 8 in a row
    monkeypatch.setattr(Model, "sample", lambda *_, **__: pytest.fail("drawn"))
    for count in (most + 8, 10 * most):
        with pytest.raises(LoangError, match=r"16,383 a side at the most\. .*\.png, .* in \.npy"):
            drawing.draw(asked, count, tmp_path / "samples.webp")
    for write in (output.start_from, output.inpaint):
        with pytest.raises(LoangError, match="16,383 a side"):
            write(asked, tmp_path / "none.png", tmp_path / "out.webp", count=1638**2)
    with pytest.raises(LoangError, match="16,383 a side"):
        output.interpolate(asked, (0, 1), tmp_path / "out.webp", frames=1639)
    drawn = np.zeros((most, 8, 8, 3), np.uint8)
    monkeypatch.setattr(Model, "sample", lambda *_, **__: drawn)
    assert drawing.draw(asked, most, tmp_path / "samples.webp")
