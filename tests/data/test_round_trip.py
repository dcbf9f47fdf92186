"""Stored values through pack, batch and the inverse map: the same, to the last bit."""

from pathlib import Path

import numpy as np
import pytest
import torch

from loang import presets
from loang.build import build_denoiser
from loang.config import changed
from loang.data import Images, ImageSpec, open_dataset
from loang.data.scaling import to_model, to_pixels
from loang.training.feed import Feed
from loang.training.trainer import Trainer

GENERATOR = np.random.default_rng(3)
TINY = ("network.width=8", "network.multipliers=1,1", "network.attention=[1]", "network.blocks=1")


def there_and_back(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """What a run's first epoch gives its network, mapped back; and what the pack holds."""
    train = open_dataset(path).train
    settings = changed(presets.quick(), (*TINY, "training.device=cpu", "network.heads=1"))
    trainer = Trainer(build_denoiser(settings, train.spec), train, settings, torch.device("cpu"))
    batches = [trainer.batch(start, 7)[0] for start in range(0, len(train), 7)]
    given = to_pixels(torch.cat(batches)[: len(train)], train.spec)
    return given, train[:]


def as_set(images: np.ndarray) -> set[bytes]:
    return {image.tobytes() for image in images}


@pytest.mark.parametrize("highest", [255, 4095, 65535])
def test_every_value_of_sixteen_bits(tmp_path: Path, highest: int) -> None:
    values = np.resize(np.arange(highest + 1, dtype=np.uint16), (90, 48, 64))
    values[:, 0, 0] = np.arange(90)
    values[-1, -1, -1] = highest
    np.save(tmp_path / "deep.npy", values)
    given, stored = there_and_back(tmp_path / "deep.npy")
    assert given.dtype == np.uint16
    assert as_set(given) == as_set(stored)
    assert as_set(stored) <= as_set(values[..., None])


@pytest.mark.parametrize("shape", [(40, 6, 8), (40, 6, 8, 3), (40, 5, 6, 8)])
def test_real_numbers_between_minus_one_and_one(tmp_path: Path, shape: tuple[int, ...]) -> None:
    """Of every magnitude, down to those that float32 hardly tells from zero."""
    magnitude = 10.0 ** GENERATOR.uniform(-44, 0, shape)
    values = (GENERATOR.choice([-1, 1], shape) * magnitude).astype(np.float32)
    values.flat[:2] = -1, 1
    np.save(tmp_path / "real.npy", values)
    given, stored = there_and_back(tmp_path / "real.npy")
    assert given.dtype == np.float32
    assert as_set(given) == as_set(stored)


@pytest.mark.parametrize("ends", [(0.0, 1.0), (-3.0, 1000.0), (1e-6, 3e-6), (-1e20, 5e19)])
def test_real_numbers_elsewhere_differ_by_less_than_float32_can_tell_of_their_range(
    ends: tuple[float, float],
) -> None:
    low, high = ends
    values = GENERATOR.uniform(low, high, (50, 9, 7, 2)).astype(np.float32)
    spec = ImageSpec(9, 7, 2, "float32", low, high)
    back = to_pixels(to_model(values, spec), spec)
    assert np.abs(back.astype(np.float64) - values).max() <= 2.0**-23 * (high - low)


def test_whole_numbers_kept_as_real_ones_come_back_whole() -> None:
    """Counts, or 16-bit images that a program has saved as float32."""
    values = np.arange(65536, dtype=np.float32).reshape(1, 256, 256, 1)
    spec = ImageSpec(256, 256, 1, "float32", 0.0, 65535.0)
    assert np.abs(to_pixels(to_model(values, spec), spec) - values).max() < 0.01


def test_what_lies_beyond_the_range_is_cut_to_it() -> None:
    values = np.array([0, 100, 200, 60000], np.uint16).reshape(1, 2, 2, 1)
    spec = ImageSpec(2, 2, 1, "uint16", 100.0, 200.0)
    x = to_model(values, spec)
    assert x.flatten().tolist() == [-1, -1, 1, 1]
    assert to_pixels(x, spec).flatten().tolist() == [100, 100, 200, 200]


@pytest.mark.parametrize("depth", ["uint8", "uint16", "float32"])
def test_images_that_lie_on_the_device_are_the_same_images(depth: str) -> None:
    high = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}[depth]
    stored = GENERATOR.uniform(0, high, (30, 5, 4, 3)).astype(depth)
    rows = np.arange(29, 0, -2)
    images = Images(stored, ImageSpec(5, 4, 3, depth, 0.0, high), rows=rows)
    there, here = Feed(images, torch.device("cpu"), room=10**9), Feed(images, torch.device("cpu"))
    assert there.resident is not None
    assert here.resident is None
    chosen = np.array([3, 0, 14, 3])
    assert torch.equal(there(chosen), here(chosen))
    assert torch.equal(here(chosen), to_model(stored[rows[chosen]], images.spec))


def test_images_that_have_no_room_on_the_device_stay() -> None:
    images = Images(np.zeros((30, 4, 4, 1), np.uint8), ImageSpec(4, 4, 1))
    assert Feed(images, torch.device("cpu"), room=479).resident is None
    assert Feed(images, torch.device("cpu"), room=480).resident is not None


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells so much")
def test_what_is_mapped_and_large_does_not_pile_up(tmp_path: Path, monkeypatch) -> None:
    def held() -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * int(next(line.split()[1] for line in lines if line.startswith("RssFile")))

    np.save(tmp_path / "large.npy", np.zeros((3000, 128, 128, 1), np.uint8))  # 49 MB
    values = np.load(tmp_path / "large.npy", mmap_mode="r")
    images = Images(np.asarray(values), ImageSpec(128, 128, 1))
    grown = {}
    for small in (True, False):
        monkeypatch.setattr("loang.training.feed.is_small", lambda values, small=small: small)
        monkeypatch.setattr("loang.training.feed.LET_GO", 10**6)
        feed, before = Feed(images, torch.device("cpu")), held()
        for start in range(0, 3000, 30):
            feed(np.arange(start, start + 30))
        grown[small] = held() - before
    assert grown[True] > 40e6
    assert grown[False] < 0  # what was held before is given back, too
