import hashlib
import importlib.util
import lzma
from importlib.resources import files
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from loang.data.places import sample
from loang.data.places.fashion_mnist import DEBIAN, holds_fashion_mnist
from loang.errors import LoangError

ASSETS = Path(str(files("loang"))) / "assets"
SCRIPT = Path(__file__).parents[2] / "scripts" / "build_fashion_sample.py"


def digest(content: np.ndarray | bytes) -> str:
    raw = content if isinstance(content, bytes) else np.ascontiguousarray(content).tobytes()
    return hashlib.sha256(raw).hexdigest()


def test_decodes_to_the_recorded_content() -> None:
    recorded = sample.about_sample()["sha256"]
    images, labels = sample.read_sample()
    assert (
        digest((ASSETS / "fashion-mnist-sample.xz").read_bytes())
        == (recorded["fashion-mnist-sample.xz"])
    )
    assert digest(images[: sample.TRAIN]) == recorded["train images"]
    assert digest(labels[: sample.TRAIN]) == recorded["train labels"]
    assert digest(images[sample.TRAIN :]) == recorded["t10k images"]
    assert digest(labels[sample.TRAIN :]) == recorded["t10k labels"]


def test_is_balanced_and_without_duplicates() -> None:
    images, labels = sample.read_sample()
    assert np.bincount(labels[: sample.TRAIN]).tolist() == [1000] * 10
    assert np.bincount(labels[sample.TRAIN :]).tolist() == [200] * 10
    assert len({image.tobytes() for image in images}) == len(images)


def test_is_small_and_comes_with_its_licence() -> None:
    assert (ASSETS / "fashion-mnist-sample.xz").stat().st_size < 5_000_000
    licence = (ASSETS / "fashion-mnist-LICENSE.txt").read_text("utf-8")
    assert "2017 Zalando SE" in licence
    assert "Permission is hereby granted" in licence


needs_originals = pytest.mark.skipif(
    not holds_fashion_mnist(DEBIAN),
    reason="the originals are not here (Debian's package dataset-fashion-mnist)",
)


@pytest.fixture
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_fashion_sample", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


@needs_originals
def test_the_choice_of_images_is_repeated(script: ModuleType) -> None:
    parts = [script.part(DEBIAN, prefix) for prefix in ("train", "t10k")]
    images, labels = sample.read_sample()
    assert np.array_equal(np.concatenate([part[0] for part in parts]), images)
    assert np.array_equal(np.concatenate([part[1] for part in parts]), labels)


@needs_originals
@pytest.mark.slow  # ten seconds of compressing
def test_is_rebuilt_byte_for_byte(script: ModuleType, tmp_path: Path) -> None:
    for built in script.build(DEBIAN, tmp_path):
        assert built.read_bytes() == (ASSETS / built.name).read_bytes()


@pytest.mark.parametrize("content", [b"", b"\xfd7zXZ\0 and no more", lzma.compress(b"short")])
def test_a_damaged_installation_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "fashion-mnist-sample.xz").write_bytes(content)
    monkeypatch.setattr(sample, "files", lambda package: tmp_path)
    with pytest.raises(LoangError, match="damaged"):
        sample.read_sample()
