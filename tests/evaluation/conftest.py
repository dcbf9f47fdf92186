"""Small pictures that a measure can tell from others, and a model of them that has not learned."""

import numpy as np
import pytest

from loang.build import build_denoiser
from loang.config import Settings, UNetSettings
from loang.data.images import Dataset, Images
from loang.data.spec import ImageSpec
from loang.model import Model

SPEC = ImageSpec(8, 8, 1, class_names=("left", "right"))


@pytest.fixture(autouse=True)
def _sealed(tmp_path, monkeypatch):
    monkeypatch.setenv("LOANG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LOANG_OFFLINE", "1")


def draw_blobs(count, seed, spec=SPEC):
    """A bright spot at the left or at the right, of random size, place and brightness."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    y, x = np.mgrid[0 : spec.height, 0 : spec.width]
    centre_y = rng.uniform(1, spec.height - 2, (count, 1, 1))
    centre_x = rng.uniform(0, spec.width / 2 - 1, (count, 1, 1))
    centre_x = centre_x + labels[:, None, None] * spec.width / 2
    size = rng.uniform(0.8, 2.0, (count, 1, 1))
    spot = np.exp(-((y - centre_y) ** 2 + (x - centre_x) ** 2) / (2 * size**2))
    values = rng.uniform(100, 250, (count, 1, 1)) * spot + rng.normal(0, 4, spot.shape)
    return Images(values.clip(0, 255).astype(np.uint8)[..., None], spec, labels)


@pytest.fixture
def blobs():
    """As many of the pictures as are asked for: (count, seed)."""
    return draw_blobs


@pytest.fixture
def real():
    """400 to learn from, 200 held out."""
    return Dataset("blobs", draw_blobs(400, 0), draw_blobs(200, 1), "f" * 64)


@pytest.fixture
def untrained():
    """A model of 8x8 pictures of two classes, in 5 steps."""
    network = UNetSettings(width=8, multipliers=(1, 1), attention=(), heads=1, blocks=1)
    settings = Settings(network=network)
    settings = settings.model_copy(
        update={"sampling": settings.sampling.model_copy(update={"steps": 5})}
    )
    return Model(build_denoiser(settings, SPEC), SPEC, settings)
