import functools
import gzip
import hashlib
import http.server
import shutil
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from loang.data.environment import cache_folder
from loang.data.places import fashion_mnist
from loang.data.places.fashion_mnist import CLASS_NAMES, DEBIAN, FILES, holds_fashion_mnist, load
from loang.errors import LoangError

SHAPES = ((30, 28, 28), (30,), (10, 28, 28), (10,))


@pytest.fixture
def originals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four small files that pass for the originals, gzipped, in a folder of their own."""
    folder, about = tmp_path / "originals", {}
    folder.mkdir()
    generator = np.random.default_rng(0)
    for name, shape in zip(FILES, SHAPES, strict=True):
        values = generator.integers(0, 10, shape, dtype=np.uint8)
        header = bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)
        packed = gzip.compress(header + values.tobytes(), mtime=0)
        (folder / f"{name}.gz").write_bytes(packed)
        about[name] = {
            "gz_bytes": len(packed),
            "gz_sha256": hashlib.sha256(packed).hexdigest(),
            "content_sha256": hashlib.sha256(header + values.tobytes()).hexdigest(),
        }
    monkeypatch.setattr(fashion_mnist, "SHAPES", SHAPES)
    monkeypatch.setattr(fashion_mnist, "about_sample", lambda: {"originals": about})
    return folder


@pytest.fixture(autouse=True)
def _no_debian(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(fashion_mnist, "DEBIAN", tmp_path / "no-debian")
    monkeypatch.setattr(fashion_mnist, "MIRRORS", ())


@pytest.fixture
def mirror(originals: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(originals))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}/"
        monkeypatch.setattr(fashion_mnist, "MIRRORS", (address,))
        monkeypatch.delenv("LOANG_OFFLINE")
        yield address
        server.shutdown()
        thread.join()


def test_an_explicit_folder(originals: Path) -> None:
    dataset = load(originals)
    assert (len(dataset.train), len(dataset.validation)) == (30, 10)
    assert dataset.name == "fashion-mnist"
    assert dataset.spec.class_names == CLASS_NAMES
    assert dataset.spec.shape == (1, 28, 28)
    assert dataset.notices == ()
    assert dataset.train.labels is not None
    assert len(dataset.fingerprint) == 64


def test_a_subfolder_and_unpacked_files(originals: Path, tmp_path: Path) -> None:
    inner = tmp_path / "data" / "fashion-mnist"
    inner.mkdir(parents=True)
    for path in originals.iterdir():
        (inner / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    assert load(tmp_path / "data").fingerprint == load(originals).fingerprint


def test_an_explicit_folder_without_files_is_an_error(tmp_path: Path, originals: Path) -> None:
    with pytest.raises(LoangError, match="lacks 4"):
        load(tmp_path / "nowhere")
    (originals / f"{FILES[1]}.gz").unlink()
    with pytest.raises(LoangError, match=FILES[1]):
        load(originals)


@pytest.mark.parametrize("how", ["folder", "environment"])
def test_damaged_files_are_never_passed_over(
    originals: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    damaged = originals / f"{FILES[2]}.gz"
    damaged.write_bytes(damaged.read_bytes()[:-20])
    monkeypatch.setenv("LOANG_DATA", str(originals))
    with pytest.raises(LoangError, match=FILES[2]):
        load(originals if how == "folder" else None)


def test_other_data_of_the_same_names_are_refused(originals: Path) -> None:
    path = originals / f"{FILES[1]}.gz"
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[-1] ^= 1
    path.write_bytes(gzip.compress(bytes(content)))
    with pytest.raises(LoangError, match="not Fashion-MNIST"):
        load(originals)


def test_the_environment_names_a_folder(originals: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOANG_DATA", str(originals))
    assert len(load().train) == 30
    (originals / f"{FILES[3]}.gz").unlink()
    with pytest.raises(LoangError, match=FILES[3]):
        load()


def test_the_environment_may_name_other_data(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("LOANG_DATA", str(tmp_path))
    assert len(load().train) == 10_000


@pytest.mark.parametrize("place", ["cache", "debian"])
def test_the_cache_and_debian(originals: Path, tmp_path: Path, monkeypatch, place: str) -> None:
    folder = cache_folder() / "fashion-mnist" if place == "cache" else tmp_path / "no-debian"
    shutil.copytree(originals, folder)
    dataset = load()
    assert len(dataset.train) == 30
    assert dataset.notices == ()


def test_downloads_into_the_cache_once(originals: Path, mirror: str, monkeypatch) -> None:
    reports = list[tuple[str, int, int | None]]()
    dataset = load(on_progress=lambda *report: reports.append(report))
    assert len(dataset.train) == 30
    assert dataset.notices == ()
    assert {name for name, _, _ in reports} == {f"{name}.gz" for name in FILES}
    monkeypatch.setattr(fashion_mnist, "MIRRORS", ())
    assert load().fingerprint == dataset.fingerprint


def test_a_damaged_cache_is_fetched_again(originals: Path, mirror: str, tmp_path: Path) -> None:
    cache = cache_folder() / "fashion-mnist"
    shutil.copytree(originals, cache)
    (cache / f"{FILES[0]}.gz").write_bytes(b"damaged")
    dataset = load()
    assert len(dataset.train) == 30
    assert FILES[0] in dataset.notices[0]


def test_without_a_network_the_sample_is_taken() -> None:
    dataset = load()
    assert (len(dataset.train), len(dataset.validation)) == (10_000, 2_000)
    assert len(dataset.notices) == 1
    assert "sample of 10,000" in dataset.notices[0]
    assert "70,000" in dataset.notices[0]


def test_a_silent_network_costs_one_time_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOANG_OFFLINE")
    monkeypatch.setattr(fashion_mnist, "CONNECT_TIMEOUT", 0.4)
    with socket.create_server(("127.0.0.1", 0), backlog=8) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        monkeypatch.setattr(fashion_mnist, "MIRRORS", (address, address + "b/"))
        began = time.monotonic()
        dataset = load()
        assert time.monotonic() - began < 2.4
    assert len(dataset.train) == 10_000
    assert "did not answer" in dataset.notices[0]


@pytest.mark.parametrize("switch", ["argument", "LOANG_OFFLINE", "HF_HUB_OFFLINE"])
def test_downloading_can_be_switched_off(mirror: str, monkeypatch, switch: str) -> None:
    if switch != "argument":
        monkeypatch.setenv(switch, "1")
    dataset = load(download=switch != "argument")
    assert len(dataset.train) == 10_000
    assert "switched off" in dataset.notices[0]


def test_a_cache_that_cannot_be_written_is_no_disaster(mirror: str, tmp_path: Path) -> None:
    (cache_folder()).write_text("a file where a folder should be")
    dataset = load()
    assert len(dataset.train) == 10_000
    assert "cannot be written" in dataset.notices[0]


@pytest.mark.skipif(not holds_fashion_mnist(DEBIAN), reason="Debian's package is not installed")
def test_the_real_files() -> None:
    dataset = load(DEBIAN)
    assert (len(dataset.train), len(dataset.validation)) == (60_000, 10_000)
    assert dataset.train.labels is not None
    assert np.bincount(dataset.train.labels).tolist() == [6000] * 10
