"""Files of torch's: read as torch reads them, and hostile ones refused before they take memory."""

import io
import pickle
import struct
import tracemalloc
import zipfile
from collections import OrderedDict

import pytest
import torch

from loang.errors import LoangError
from loang.interop import foreign, pickled

SEVERAL = {
    "whole": torch.arange(24.0).reshape(2, 3, 4),
    "turned": torch.arange(24.0).reshape(4, 6).t(),
    "part": torch.arange(24.0)[5:20:3],
    "half": torch.randn(5).half(),
    "brain": torch.randn(5).bfloat16(),
    "wide": torch.randn(5, dtype=torch.float64),
    "counts": torch.tensor([1, -7, 2**40]),
    "bytes": torch.tensor([0, 255], dtype=torch.uint8),
    "flags": torch.tensor([True, False]),
    "one": torch.tensor(0.5),
    "none": torch.zeros(0, 3),
    "parameter": torch.nn.Parameter(torch.ones(3)),
}


def saved(path, content, **options):
    torch.save(content, path, **options)
    return path


def test_tensors_are_those_that_torch_reads(tmp_path):
    path = saved(tmp_path / "x.pt", SEVERAL)
    found = pickled.look(path)
    read = found.read(found.content)
    for name, expected in torch.load(path, weights_only=True).items():
        assert read[name].dtype == expected.dtype
        assert torch.equal(read[name], expected.detach())


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_protocol_that_torch_writes_is_read(tmp_path, protocol):
    layer = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    content = {"step": 3, "state": layer.state_dict(), "lists": [1.5, None, (True, "x", -(2**40))]}
    found = pickled.look(saved(tmp_path / "x.pt", content, pickle_protocol=protocol))
    assert found.content["lists"] == [1.5, None, (True, "x", -(2**40))]
    assert found.content["step"] == 3
    read = found.read(found.content["state"])
    assert all(torch.equal(read[name], value) for name, value in layer.state_dict().items())


def test_tensors_that_share_memory_are_read_once(tmp_path):
    row = torch.randn(10)
    found = pickled.look(saved(tmp_path / "x.pt", {"row": row, "end": row[5:]}))
    read = found.read(found.content)
    assert read["row"].untyped_storage().data_ptr() == read["end"].untyped_storage().data_ptr()
    assert torch.equal(read["end"], row[5:])


def test_names_of_dicts_within_dicts_are_joined(tmp_path):
    content = {"ema": OrderedDict(w=torch.ones(2)), "step": 3, "opt": {0: {"m": torch.ones(1)}}}
    found = foreign.look(saved(tmp_path / "x.pt", content))
    assert found.shapes == {"ema.w": (2,), "opt.0.m": (1,)}
    assert found.plain["step"] == 3
    assert torch.equal(found.read({"ema.w": "mine"})["mine"], torch.ones(2))


class Attack:
    """What would run, or ask for memory, if the pickle were loaded."""

    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


def rebuilt(storage_length, offset, shape, stride):
    """A tensor as torch pickles it, of any claim."""
    storage = Attack(lambda: None)
    storage.persistent = ("storage", torch.FloatStorage, "0", "cpu", storage_length)
    # torch._utils._rebuild_tensor_v2, as a pickle names it
    tensor = torch._utils._rebuild_tensor_v2
    return Attack(tensor, storage, offset, shape, stride, False, OrderedDict())


def archive(path, content, row=b"\0" * 16, method=zipfile.ZIP_STORED):
    """A file of torch's form, written by hand."""

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return getattr(value, "persistent", None)

    program = content
    if not isinstance(content, bytes):
        buffer = io.BytesIO()
        Pickler(buffer, protocol=2).dump(content)
        program = buffer.getvalue()
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr("x/data.pkl", program)
        file.writestr("x/data/0", row)
    return path


def read_all(path):
    found = foreign.look(path)
    return found.read({name: name for name in found.shapes})


def refusal(path):
    """The words of the refusal; what it took of memory is little."""
    tracemalloc.start()
    try:
        with pytest.raises(LoangError) as caught:
            read_all(path)
        assert tracemalloc.get_traced_memory()[1] < 2**25
    finally:
        tracemalloc.stop()
    return str(caught.value)


def test_the_form_that_is_written_by_hand_is_sound(tmp_path):
    path = archive(tmp_path / "x.pt", {"w": rebuilt(4, 1, (3,), (1,))})
    assert torch.equal(foreign.look(path).read({"w": "w"})["w"], torch.zeros(3))


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (rebuilt(4, 0, (10**6, 10**6), (0, 0)), "larger than its memory"),
        (rebuilt(4, 0, (5,), (1,)), "larger than its memory"),
        (rebuilt(4, 2, (3,), (1,)), "larger than its memory"),
        (rebuilt(4, 0, (2, 2), (3, 1)), "larger than its memory"),
        (rebuilt(4, -1, (2,), (1,)), "no shape"),
        (rebuilt(4, 0, (-2,), (1,)), "no shape"),
        (rebuilt(4, 0, (2,), (-1,)), "no shape"),
        (rebuilt(4, 0, (2,), ()), "no shape"),
        (rebuilt(4, 0, (2.0,), (1,)), "no shape"),
        (rebuilt(4, 0, (True,), (1,)), "no shape"),
        (rebuilt(4, 0, (1,) * 9, (1,) * 9), "9 sides"),
        (rebuilt(10**12, 0, (10**12,), (1,)), "more numbers than it holds"),
        (rebuilt(5, 0, (5,), (1,)), "missing, or fewer or more"),
        (rebuilt(3, 0, (3,), (1,)), "missing, or fewer or more"),
    ],
)
def test_a_tensor_that_claims_what_is_not_there_is_refused(tmp_path, tensor, words):
    assert words in refusal(archive(tmp_path / "x.pt", {"w": tensor}))


