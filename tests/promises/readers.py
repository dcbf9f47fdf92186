"""Every reader of files that loang has: sound files for it, ways to spoil them, and reading them.

`outcome` is "read" or "refused"; anything else that happens is a fault of loang's.
"""

import contextlib
import gzip
import io
import json
import os
import shutil
import tarfile
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import ClassVar

import keras_readers
import mutations
import numpy as np
import png
import tifffile
import torch
import torch_readers
from PIL import Image

import loang
from in_steps import IN_STEPS
from loang import build, presets
from loang.config import SamplingSettings, changed
from loang.data import ImageSpec, open_dataset
from loang.data.encoded.picture import Unreadable, count_pages, read_header, read_picture
from loang.data.places.arrow import open_arrow
from loang.data.places.idx import read_idx
from loang.data.places.parquet import open_parquet
from loang.data.places.tar import open_tar
from loang.data.wishes import Wishes
from loang.errors import LoangError
from loang.files import sha256
from loang.interop import diffusers
from loang.metrics.features import network
from loang.metrics.features.encoder import EncoderSettings, fresh, fuse
from loang.model import Model
from loang.training import checkpoint
from loang.training.budget import parse
from loang.training.folder import RunFolder
from loang.training.log import Log

TINY = (
    *("network.width=8", "network.multipliers=1,1", "network.attention=[1]", "network.heads=1"),
    *("network.blocks=1", "schedule.steps=20", "sampling.steps=2", "training.batch=16"),
    *("training.reports=1", "optimizer.warm_up=2", "training.device=cpu"),
    *IN_STEPS,
)
LONGEST_MESSAGE = 2000


class Reader:
    """One kind of file.

    Args:
        name: of the reader.
        folder: an empty one, for sound files and for spoilt ones.
    """

    refusals: tuple[type[Exception], ...] = (LoangError,)

    def __init__(self, name, folder):
        self.name, self.folder = name, folder
        folder.mkdir(parents=True)
        self.prepare()

    def prepare(self):
        """Make what is sound."""

    def spoil(self, random):
        """Write what is not."""

    def read(self):
        """Read it, and use what was read as loang would."""

    def outcome(self, random):
        self.spoil(random)
        try:
            self.read()
        except self.refusals as error:
            if len(str(error)) > LONGEST_MESSAGE:
                raise AssertionError(f"a message of {len(str(error))} characters") from error
            return "refused"
        return "read"


class ModelReader(Reader):
    """A model file, and a sample of the model."""

    def prepare(self):
        spec = ImageSpec(8, 8, 1, class_names=("boot", "bag"))
        settings = changed(presets.quick(), TINY)
        facts = {"data": "x", "steps": 3, "loss": 0.5, "training_images": 9, "fingerprint": "0"}
        model = Model(build.build_denoiser(settings, spec), spec, settings, facts)
        self.path = self.folder / "model.safetensors"
        model.save(self.path)
        self.sound = self.path.read_bytes()

    def spoil(self, random):
        if random.random() < 0.3:
            content = mutations.damage(random, self.sound)
        else:
            content = mutations.twist_tensors(random, self.sound, "loang")
        self.path.write_bytes(content)

    def read(self):
        model = Model.load(self.path, on="cpu")
        if np.prod(model.spec.shape) <= 2**12 and model.settings.sampling.steps <= 50:
            images = model.sample(1, sampling=SamplingSettings(steps=2))
            assert images.shape[1:] == (model.spec.height, model.spec.width, model.spec.channels)


