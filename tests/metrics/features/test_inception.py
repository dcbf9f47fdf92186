import hashlib
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from loang.data.images import Images
from loang.data.spec import ImageSpec
from loang.errors import LoangError
from loang.metrics.features import inception
from loang.metrics.features.inception import FILE, InceptionFeatures, eight_bit


class Network(torch.nn.Module):
    """Stands in for torch-fidelity's: reads weights as that does, answers 2,048 equal numbers."""

    def __init__(self, name: str, features: list[str], feature_extractor_weights_path: object):
        super().__init__()
        assert (name, features) == ("inception-v3-compat", ["2048"])
        self.scale = torch.nn.Parameter(torch.zeros(1), requires_grad=False)
        weights = torch.load(feature_extractor_weights_path, weights_only=False)
        self.load_state_dict(weights)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
        assert x.dtype == torch.uint8
        assert x.shape[1] == 3
        assert not torch.backends.cudnn.allow_tf32  # as a GPU would compute it otherwise
        means = x.float().mean((1, 2, 3)) * self.scale.to(x.device)
        return (means[:, None].expand(-1, 2048),)


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("torch_fidelity")
    module.FeatureExtractorInceptionV3 = Network  # type: ignore[attr-defined]
    module.__version__ = "0"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch_fidelity", module)