def test_many_tensors_of_the_same_numbers_take_no_more_than_the_file(tmp_path):
    row = torch.zeros(10_000)
    path = saved(tmp_path / "x.pt", {str(n): row.view(100, 100) for n in range(20)})
    assert "more numbers than it holds" in refusal(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (Attack(eval, "1"), "eval, which no weights need"),
        (Attack(bytearray, 10**12), "bytearray, which no weights need"),
        (Attack(torch.nn.Linear, 10**5, 10**5), "torch.nn.modules.linear.Linear"),
        (Attack(torch.zeros, 10**12), "which no weights need"),
        (Attack(OrderedDict, [("a", 1)]), "what it should not"),
        ({(): 1}, "neither a text nor a number"),
        ({"a": 2**100}, "more than 64 bits"),
        ([torch.Size([2])], "no names of weights"),
        ({"a": {1, 2}}, "no weights need"),
        (b"\x80\x02}" + b"q\x00h\x07.", "never made"),
        (b"\x80\x02}", "cut"),
        (b"\x80\x02u.", "cut or damaged"),
        (b"\x80\x02X\xff\xff\xff\xff.", "cut"),
        (b"\x80\x09}.", "unknown protocol"),
        (b"\x80\x02Pnumber\n.", "instruction 0x50"),
        (b"\x80\x02(.", "damaged"),
    ],
)
def test_a_program_that_is_more_than_weights_is_refused(tmp_path, content, words):
    assert words in refusal(archive(tmp_path / "x.pt", content))


def test_values_within_values_without_end_take_no_time(tmp_path):
    twice, tuples = {"w": 1}, ()
    for _ in range(60):
        twice, tuples = {"a": twice, "b": twice}, (tuples, tuples)
    path = archive(tmp_path / "x.pt", {"deep": twice, "tuples": tuples})
    assert foreign.look(path).shapes == {}


def test_what_is_in_many_places_counts_as_often(tmp_path, monkeypatch):
    monkeypatch.setattr(foreign, "MOST_ENTRIES", 1000)
    many = dict.fromkeys(map(str, range(20)), 1)
    for _ in range(2):
        many = dict.fromkeys(map(str, range(20)), many)
    assert "too many" in refusal(archive(tmp_path / "x.pt", many))


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_is_compressed_is_not_unpacked(tmp_path, method):
    tensor = rebuilt(2**26, 0, (2**26,), (1,))
    path = archive(tmp_path / "x.pt", {"w": tensor}, b"\0" * 2**20, method)
    assert "compressed" in refusal(path)


def test_a_program_or_a_list_that_is_too_long_is_refused(tmp_path, monkeypatch):
    path = archive(tmp_path / "x.pt", {"a": 1})
    monkeypatch.setattr(pickled, "LARGEST_PROGRAM", 10)
    assert "too long" in refusal(path)
    monkeypatch.setattr(pickled, "LARGEST_LIST", 10)
    assert "list of members is too long" in refusal(path)
    monkeypatch.undo()
    monkeypatch.setattr(pickled, "MOST_MEMBERS", 1)
    assert "2 members" in refusal(path)


def test_numbers_that_a_disk_changed_are_found_by_their_checksum(tmp_path):
    path = saved(tmp_path / "x.pt", {"w": torch.full((100,), 3.0)})
    content = path.read_bytes()
    assert content.count(struct.pack("<f", 3.0) * 100) == 1
    at = content.index(struct.pack("<f", 3.0) * 100)
    path.write_bytes(content[:at] + b"\1" + content[at + 1 :])
    assert "Bad CRC" in refusal(path)


def test_a_pickle_alone_is_refused_with_the_reason(tmp_path):
    for name, content, words in (
        ("edm.pkl", pickle.dumps({"ema": 1}), "non-commercial"),
        ("edm.pkl", b"PK", "non-commercial"),
        ("old.pt", pickle.dumps({"w": 1}), "before its version 1.6"),
        ("x.pt", b"", "none of torch's"),
        ("x.pt", b"hello", "none of torch's"),
        ("x.pt", b"PK\3\4" + b"\0" * 100, "not a zip"),
    ):
        (tmp_path / name).write_bytes(content)
        assert words in refusal(tmp_path / name)
    assert "No such file" in refusal(tmp_path / "none.pt")
    (tmp_path / "folder.pt").mkdir()
    assert "no plain file" in refusal(tmp_path / "folder.pt")


def test_the_order_of_another_processor_is_refused(tmp_path):
    path = archive(tmp_path / "x.pt", {"w": rebuilt(4, 0, (4,), (1,))})
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("x/byteorder", "big")
    assert "another kind of processor" in refusal(path)