class PipelineReader(Reader):
    """A folder of diffusers', with and without loang's notes on it; one of its files is spoilt."""

    PLAIN = ("model_index.json", "unet/config.json", "scheduler/scheduler_config.json")
    NOTES = ("loang.json", "loang.safetensors")

    def prepare(self):
        spec = ImageSpec(8, 8, 1, class_names=("boot", "bag"))
        steps = ["schedule.steps=20", "sampling.steps=2", "network.norm_groups=2"]
        settings = changed(presets.quick(), [*TINY, *steps, "network.fold=1"])
        model = Model(build.build_denoiser(settings, spec), spec, settings, {"data": "x"})
        self.pipeline = self.folder / "pipeline"
        diffusers.write(model, self.pipeline)
        files = [path for path in self.pipeline.rglob("*") if path.is_file()]
        self.sound = {path: path.read_bytes() for path in files}

    def spoil(self, random):
        for path, content in self.sound.items():
            path.write_bytes(content)
        kept = random.random() < 0.4
        if not kept:
            for name in self.NOTES:
                (self.pipeline / name).unlink()
        names = [*self.PLAIN, "unet/diffusion_pytorch_model.safetensors", *(self.NOTES * kept)]
        for name in random.sample(names, random.choice((1, 1, 2))):
            path = self.pipeline / name
            content = self.sound[path]
            if random.random() < 0.2:
                content = mutations.damage(random, content)
            elif path.suffix == ".json":
                content = mutations.as_bytes(mutations.twist(random, json.loads(content)))
            else:
                content = mutations.twist_tensors(random, content)
            path.write_bytes(content)

    def read(self):
        model, notices = diffusers.read(self.pipeline, "x")
        assert all(len(notice) < LONGEST_MESSAGE for notice in notices)
        if np.prod(model.spec.shape) <= 2**12 and model.settings.sampling.steps <= 50:
            model.sample(1, sampling=SamplingSettings(steps=2))


class KerasCheckpoint(keras_readers.Checkpoint, Reader):
    """The article's model as TensorFlow saves it."""


class KerasGroups(keras_readers.Groups, Reader):
    """The article's weights in HDF5."""


class KerasArchive(keras_readers.Archive, Reader):
    """The article's model as Keras 3 saves it."""


class EncoderReader(Reader):
    """A feature network; its reader's own error is ValueError."""

    refusals = (ValueError,)

    def prepare(self):
        self.path = self.folder / "features.safetensors"
        encoder = fuse(fresh(EncoderSettings(1, 2, 8, (8, 8, 8)), seed=0))
        network.save(self.path, encoder, {"data": "x", "accuracy": 0.5}, torch.float16)
        self.sound = self.path.read_bytes()

    def spoil(self, random):
        if random.random() < 0.3:
            content = mutations.damage(random, self.sound)
        else:
            content = mutations.twist_tensors(random, self.sound, "loang")
        self.path.write_bytes(content)

    def read(self):
        network.load(self.path)


class RunReader(Reader):
    """What a run leaves: made once, by a run of two steps."""

    made: ClassVar[dict[Path, Path]] = {}

    def prepare(self):
        self.run = self.folder / "run"
        sound = self.made.get(self.folder.parent)
        if sound is None:
            images = np.arange(40 * 64).reshape(40, 8, 8).astype(np.uint8)
            np.save(self.folder / "images.npy", images)
            sound = self.made[self.folder.parent] = self.folder / "sound"
            with contextlib.redirect_stdout(io.StringIO()):
                loang.train(self.folder / "images.npy", out=sound, budget="32 images", changes=TINY)
        shutil.copytree(sound, self.run)
        (self.place,) = (self.run / "checkpoints").iterdir()
        self.sound = {path: path.read_bytes() for path in self.run.rglob("*") if path.is_file()}

    def restore(self):
        for path in self.run.rglob("*"):
            if path.is_file() and path not in self.sound:
                path.unlink()
        for path, content in self.sound.items():
            if not path.exists() or path.read_bytes() != content:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)


class ConfigReader(RunReader):
    """config.json, and what follows from its settings before any image is opened."""

    def spoil(self, random):
        path = self.run / "config.json"
        if random.random() < 0.2:
            content = mutations.damage(random, self.sound[path])
        else:
            content = mutations.as_bytes(mutations.twist(random, json.loads(self.sound[path])))
        path.write_bytes(content)

    def read(self):
        settings, _ = RunFolder(self.run).read_config()
        parse(settings.training.budget, 1000)
        build.build_schedule(settings.schedule)
        build.weight_shapes(settings, ImageSpec(8, 8, 1))