@pytest.fixture
def publish(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Make a file pass for the one that was published."""

    def passes(path: Path) -> None:
        monkeypatch.setattr(inception, "SHA256", hashlib.sha256(path.read_bytes()).hexdigest())

    return passes


@pytest.fixture
def weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, publish: Callable[[Path], None]
) -> Path:
    path = tmp_path / "weights.pth"
    torch.save({"scale": torch.tensor([2.0])}, path)
    monkeypatch.setenv("LOANG_INCEPTION", str(path))
    publish(path)
    return path


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(LoangError, match=r'pip install "loang\[fid\]"'):
        InceptionFeatures()


def test_a_package_that_cannot_be_loaded_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """torchvision of another torch raises RuntimeError."""

    def fail(name: str) -> ModuleType:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(inception, "import_module", fail)
    with pytest.raises(LoangError, match="nms does not exist"):
        InceptionFeatures()


@pytest.mark.usefixtures("package")
def test_offline_it_says_where_the_file_belongs(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LoangError, match=r"switched off.*LOANG_INCEPTION") as offline:
        InceptionFeatures()
    assert FILE in str(offline.value)

    def fail(*arguments: object, **options: object) -> None:
        raise LoangError("No mirror answered.", "Look at the network.")

    monkeypatch.delenv("LOANG_OFFLINE")
    monkeypatch.setattr(inception, "fetch", fail)
    with pytest.raises(LoangError, match=r"No mirror answered.*LOANG_INCEPTION"):
        InceptionFeatures()


@pytest.mark.usefixtures("package")
def test_it_is_fetched_into_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, publish: Callable[[Path], None]
) -> None:
    def serve(urls: list[str], path: Path, *, sha256: str, size: int) -> None:
        assert urls[0].endswith(FILE)
        assert sha256.startswith(FILE.removesuffix(".pth").rpartition("-")[2])
        path.parent.mkdir(parents=True)
        torch.save({"scale": torch.tensor([3.0])}, path)
        publish(path)

    monkeypatch.delenv("LOANG_OFFLINE")
    monkeypatch.setattr(inception, "fetch", serve)
    assert InceptionFeatures().dimension == 2048
    monkeypatch.setenv("LOANG_OFFLINE", "1")
    assert InceptionFeatures().about["weights"] == FILE  # found where it was put


@pytest.mark.usefixtures("package", "weights")
def test_the_named_file_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOANG_INCEPTION", str(tmp_path / "none.pth"))
    with pytest.raises(LoangError, match="there is no file"):
        InceptionFeatures()


@pytest.mark.usefixtures("package")
def test_features_of_any_images_and_their_digest(weights: Path) -> None:
    features = InceptionFeatures()
    assert features.digest == hashlib.sha256(weights.read_bytes()).hexdigest()
    spec = ImageSpec(4, 5, 1, "uint16", 0.0, 510.0)
    pixels = np.full((40, 4, 5, 1), 100, np.uint16)
    calls: list[tuple[int, int]] = []
    found = features(pixels, spec, lambda done, total: calls.append((done, total)))
    assert found.shape == (40, 2048)
    np.testing.assert_allclose(found, 100.0, rtol=1e-6)  # grey 50 of 255, times the weights' 2
    assert calls == [(32, 40), (40, 40)]
    assert features.classify(pixels, spec) is None


def test_eight_bits_of_any_depth() -> None:
    rgb = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    np.testing.assert_array_equal(eight_bit(Images(rgb, ImageSpec(16, 16, 3))), rgb)
    real = Images(
        np.float32([-2, -1, 0, 9]).reshape(4, 1, 1, 1), ImageSpec(1, 1, 1, "float32", -1.0, 1.0)
    )
    np.testing.assert_array_equal(eight_bit(real)[:, 0, 0], [[v] * 3 for v in (0, 0, 128, 255)])
    with pytest.raises(LoangError, match="2 channels"):
        eight_bit(Images(np.zeros((1, 2, 2, 2), np.uint8), ImageSpec(2, 2, 2)))


class Sly:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


@pytest.mark.usefixtures("package")
def test_a_pickle_that_was_not_published_is_not_even_looked_into(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights.write_bytes(weights.read_bytes() + b"\0")
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was"))
    with pytest.raises(LoangError, match="not the file that was published"):
        InceptionFeatures()


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_file_that_would_run_something_is_refused(
    protocol: int, weights: Path, tmp_path: Path, publish: Callable[[Path], None]
) -> None:
    """Even if it were the published one."""
    touched = tmp_path / "touched"
    torch.save({"scale": Sly(touched)}, weights, pickle_protocol=protocol)
    publish(weights)
    with pytest.raises(LoangError, match="no weights"):
        InceptionFeatures()
    weights.write_bytes(pickle.dumps(Sly(touched), protocol=protocol))
    publish(weights)
    with pytest.raises(LoangError, match="no weights"):
        InceptionFeatures()
    assert not touched.exists()


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize("content", [{"scale": torch.zeros(2)}, {"other": torch.zeros(1)}, [1, 2]])
def test_other_weights_are_refused(
    content: object, weights: Path, publish: Callable[[Path], None]
) -> None:
    torch.save(content, weights)
    publish(weights)
    with pytest.raises(LoangError, match="no weights"):
        InceptionFeatures()


def test_the_real_network_with_random_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, publish: Callable[[Path], None]
) -> None:
    fidelity = pytest.importorskip("torch_fidelity", exc_type=Exception)
    kind = fidelity.FeatureExtractorInceptionV3
    with torch.random.fork_rng(devices=[]), monkeypatch.context() as patch:
        torch.manual_seed(0)
        patch.setattr(kind, "load_state_dict", lambda self, weights: None)
        path = tmp_path / "random.pth"
        torch.save({}, path)
        network = kind("inception-v3-compat", ["2048"], feature_extractor_weights_path=str(path))
    torch.save(network.state_dict(), path)
    monkeypatch.setenv("LOANG_INCEPTION", str(path))
    publish(path)
    draw = np.random.Generator(np.random.Philox(0))
    pixels = draw.integers(0, 256, (2, 28, 28, 1)).astype(np.uint8)
    found = InceptionFeatures()(pixels, ImageSpec(28, 28, 1))
    assert found.shape == (2, 2048)
    x = torch.from_numpy(pixels.repeat(3, axis=3)).permute(0, 3, 1, 2)
    np.testing.assert_allclose(found, network(x)[0].numpy(), rtol=1e-3, atol=1e-5)
    assert float(np.abs(found[0] - found[1]).max()) > 0
