"""What the fuzz harness spoils of TensorFlow's and Keras's files; readers.py reads it."""

import io
import json
import shutil
import struct
import zipfile

import mutations
import numpy as np

import keras_files
from loang.errors import LoangError
from loang.interop.keras import read
from loang.interop.keras.bundle import Bundle
from loang.interop.keras.hdf5 import Hdf5

MARKS = (b"TREE", b"SNOD", b"HEAP", b"GCOL", b"\x01\0", b"\x11\0\x10\0", b"\x08\0\x18\0")
"""How parts of HDF5 begin; the last three are an object's header, a group's place, an array's."""


class Checkpoint:
    """A TensorFlow checkpoint; mostly with checksums that are right, as a stranger's would be."""

    def prepare(self):
        sound = keras_files.unpack(self.folder / "sound") / "keras2/with-optimizer"
        old = Bundle(sound / "ckpt-7")
        arrays = {name: old.read(name) for name in old.shapes()}
        self.place = self.folder / "checkpoints"
        self.place.mkdir()
        self.pairs = keras_files.write_bundle(self.place / "ckpt-1", arrays, shards=2)
        shutil.copy(sound / "checkpoint", self.place)
        self.sound = {path: path.read_bytes() for path in self.place.iterdir()}

    def spoil(self, random):
        for path, content in self.sound.items():
            path.write_bytes(content)
        index = self.place / "ckpt-1.index"
        if random.random() < 0.3:
            path = random.choice(sorted(self.sound))
            path.write_bytes(mutations.damage(random, self.sound[path]))
            return
        pairs = list(self.pairs)
        for _ in range(random.choice((1, 1, 2, 5))):
            at = random.randrange(len(pairs)) if random.random() < 0.8 else 0
            name, message = pairs[at]
            match random.randrange(6):
                case 0:
                    del pairs[at]
                case 1:
                    pairs.insert(at, random.choice(pairs))
                case 2:
                    pairs[at] = mutations.damage(random, name), message
                case 3:
                    number = random.choice(mutations.NUMBERS) % 2**64
                    more = keras_files.field(random.randrange(1, 8), number)
                    pairs[at] = name, message + more
                case _:
                    pairs[at] = name, mutations.damage(random, message, random.choice(pairs)[1])
            if not pairs:
                break
        if random.random() < 0.8:
            pairs = sorted(dict(pairs).items())
        packed = random.choice((0, 0, 0, 0, 0, 0, 0, 1))
        content = keras_files.table(pairs, packed)
        if random.random() < 0.1:
            content = mutations.damage(random, content)
        index.write_bytes(content)

    def read(self):
        use(read(self.place))


class Groups:
    """HDF5, as Keras 2 and 3 write it: bytes, and the numbers that say where things lie."""

    suffix = "h5"

    def prepare(self):
        place = keras_files.unpack(self.folder / "sound")
        self.path = self.folder / f"net.{self.suffix}"
        names = ("keras2/net.h5", "keras2/net.weights.h5", "keras3/net.weights.h5")
        self.sound = [(place / name).read_bytes() for name in names]

    def spoilt(self, random, content):
        """Most of such a file is numbers of weights; what matters lies between."""
        data = bytearray(content)
        for _ in range(random.choice((1, 1, 2, 4, 16))):
            marks = (
                b"TREE",
                b"SNOD",
                b"HEAP",
                b"GCOL",
                b"\x01\0",
                b"\x11\0\x10\0",
                b"\x08\0\x18\0",
            )
            start = data.find(random.choice(marks), random.randrange(len(data)))
            if start < 0:
                continue
            at = start + random.randrange(48)
            match random.randrange(4):
                case 0:
                    data[at : at + 1] = bytes([random.choice((0, 1, 2, 3, 9, 0x7F, 0x80, 0xFF))])
                case 1:
                    data[at : at + 8] = struct.pack("<Q", random.choice(mutations.NUMBERS))
                case 2:  # to another place that is there: circles
                    place = struct.pack("<Q", random.randrange(len(data)) // 8 * 8)
                    data[at // 8 * 8 : at // 8 * 8 + 8] = place
                case _:
                    data[at : at + 2] = struct.pack("<H", random.choice(mutations.NUMBERS) % 2**16)
        if random.random() < 0.2:
            return mutations.damage(random, bytes(data), content)
        return bytes(data)

    def spoil(self, random):
        self.path.write_bytes(self.spoilt(random, random.choice(self.sound)))

    def read(self):
        try:
            found = Hdf5.of(self.path.read_bytes())
        except ValueError as error:
            raise LoangError(str(error), "") from error
        assert sum(found.read(name).nbytes for name in found.arrays) < 2**28
        use(read(self.path))


class Archive(Groups):
    """`.keras`: the zip, its config, and the HDF5 in it."""

    suffix = "keras"

    def prepare(self):
        super().prepare()
        self.whole = (self.folder / "sound/keras3/net.keras").read_bytes()
        with zipfile.ZipFile(io.BytesIO(self.whole)) as archive:
            self.members = {name: archive.read(name) for name in archive.namelist()}

    def spoil(self, random):
        if random.random() < 0.4:
            self.path.write_bytes(mutations.damage(random, self.whole))
            return
        members = dict(self.members)
        if random.random() < 0.5:
            config = json.loads(members["config.json"])
            members["config.json"] = mutations.as_bytes(mutations.twist(random, config))
        else:
            members["model.weights.h5"] = self.spoilt(random, members["model.weights.h5"])
        if random.random() < 0.1:
            members["model.weights.h5"] = bytes(10**7)
        method = random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", method, compresslevel=1) as archive:
            for name, member in members.items():
                archive.writestr(name, member)
        self.path.write_bytes(content.getvalue())

    def read(self):
        use(read(self.path))


def use(found):
    """As `loang sample` and `loang train --resume` would."""
    assert all(len(notice) < 2000 for notice in found.notices)
    weights = found.model.denoiser.network.state_dict()
    assert all(bool(weight.isfinite().all()) for weight in weights.values())
    if found.moments is not None:
        assert np.isfinite(found.moments.weight_decay)
        assert found.moments.first.keys() == found.moments.second.keys()