class LogReader(RunReader):
    """log.jsonl, which has no errors: what is no line of it is left out."""

    refusals = ()

    def spoil(self, random):
        path = self.run / "log.jsonl"
        lines = self.sound[path].splitlines()
        number = random.randrange(len(lines))
        lines[number] = mutations.as_bytes(mutations.twist(random, json.loads(lines[number])))
        content = b"\n".join(lines)
        path.write_bytes(mutations.damage(random, content) if random.random() < 0.5 else content)

    def read(self):
        log = Log(self.run / "log.jsonl")
        log.read()
        log.cut(16)


class CheckpointReader(RunReader):
    """A checkpoint; mostly with hashes that are right, as a stranger's would be."""

    def chosen(self, random):
        """The file that is spoilt."""
        return random.choice(sorted(self.place.iterdir()))

    def spoil(self, random):
        self.restore()
        path = self.chosen(random)
        content = self.sound[path]
        if random.random() < 0.2:
            changed_ = mutations.damage(random, content)
        elif path.suffix == ".json":
            changed_ = mutations.as_bytes(mutations.twist(random, json.loads(content)))
        else:
            changed_ = mutations.twist_tensors(random, content)
        path.write_bytes(changed_)
        if path.name != "MANIFEST.json" and random.random() < 0.9:
            manifest = json.loads(self.sound[self.place / "MANIFEST.json"])
            manifest["files"][path.name] = {"size": len(changed_), "sha256": sha256(path)}
            (self.place / "MANIFEST.json").write_text(json.dumps(manifest))

    def read(self):
        checkpoint.load(self.place)


class ResumeReader(CheckpointReader):
    """The same, and the run gone on with."""

    def chosen(self, random):
        # What passes for a checkpoint is mostly what has other plain values.
        return self.place / "state.json" if random.random() < 0.7 else super().chosen(random)

    def read(self):
        with contextlib.redirect_stdout(io.StringIO()):
            loang.train(out=self.run, resume=True)


class PictureReader(Reader):
    """A picture of one format; the reader's own error is Unreadable."""

    refusals = (Unreadable,)
    suffix = "png"

    def pictures(self):
        grey = np.arange(24 * 20, dtype=np.uint16).reshape(24, 20)
        colour = np.stack([grey, grey.T.reshape(24, 20), grey[::-1]], axis=-1).astype(np.uint8)
        return {
            "grey": Image.fromarray(grey.astype(np.uint8)),
            "colour": Image.fromarray(colour),
            "deep": Image.fromarray((grey * 100).astype(np.uint16)),
            "palette": Image.fromarray(colour).quantize(16),
            "alpha": Image.fromarray(np.dstack([colour, colour[..., :1]])),
            "bits": Image.fromarray(grey > 200),
        }

    kinds = (("grey", {}), ("colour", {}), ("palette", {}), ("alpha", {}), ("bits", {}))

    def prepare(self):
        pictures = self.pictures()
        self.sound = []
        for kind, options in self.kinds:
            content = io.BytesIO()
            image = pictures[kind]
            if options.pop("turned", False):
                exif = Image.Exif()
                exif[0x0112] = 6
                options["exif"] = exif
            image.save(content, format=self.format, **options)
            self.sound.append(content.getvalue())
        self.path = self.folder / f"picture.{self.suffix}"

    @property
    def format(self):
        return {"jpg": "JPEG", "tif": "TIFF", "pnm": "PPM"}.get(self.suffix, self.suffix.upper())

    def spoil(self, random):
        content = random.choice(self.sound)
        self.path.write_bytes(mutations.damage(random, content, random.choice(self.sound)))

    def read(self):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as a folder does
            read_header(self.path)
            picture = read_picture(self.path)
        assert picture.ndim == 3
        assert picture.dtype in (np.uint8, np.uint16, np.float32)


class Png(PictureReader):
    kinds = (*PictureReader.kinds, ("deep", {}), ("colour", {"turned": True}))

    def spoil(self, random):
        super().spoil(random)
        if random.random() < 0.5:  # with checksums that are right, so that the content is read
            self.path.write_bytes(with_checksums(self.path.read_bytes()))


