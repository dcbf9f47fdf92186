"""Safetensors from anybody: all that a header claims is checked before memory is asked for."""

import json
import tracemalloc
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from loang import tensors

SOME = {"w": torch.arange(6.0).reshape(2, 3), "step": torch.tensor(3.0), "none": torch.zeros(0, 4)}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "some.safetensors"


def test_what_the_format_itself_writes_is_read(path):
    save_file(SOME, path, metadata={"about": "x"})
    stored = tensors.look(path)
    assert dict(stored.shapes) == {"w": (2, 3), "step": (), "none": (0, 4)}
    assert dict(stored.types) == dict.fromkeys(SOME, "F32")
    assert dict(stored.metadata) == {"about": "x"}
    read = tensors.read(path)
    assert read.keys() == SOME.keys()
    assert all(torch.equal(read[name], SOME[name]) for name in SOME)


def test_tensors_outlive_the_file(path):
    """In a mapped file they would end the process as soon as it is cut."""
    tensors.save(path, {"w": torch.ones(2**16)})
    read = tensors.read(path)
    path.write_bytes(b"")
    assert read["w"].sum() == 2**16


def write(path, header, size, length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    length = len(text) if length is None else length
    path.write_bytes(length.to_bytes(8, "little") + text + bytes(size))


def entry(shape, begin, end, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


REFUSED = {
    "empty": ({}, 4, "longer or shorter"),
    "unknown type": ({"w": entry([1], 0, 4, "F999")}, 4, "type F999"),
    "type no text": ({"w": entry([1], 0, 4, ["F32"])}, 4, "of the type"),
    "too large": ({"w": entry([10**6, 10**6], 0, 4)}, 4, "announced larger or smaller"),
    "overflowing": ({"w": entry([2**32, 2**32], 0, 0)}, 0, "announced larger or smaller"),
    "negative": ({"w": entry([-1, -1], 0, 4)}, 4, "no shape"),
    "true": ({"w": entry([True], 0, 4)}, 4, "no shape"),
    "real": ({"w": entry([1.0], 0, 4)}, 4, "no shape"),
    "many sides": ({"w": entry([1] * 9, 0, 4)}, 4, "no shape"),
    "backwards": ({"w": entry([1], 4, 0)}, 4, "announced larger or smaller"),
    "beyond the end": ({"w": entry([2], 0, 8)}, 4, "longer or shorter"),
    "overlapping": ({"w": entry([1], 0, 4), "v": entry([1], 0, 4)}, 4, "overlap"),
    "gap": ({"w": entry([1], 0, 4), "v": entry([1], 8, 12)}, 12, "gaps"),
    "trailing": ({"w": entry([1], 0, 4)}, 5, "longer or shorter"),
    "three offsets": ({"w": {**entry([1], 0, 4), "data_offsets": [0, 4, 4]}}, 4, "no place"),
    "another key": ({"w": {**entry([1], 0, 4), "x": 1}}, 4, "not described"),
    "no entry": ({"w": 3}, 4, "not described"),
    "long name": ({"w" * 600: entry([1], 0, 4)}, 4, "too long"),
    "metadata": ({"__metadata__": {"a": 1}, "w": entry([1], 0, 4)}, 4, "no texts"),
    "many": ({str(n): entry([0], 0, 0) for n in range(2**14 + 1)}, 0, "16,385 tensors"),
    "no JSON": (b"\xff\xff", 4, "utf-8"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_header_that_claims_what_is_not_there_is_refused(path, name):
    header, size, reason = REFUSED[name]
    write(path, header, size)
    with pytest.raises(ValueError, match=reason) as caught:
        tensors.look(path)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("length", [2**63, 2**64 - 1, 10**9, 200])
def test_a_header_longer_than_the_file_is_refused_before_memory_is_asked_for(path, length):
    write(path, {}, 4, length)
    tracemalloc.start()
    with pytest.raises(ValueError, match="was cut"):
        tensors.look(path)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_a_long_header_of_a_sparse_file_is_refused_before_it_is_read(path):
    write(path, {}, 0, 2**33)
    with path.open("r+b") as file:
        file.truncate(2**34)
    with pytest.raises(ValueError, match=r"8,589,934,592 bytes, more than 16,777,216"):
        tensors.look(path)


def test_a_file_that_memory_cannot_hold_is_refused_before_it_is_read(path, monkeypatch):
    tensors.save(path, {"w": torch.ones(2**16)})
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=2**18))
    with pytest.raises(ValueError, match="do not fit in memory"):
        tensors.read(path)
