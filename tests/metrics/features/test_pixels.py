import numpy as np
import pytest

from loang.data.spec import ImageSpec
from loang.errors import LoangError
from loang.metrics.features.pixels import PixelFeatures, block


def test_a_small_image_is_itself() -> None:
    pixels = np.arange(2 * 4 * 3 * 2, dtype=np.uint8).reshape(2, 4, 3, 2)
    features = PixelFeatures(ImageSpec(4, 3, 2))
    np.testing.assert_allclose(
        features(pixels, ImageSpec(4, 3, 2)), pixels.reshape(2, -1) / 255, rtol=0, atol=1e-6
    )
    assert features.dimension == 24
    assert features.classify(pixels, ImageSpec(4, 3, 2)) is None


def test_the_range_is_that_of_the_spec() -> None:
    stored = np.array([-2.0, 0.0, 6.0], np.float32).reshape(3, 1, 1, 1)
    spec = ImageSpec(1, 1, 1, "float32", -2.0, 6.0)
    np.testing.assert_allclose(PixelFeatures(spec)(stored, spec)[:, 0], [0, 0.25, 1], atol=1e-6)


def test_blocks_are_means_and_edges_are_means_of_what_is_left() -> None:
    draw = np.random.Generator(np.random.Philox(0))
    pixels = draw.integers(0, 65536, (3, 33, 35, 1)).astype(np.uint16)
    spec = ImageSpec(33, 35, 1, "uint16", 0.0, 65535.0)
    features = PixelFeatures(spec)
    assert (features.block, features.dimension) == (2, 17 * 18)
    expected = np.array(
        [
            [image[i : i + 2, j : j + 2].mean() for i in range(0, 33, 2) for j in range(0, 35, 2)]
            for image in pixels / 65535
        ]
    )
    np.testing.assert_allclose(features(pixels, spec), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "side"),
    [
        ((28, 28, 1), 1),
        ((32, 32, 1), 1),
        ((28, 28, 3), 2),
        ((64, 64, 1), 2),
        ((64, 64, 3), 4),
        ((1, 2000, 1), 2),
        ((2, 2, 2000), 2),
    ],
)
def test_the_blocks_are_the_smallest_that_leave_1024_values(
    shape: tuple[int, int, int], side: int
) -> None:
    assert block(*shape) == side
    features = PixelFeatures(ImageSpec(*shape))
    assert features(np.zeros((1, *shape), np.uint8), ImageSpec(*shape)).shape[1] == (
        features.dimension
    )


def test_batches_change_nothing_and_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1)
    spec = ImageSpec(1, 1, 1)
    whole = PixelFeatures(spec)(pixels, spec)
    monkeypatch.setattr("loang.metrics.features.pixels.ROWS", 2)
    calls: list[tuple[int, int]] = []
    parts = PixelFeatures(spec)(pixels, spec, lambda done, total: calls.append((done, total)))
    np.testing.assert_array_equal(whole, parts)
    assert calls == [(2, 5), (4, 5), (5, 5)]


def test_other_sizes_are_another_space() -> None:
    features = PixelFeatures(ImageSpec(4, 4, 1))
    with pytest.raises(LoangError, match="4x5x1"):
        features(np.zeros((1, 4, 5, 1), np.uint8), ImageSpec(4, 5, 1))
    assert features.digest == PixelFeatures(ImageSpec(4, 4, 1, "uint16", 0.0, 9.0)).digest
    assert features.digest != PixelFeatures(ImageSpec(4, 5, 1)).digest