class Jpeg(PictureReader):
    suffix = "jpg"
    kinds = (("grey", {}), ("colour", {"turned": True}), ("colour", {"progressive": True}))


class WebP(PictureReader):
    suffix = "webp"
    kinds = (("colour", {}), ("alpha", {"lossless": True}), ("colour", {"turned": True}))


class Bmp(PictureReader):
    suffix = "bmp"


class Gif(PictureReader):
    suffix = "gif"
    kinds = (("grey", {}), ("palette", {}), ("bits", {}))


class Tiff(PictureReader):
    suffix = "tif"
    kinds = (
        *PictureReader.kinds,
        *(("deep", {}), ("colour", {"turned": True}), ("bits", {"compression": "group4"})),
        *(("grey", {"compression": how}) for how in ("tiff_lzw", "packbits", "jpeg")),
        *(("colour", {"compression": how}) for how in ("tiff_adobe_deflate", "jpeg")),
    )


class Pnm(PictureReader):
    suffix = "pnm"
    kinds = (("grey", {}), ("colour", {}), ("bits", {}), ("deep", {}))

    def prepare(self):
        super().prepare()
        self.sound.append(b"P3\n# plain\n4 2\n255\n" + b"1 2 3 " * 8)
        self.sound.append(b"P1 4 2\n" + b"1 0 1 1 " * 2)


class DeepPng(Png):
    """PNGs of 16 bits that are more than grey, which Pillow would cut to 8."""

    def prepare(self):
        self.sound = []
        for planes in (2, 3, 4):
            for interlaced in (False, True):
                content = io.BytesIO()
                values = np.arange(24 * 20 * planes, dtype=np.uint16) * 77
                writer = png.Writer(
                    *(20, 24),
                    greyscale=planes == 2,
                    alpha=planes != 3,
                    bitdepth=16,
                    interlace=interlaced,
                )
                writer.write(content, values.reshape(24, -1).tolist())
                self.sound.append(content.getvalue())
        self.path = self.folder / "picture.png"


class DeepTiff(PictureReader):
    """TIFFs that tifffile reads: real numbers, 16 bits, many channels, several pages."""

    suffix = "tif"

    def prepare(self):
        values = np.arange(24 * 20 * 5, dtype=np.uint16).reshape(24, 20, 5) * 77
        real, colour = values[..., 0] / np.float32(7), values[..., :3]
        grey, rgb = {"photometric": "minisblack"}, {"photometric": "rgb"}
        pages = [
            [(real, grey)],
            [(real.astype(np.float16), {**grey, "compression": "zlib"})],
            [(real.astype(np.float64), {**grey, "compression": "zlib", "predictor": True})],
            [(colour, rgb)],
            [(colour, {**rgb, "byteorder": ">", "compression": "lzw", "predictor": True})],
            [(colour, {**rgb, "bigtiff": True, "tile": (16, 16), "compression": "zlib"})],
            [(np.moveaxis(colour, -1, 0), {**rgb, "planarconfig": "separate"})],
            [(values, {**grey, "planarconfig": "contig", "compression": "packbits"})],
            [(values[..., :4], {**rgb, "extrasamples": ["assocalpha"], "compression": "zstd"})],
            [(values[..., :4], {"photometric": "separated", "compression": "lzma"})],
            [(values[..., 0].astype(np.int32), {**grey, "rowsperstrip": 5})],
            [(values[..., 0], {"photometric": "miniswhite"})],
            [(values[..., n], {**grey, "subfiletype": n % 2}) for n in range(5)],
        ]
        self.sound = [self.file_of(each) for each in pages]
        self.path = self.folder / "picture.tif"

    def file_of(self, pages):
        content, of_file = io.BytesIO(), {}
        pages = [(pixels, dict(options)) for pixels, options in pages]
        for name in ("bigtiff", "byteorder"):
            if name in pages[0][1]:
                of_file[name] = pages[0][1].pop(name)
        with tifffile.TiffWriter(content, **of_file) as writer:
            for pixels, options in pages:
                writer.write(pixels, contiguous=False, metadata=None, **options)
        return content.getvalue()

    def read(self):
        count_pages(self.path)
        for page in (0, 2):
            with contextlib.suppress(Unreadable):
                read_picture(self.path, page)
        super().read()


