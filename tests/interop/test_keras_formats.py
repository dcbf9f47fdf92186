"""The readers of checksums, tables and HDF5 beside other readers, and what they refuse."""

import io

import numpy as np
import pytest

import keras_files
from loang.interop.keras.bundle import Bundle
from loang.interop.keras.crc32c import CHUNK, SHORT, crc32c
from loang.interop.keras.hdf5 import Hdf5


def test_the_checksum_is_that_of_the_standard():
    """RFC 3720, appendix B.4."""
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E
    assert crc32c(b"") == 0


def bit_by_bit(data):
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


@pytest.mark.parametrize("length", [1, SHORT, SHORT + 1, 3 * SHORT + 77, 70_000])
def test_rows_side_by_side_give_what_a_loop_gives(length):
    data = np.random.default_rng(length).bytes(length)
    assert crc32c(data) == bit_by_bit(data)


def test_pieces_of_long_data_are_joined(monkeypatch):
    monkeypatch.setattr("loang.interop.keras.crc32c.CHUNK", 10_000)
    data = np.random.default_rng(0).bytes(54_321)
    assert crc32c(data) == bit_by_bit(data)
    assert CHUNK > 10_000


ARRAYS = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "a/b": np.array(7, dtype=np.int64),
    "z": np.linspace(0, 1, 5),
}


@pytest.mark.parametrize("shards", [1, 2, 3])
def test_a_checkpoint_gives_back_what_was_written(tmp_path, shards):
    keras_files.write_bundle(tmp_path / "x", ARRAYS, shards)
    found = Bundle(tmp_path / "x")
    assert found.shapes() == {name: value.shape for name, value in ARRAYS.items()}
    for name, value in ARRAYS.items():
        np.testing.assert_array_equal(found.read(name), value)
        assert found.read(name).dtype == value.dtype


def rewritten(tmp_path, change, packed=0):
    pairs = change(keras_files.write_bundle(tmp_path / "x", ARRAYS))
    (tmp_path / "x.index").write_bytes(keras_files.table(pairs, packed))
    return tmp_path / "x"


def claimed(**fields):
    """The entry of a tensor, which says what it likes."""
    numbers = {"kind": 1, "shape": (2,), "shard": 0, "offset": 0, "size": 8, **fields}
    f = keras_files.field
    shape = b"".join(f(2, f(1, side)) for side in numbers["shape"])
    message = f(1, numbers["kind"]) + f(2, shape) + f(3, numbers["shard"])
    return message + f(4, numbers["offset"]) + f(5, numbers["size"])


