"""A hundred awkward files in one folder: each is read right, to the pixel, or named."""

import os
import tracemalloc
from pathlib import Path

import awkward
import numpy as np
import pytest

from loang.cli import main
from loang.data import pack
from loang.data.environment import cache_folder
from loang.data.open import open_dataset
from loang.data.resize import convert_pixels
from loang.data.spec import FULL_RANGE

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such files")


@pytest.fixture
def folder(tmp_path: Path) -> tuple[Path, dict[str, awkward.Expected]]:
    return tmp_path / "awkward", awkward.write(tmp_path / "awkward")


def as_kept(pixels: np.ndarray) -> np.ndarray:
    """RGB at 16 bits, which is what all of that folder have in common; transparency on white."""
    low, high = FULL_RANGE[pixels.dtype.name]
    if pixels.dtype == np.uint8:
        pixels, high = pixels.astype(np.uint16) * 257, 65535.0
    return convert_pixels(pixels, 3, low, high)


def test_there_are_a_hundred(folder) -> None:
    _, expected = folder
    assert len(expected) >= 100


def test_each_is_read_right_or_named(folder) -> None:
    place, expected = folder
    tracemalloc.start()
    # Of another shape are only those that a turned camera made; they come in last.
    dataset = open_dataset(place, size=(awkward.HEIGHT, awkward.WIDTH), unreadable=1.0)
    assert tracemalloc.get_traced_memory()[1] < 100e6  # no bomb went off
    tracemalloc.stop()
    read = {
        part.place(index): part[index : index + 1][0]
        for part in (dataset.train, dataset.validation)
        for index in range(len(part))
    }
    (packed,) = (cache_folder() / "packed").glob("[!.]*")
    lines = (packed / pack.LEFT_OUT).read_text(encoding="utf-8").splitlines()
    reasons = dict(line.split(": ", 1) for line in lines)
    assert {*read, *reasons} == {*expected}
    assert not {*read} & {*reasons}
    named = {name: wanted for name, wanted in expected.items() if isinstance(wanted, str)}
    assert {name: reasons.get(name) for name, wanted in named.items()} == {
        name: reasons.get(name, "") if wanted in reasons.get(name, "") else wanted
        for name, wanted in named.items()
    }
    wrong = {
        name: reasons.get(name, "other pixels")
        for name, wanted in expected.items()
        if not isinstance(wanted, str)
        and (name not in read or not np.array_equal(read[name], as_kept(wanted)))
    }
    assert wrong == {}


def test_the_command_line_names_them_without_a_traceback(folder, monkeypatch, capfd) -> None:
    place, _ = folder
    monkeypatch.chdir(place.parent)
    arguments = ["loang", "train", str(place), "--dry-run", "--size", "24x16"]
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    told = capfd.readouterr().err
    assert "data.unreadable=1" in told
    assert "Traceback" not in told
    monkeypatch.setattr("sys.argv", [*arguments, "--set", "data.unreadable=1"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (0, None)
    said = capfd.readouterr()
    assert "were left out" in said.out
    assert "Traceback" not in said.out + said.err