class FolderReader(Reader):
    """A folder of sound pictures and a spoilt one: more than may be bad, if it can't be read."""

    def prepare(self):
        self.place = self.folder / "images"
        self.others = [kind(name, self.folder / name) for name, kind in PICTURES.items()]
        for number in range(15):
            (self.place / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
            pixels = np.full((24, 20), 16 * number, np.uint8)
            Image.fromarray(pixels).save(self.place / "ab"[number % 2] / f"{number}.png")

    def spoil(self, random):
        other = random.choice(self.others)
        other.spoil(random)
        for path in self.place.glob("a/spoilt.*"):
            path.unlink()
        shutil.copy(other.path, self.place / "a" / f"spoilt{other.path.suffix}")

    def read(self):
        open_dataset(self.place)


class Npy(Reader):
    """An .npy file."""

    suffix = "npy"

    def prepare(self):
        self.path = self.folder / f"images.{self.suffix}"
        images = np.arange(30 * 16).reshape(30, 4, 4)
        self.sound = [
            self.pack(images.astype(kind)) for kind in ("u1", "u2", ">u2", "f2", "f4", "f8")
        ]
        self.sound.append(self.pack(images.astype("u1")[..., np.newaxis].repeat(3, axis=-1)))

    def pack(self, images):
        content = io.BytesIO()
        np.save(content, images)
        return content.getvalue()

    def hostile(self, random):
        """An .npy file whose header announces something else."""
        side = (*mutations.NUMBERS, 10**6, -1)
        shape = tuple(random.choice(side) for _ in range(random.randrange(6)))
        order = random.choice(("True", "False"))
        kinds = ("|u1", "<f4", "|O", "<U1000000", "|V9", "<c16", "|b1", "<M8[ns]", "x", "<f4,<f4")
        kind = random.choice(kinds)
        text = random.choice(
            (
                f"{{'descr': {kind!r}, 'fortran_order': {order}, 'shape': {shape}}}",
                f"{{'descr': '|u1', 'fortran_order': {order}, 'shape': {shape}, }}",
                "(" * random.choice((10, 100, 5000)),
                "-" * random.choice((100, 5000)) + "1",
                f"{{'descr': [('a', '|O')], 'fortran_order': False, 'shape': {shape}}}",
                "__import__('os').abort()",
                "9" * 6000,
            )
        ).encode()
        version = random.choice((1, 1, 2, 3, 4))
        length = len(text) if random.random() < 0.8 else random.choice(mutations.NUMBERS)
        width = 2 if version == 1 else 4
        start = (length % 2 ** (8 * width)).to_bytes(width, "little")
        return b"\x93NUMPY" + bytes((version, 0)) + start + text + bytes(480)

    def spoil(self, random):
        if random.random() < 0.4:
            self.path.write_bytes(self.hostile(random))
        else:
            content = random.choice(self.sound)
            self.path.write_bytes(mutations.damage(random, content, random.choice(self.sound)))

    def read(self):
        open_dataset(self.path)


class Npz(Npy):
    """An .npz file."""

    suffix = "npz"

    def pack(self, images):
        content = io.BytesIO()
        save = np.savez if images.dtype.itemsize == 1 else np.savez_compressed
        save(content, images=images, labels=np.arange(len(images)) % 3)
        return content.getvalue()

    def hostile(self, random):
        content = io.BytesIO()
        method = random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA))
        with zipfile.ZipFile(content, "w", method) as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of names that are there twice
            for _ in range(random.choice((1, 2, 3))):
                name = random.choice(("images.npy", "labels.npy", "x.npy", "../x.npy", "arr_0"))
                archive.writestr(name, super().hostile(random))
        return content.getvalue()