REFUSED = {
    "beyond the end": (claimed(offset=10**9), "beyond the end"),
    "far beyond": (claimed(offset=2**63), "beyond the end"),
    "another size": (claimed(size=9), "larger or smaller"),
    "a huge shape": (claimed(shape=(2**30, 2**30), size=2**62), "larger or smaller"),
    "sides without end": (claimed(shape=(1,) * 20, size=4), "no shape that is known"),
    "another file": (claimed(shard=1), "file that is not there"),
    "slices": (claimed() + keras_files.field(7, b""), "slices"),
    "no message": (b"\xff" * 20, "damaged"),
    "cut": (claimed()[:-1], "damaged"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_entry_that_can_t_be_is_refused(tmp_path, case):
    message, words = REFUSED[case]
    with pytest.raises(ValueError, match=words):
        Bundle(rewritten(tmp_path, lambda pairs: [*pairs, (b"zz", message)]))


def test_tensors_that_share_their_bytes_are_refused(tmp_path):
    same = [(f"zz{n}".encode(), claimed(shape=(10,), size=40)) for n in range(5)]
    with pytest.raises(ValueError, match="overlap"):
        Bundle(rewritten(tmp_path, lambda pairs: [*pairs, *same]))


@pytest.mark.parametrize(
    ("change", "packed", "words"),
    [
        (lambda pairs: pairs, 1, "snappy"),
        (lambda pairs: pairs, 9, "unknown way"),
        (lambda pairs: [], 0, "empty"),
        (lambda pairs: pairs[1:], 0, "header"),
        (lambda pairs: [pairs[0], *reversed(pairs[1:])], 0, "out of order"),
        (lambda pairs: [*pairs, pairs[-1]], 0, "out of order"),
        (lambda pairs: [(b"", keras_files.field(1, 2**20)), *pairs[1:]], 0, "data files"),
        (lambda pairs: [(b"", keras_files.field(2, 1)), *pairs[1:]], 0, "big-endian"),
    ],
)
def test_an_index_that_can_t_be_is_refused(tmp_path, change, packed, words):
    with pytest.raises(ValueError, match=words):
        Bundle(rewritten(tmp_path, change, packed))


def written(fill, **options):
    h5py = pytest.importorskip("h5py")
    made = io.BytesIO()
    with h5py.File(made, "w", **options) as file:
        fill(file)
    return made.getvalue()


def test_hdf5_is_read_as_h5py_reads_it():
    h5py = pytest.importorskip("h5py")

    def fill(file):
        random = np.random.default_rng(0)
        for number in range(150):  # more than one node of a group's tree holds
            file[f"group/{number}/vars/0"] = random.standard_normal((3, 2)).astype("<f4")
        for kind in ("<f8", ">f4", "<f2", "<i4", ">i8", "u1", "<i8"):
            file[f"kinds/{kind[-2:]}{'<>'.find(kind[0])}"] = np.arange(4).astype(kind)
        file["number"] = np.float32(0.25)
        file.attrs["names"] = np.array(["a", "bc", "", "é" * 20], dtype=h5py.string_dtype())
        file["group"].attrs["fixed"] = np.array([b"one", b"three"])
        file["group"].attrs["one"] = "text"
        for number in range(40):  # a header goes on elsewhere
            file["kinds"].attrs[f"a{number}"] = "x" * number

    content = written(fill)
    found, names = Hdf5.of(content), []
    with h5py.File(io.BytesIO(content)) as file:
        file.visititems(lambda name, each: names.append(name) if hasattr(each, "shape") else None)
        assert sorted(found.arrays) == sorted(names)
        for name in names:
            np.testing.assert_array_equal(found.read(name), file[name][()])
            assert found.read(name).dtype == file[name].dtype
    assert found.texts["", "names"] == ["a", "bc", "", "é" * 20]
    assert found.texts["group", "fixed"] == ["one", "three"]
    assert found.texts["group", "one"] == ["text"]
    assert found.texts["kinds", "a39"] == ["x" * 39]


OTHER_FORMS = {
    "chunks": (lambda f: f.create_dataset("x", data=np.ones(9), chunks=(3,)), {}, "in one piece"),
    "gzip": (lambda f: f.create_dataset("x", data=np.ones(9), compression="gzip"), {}, "packed"),
    "latest": (lambda f: f.create_dataset("x", data=np.ones(9)), {"libver": "latest"}, "newer"),
    "compact": (lambda f: compact(f), {}, "in one piece"),
    "a circle": (lambda f: f.__setitem__("a/b", f["/"]), {}, "circle"),
}


def compact(file):
    import h5py

    place = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    place.set_layout(h5py.h5d.COMPACT)
    space = h5py.h5s.create_simple((3,))
    h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F32LE, space, place)


@pytest.mark.parametrize("case", OTHER_FORMS)
def test_other_forms_of_hdf5_are_refused_in_words(case):
    fill, options, words = OTHER_FORMS[case]
    content = written(fill, **options)
    with pytest.raises(ValueError, match=words):
        Hdf5.of(content)


@pytest.mark.parametrize("link", ["soft", "external"])
def test_links_to_other_places_are_refused(link):
    h5py = pytest.importorskip("h5py")
    to = h5py.SoftLink("/etc") if link == "soft" else h5py.ExternalLink("/etc/passwd", "/x")
    content = written(lambda file: file.__setitem__("x", to))
    with pytest.raises(ValueError, match=r"links to other places|newer form"):
        Hdf5.of(content)


def test_hdf5_that_is_cut_anywhere_is_refused():
    content = written(lambda file: file.__setitem__("a/vars/0", np.ones(100, np.float32)))
    for end in range(0, len(content) - 1, 97):
        with pytest.raises(ValueError, match=r"HDF5|cut"):
            Hdf5.of(content[:end])
