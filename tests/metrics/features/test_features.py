import subprocess
import sys

import numpy as np
import pytest

from loang.data.images import Dataset, Images
from loang.data.places.fashion_mnist import SPEC
from loang.data.spec import ImageSpec
from loang.errors import LoangError
from loang.metrics.features import named
from loang.metrics.features.pixels import PixelFeatures


def dataset(spec: ImageSpec) -> Dataset:
    pixels = np.zeros((2, spec.height, spec.width, spec.channels), np.uint8)
    images = Images(pixels, spec, np.arange(2))
    return Dataset("black", images, images, "0" * 64)


@pytest.mark.parametrize("name", ["auto", "fashion", "Fashion-v1"])
def test_fashion_mnist_is_seen_by_its_own_classifier(name: str) -> None:
    assert named(name, dataset(SPEC)).name == "fashion-v1"


@pytest.mark.parametrize("name", ["auto", "own", "own-v1"])
def test_other_images_are_seen_by_a_network_of_theirs(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    data = dataset(ImageSpec(9, 9, 1))
    learned = PixelFeatures(data.spec)

    def learn(data: Dataset, *, on_step: object) -> PixelFeatures:
        asked.append((data, on_step))
        return learned

    monkeypatch.setattr("loang.metrics.features.own.own_features", learn)

    def step(done: int, total: int) -> None: ...

    assert named(name, data, on_step=step) is learned
    assert asked == [(data, step)]


def test_pixels_are_those_of_the_data() -> None:
    space = named("pixels", dataset(ImageSpec(9, 7, 3)))
    assert (space.name, space.dimension) == ("pixels-v1", 189)


def test_inception_asks_for_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(LoangError, match="torch-fidelity"):
        named("inception", dataset(SPEC))


@pytest.mark.parametrize(
    ("name", "remedy"),
    [("inseption", "inception"), ("pixel", "pixels"), ("quux", "There are auto")],
)
def test_an_unknown_name_is_answered_with_the_nearest(name: str, remedy: str) -> None:
    with pytest.raises(LoangError, match=remedy):
        named(name, dataset(SPEC))


def test_importing_the_room_is_light() -> None:
    program = (
        "import sys, loang.metrics.features; "
        "print([m for m in ('torch', 'torch_fidelity', 'torchvision') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