class Idx(Reader):
    """An IDX file."""

    pack = staticmethod(bytes)

    def prepare(self):
        self.path = self.folder / "values"
        values = np.arange(24, dtype=np.uint8)
        shape = b"".join(side.to_bytes(4, "big") for side in (2, 3, 4))
        self.plain = b"\0\0\x08\x03" + shape + values.tobytes()

    def spoil(self, random):
        content = self.plain
        if random.random() < 0.6:
            content = mutations.damage(random, content)
        if random.random() < 0.1:
            content += bytes(10**7)
        content = self.pack(content)
        self.path.write_bytes(mutations.damage(random, content))

    def read(self):
        read_idx(self.path)


class IdxGz(Idx):
    """The same, gzipped."""

    pack = staticmethod(lambda content: gzip.compress(content, 1, mtime=0))


class CollectionReader(Reader):
    """A file of many images: each is read, so that one that can't be doesn't hide the others."""

    refusals = (LoangError, Unreadable)

    def prepare(self):
        self.path = self.folder / f"images.{self.suffix}"
        self.sound = self.files()

    def pictures(self):
        for number in range(12):
            content = io.BytesIO()
            kind = ("PNG", "JPEG")[number % 2]
            Image.fromarray(np.full((9, 7, 3), 20 * number, np.uint8)).save(content, kind)
            yield content.getvalue()

    def spoil(self, random):
        content = random.choice(self.sound)
        if random.random() < 0.5:  # what describes a table stands at its end
            cut = random.randrange(min(len(content), 2000))
            start, end = content[: len(content) - cut], content[len(content) - cut :]
            content = start + mutations.damage(random, end, random.choice(self.sound))
        else:
            content = mutations.damage(random, content, random.choice(self.sound))
        self.path.write_bytes(content)

    def read(self):
        unreadable = None
        images = self.open(str(self.path), Wishes())
        images.identity()
        images.labels()
        images.held_out()
        assert len(images) < 10**5
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as a folder does
            for look in (images.header, images.picture):
                for index in range(len(images)):
                    try:
                        look(index)
                    except Unreadable as reason:
                        unreadable = reason
                    assert images.place(index)
        if unreadable is not None:
            raise unreadable


class Parquet(CollectionReader):
    """A Parquet file of pictures, or of lists of numbers."""

    suffix = "parquet"
    open = staticmethod(open_parquet)

    def tables(self):
        import pyarrow

        cells = [{"bytes": content, "path": "x.png"} for content in self.pictures()]
        names = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["a", "b"]}}
        known = {"huggingface": json.dumps({"info": {"features": names}})}
        numbers = pyarrow.array([n % 2 for n in range(12)])
        lists = [[[n, 2], [3, 4]] for n in range(12)]
        kind = pyarrow.list_(pyarrow.list_(pyarrow.uint8()))
        words = pyarrow.array(["x", "y", None] * 4).dictionary_encode()
        fixed = pyarrow.list_(pyarrow.list_(pyarrow.float32(), 2), 2)
        yield pyarrow.table({"image": cells, "label": numbers}).replace_schema_metadata(known)
        yield pyarrow.table({"x": pyarrow.array(lists, kind), "label": words})
        yield pyarrow.table({"x": pyarrow.array(lists, fixed), "n": numbers})

    def files(self):
        from pyarrow import parquet

        made = []
        for table in self.tables():
            for options in (
                {"compression": "none", "use_dictionary": False},
                {"compression": "snappy"},
                {"compression": "zstd", "data_page_version": "2.0"},
                {"compression": "gzip", "write_page_checksum": True},
                {"compression": "lz4", "use_dictionary": ["label"]},
            ):
                content = io.BytesIO()
                parquet.write_table(table, content, row_group_size=5, **options)
                made.append(content.getvalue())
        return made


class Arrow(Parquet):
    """An Arrow file, of both formats."""

    suffix = "arrow"
    open = staticmethod(open_arrow)

    def files(self):
        from pyarrow import ipc

        made = []
        for table in self.tables():
            for kind in (ipc.new_file, ipc.new_stream):
                for compression in (None, "lz4", "zstd"):
                    content = io.BytesIO()
                    options = ipc.IpcWriteOptions(compression=compression)
                    with kind(content, table.schema, options=options) as writer:
                        writer.write_table(table, max_chunksize=5)
                    made.append(content.getvalue())
        return made


class Tar(CollectionReader):
    """A tar file, as a folder's and as WebDataset's; half of them with checksums that are right."""

    suffix = "tar"
    open = staticmethod(open_tar)

    def files(self):
        made = []
        for kind in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
            for label in ("cls", "json", "txt"):
                content = io.BytesIO()
                with tarfile.open(fileobj=content, mode="w", format=kind) as archive:
                    for number, picture in enumerate(self.pictures()):
                        long = "x" * 120 if kind != tarfile.USTAR_FORMAT and number == 3 else ""
                        for name, inside in (
                            (f"{'ab'[number % 2]}/{long}{number}.png", picture),
                            (f"{'ab'[number % 2]}/{long}{number}.{label}", b'{"label": 1}'),
                        ):
                            member = tarfile.TarInfo(name)
                            member.size = len(inside)
                            archive.addfile(member, io.BytesIO(inside))
                made.append(content.getvalue())
        return made

    def spoil(self, random):
        content = bytearray(random.choice(self.sound))
        for _ in range(random.choice((1, 1, 2, 5))):
            start = random.randrange(len(content) // 512) * 512
            if content[start + 257 : start + 262] != b"ustar":
                continue
            header = bytearray(content[start : start + 512])
            if random.random() < 0.5:
                field = random.choice(((0, 100), (124, 12), (156, 1), (257, 8), (345, 155)))
                at = field[0] + random.randrange(field[1])
                header[at] = random.choice((0, 0x80, 0xFF, *b"0179SLKxgVDM/."))
            else:
                header = bytearray(mutations.damage(random, bytes(header)))[:512].ljust(512, b"\0")
            if random.random() < 0.8:
                header[148:156] = b"        "
                header[148:156] = b"%06o\0 " % sum(header)
            content[start : start + 512] = header
        if random.random() < 0.3:
            content = mutations.damage(random, bytes(content), random.choice(self.sound))
        self.path.write_bytes(content)


class DenoisingDiffusion(torch_readers.DenoisingDiffusion, Reader):
    """Weights of denoising-diffusion-pytorch."""


class GuidedDiffusion(torch_readers.GuidedDiffusion, Reader):
    """Weights of guided-diffusion."""


class Broken(Reader):
    """A reader with every fault that there is, so that a test can see them found."""

    def read(self):
        match self.fault:
            case 0:
                raise TypeError("a plain mistake")
            case 1:
                raise LoangError("x" * (LONGEST_MESSAGE + 1), "")
            case 2:
                warnings.warn("an oddity", RuntimeWarning, stacklevel=1)
            case 3:
                os.abort()
            case 4:
                raise LoangError("This is as it should be.", "Leave it.")

    def spoil(self, random):
        self.fault = random.randrange(6)


PICTURES = {
    "png": Png,
    "jpeg": Jpeg,
    "webp": WebP,
    "bmp": Bmp,
    "gif": Gif,
    "tiff": Tiff,
    "pnm": Pnm,
    "png16": DeepPng,
    "tiff-deep": DeepTiff,
}
READERS = {
    "model": ModelReader,
    "diffusers": PipelineReader,
    "keras-checkpoint": KerasCheckpoint,
    "keras-h5": KerasGroups,
    "keras": KerasArchive,
    "encoder": EncoderReader,
    "config": ConfigReader,
    "log": LogReader,
    "checkpoint": CheckpointReader,
    "resume": ResumeReader,
    **PICTURES,
    "folder": FolderReader,
    "npy": Npy,
    "npz": Npz,
    "idx": Idx,
    "idx.gz": IdxGz,
    "parquet": Parquet,
    "arrow": Arrow,
    "tar": Tar,
    "denoising-diffusion": DenoisingDiffusion,
    "guided-diffusion": GuidedDiffusion,
}
FAULTY = {"broken": Broken}


def with_checksums(content):
    """A PNG whose chunks have the checksums of what they hold."""
    data, at = bytearray(content), 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        end = at + 8 + length
        if end + 4 > len(data):
            break
        data[end : end + 4] = zlib.crc32(data[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(data)
