"""Parquet files of images, which Hugging Face's data sets and most data tools write."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from loang.data.collection import Collection
from loang.data.places.cells import column_of
from loang.data.places.names import printable
from loang.data.places.parquet_pages import Chunk, check_pages, read_chunks
from loang.data.places.rows import Table
from loang.data.places.shards import find_shards, path_of, shards_in
from loang.data.places.table import TableCollection
from loang.data.wishes import Wishes
from loang.errors import LoangError
from loang.untrusted import shown

SUFFIXES = (".parquet", ".pq")
BATCH = 2**24
"""Bytes of the rows that are read at once; more only where a row, or a page of the file, has more.

A page is what is compressed at once: a megabyte mostly, but some writers put 1,024 rows in each.
"""
MOST_ROWS = 4096  # of them
LARGEST_TEXT = 2**24  # bytes of a text in what describes the file
MOST_PARTS = 2**20  # columns or row groups


@dataclass(frozen=True)
class Source:
    """Where the bytes of a file come from.

    Args:
        name: what a person calls it.
        open: an open file of bytes, which can be asked for from any place on.
        identity: changes whenever the file may have.
        size: in bytes.
        split: the part of the data set that it is; an empty text where that is not said.
        piece: how many bytes are asked for at once, mostly.
    """

    name: str
    open: Callable[[], Any]
    identity: Callable[[], str]
    size: int
    split: str = ""
    piece: int = 2**20

    @classmethod
    def of(cls, path: Path, split: str = "") -> "Source":
        """A file on the disk.

        Raises:
            LoangError: it is not there, or no plain file.
        """
        try:
            if not path.is_file():
                raise FileNotFoundError("there is no such file")
            size = path.stat().st_size
        except OSError as error:
            raise LoangError(
                f"{path} cannot be read: {error.strerror or error}.", "Name a file that can be."
            ) from error

        def identity() -> str:
            about = path.stat()
            return f"{path} {about.st_size} {about.st_mtime_ns} {about.st_ctime_ns}"

        def opened() -> Any:
            # A file of Python's would copy each page once more.
            return import_pyarrow("Parquet").OSFile(str(path))

        return cls(printable(str(path)), opened, identity, size, split)


class ParquetTable(Table):
    """One Parquet file; a part of it is a row group.

    Raises:
        LoangError: it is damaged, or announces more than it can hold.
    """

    def __init__(self, source: Source) -> None:
        super().__init__(source.name, source.split)
        self.source = source
        with refusing(source.name, "Parquet"), self._opened() as file:
            self.schema = readable(file.schema_arrow)
            # Of columns nothing is asked: pyarrow ends the process where what is said is damaged.
            groups = range(file.metadata.num_row_groups)
            self.lengths = [file.metadata.row_group(group).num_rows for group in groups]
            # A row takes a byte of the file at least, or a header could make any loop endless.
            if min(self.lengths, default=0) < 0 or sum(self.lengths) > source.size:
                raise ValueError(f"it announces {sum(self.lengths):,} rows")

    def identity(self) -> str:
        """See `Table`."""
        return self.source.identity()

    def batches(self, part: int, column: str) -> Iterator[Any]:
        """See `Table`."""
        each = max(1, self._unpacked(part, column) // max(1, self.lengths[part]))
        rows = min(MOST_ROWS, max(1, BATCH // each))
        with self._opened() as file:
            for batch in file.iter_batches(rows, [part], [column], use_threads=False):
                yield column_of(batch, column)

    @cached_property
    def _chunks(self) -> list[list[Chunk]]:
        with self.source.open() as content:
            return read_chunks(content, self.source.size)

    def _unpacked(self, part: int, column: str) -> int:
        """Bytes of a column in a row group, once its pages are unpacked.

        Raises:
            ValueError: a page is too large, or damaged.
        """
        chunks = [chunk for chunk in self._chunks[part] if chunk.column == column]
        with self.source.open() as content:
            return sum(check_pages(content, self.source.size, chunk) for chunk in chunks)

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        parquet = import_pyarrow("Parquet").parquet
        with (
            self.source.open() as content,
            # With a buffer, and without reading ahead, a row group is never in memory as a whole.
            parquet.ParquetFile(
                content,
                buffer_size=self.source.piece,
                pre_buffer=False,
                thrift_string_size_limit=LARGEST_TEXT,
                thrift_container_size_limit=MOST_PARTS,
                page_checksum_verification=True,
            ) as file,
        ):
            yield file


class ParquetCollection(TableCollection):
    """The images of Parquet files, as Hugging Face writes them or as lists of numbers.

    Args:
        sources: the files, of the same columns.
        name: what a person calls them.
        image_column: None finds it; see `choose_columns`.
        label_column: None finds it, if there is one.

    Raises:
        LoangError: pyarrow is missing; a file is damaged; no column, or several, can be images.
    """

    def __init__(
        self,
        sources: Sequence[Source | Path],
        name: str,
        image_column: str | None = None,
        label_column: str | None = None,
    ) -> None:
        tables = [ParquetTable(s if isinstance(s, Source) else Source.of(s)) for s in sources]
        super().__init__(tables, name, image_column, label_column)


def import_pyarrow(what: str) -> Any:
    """pyarrow, with its readers of files.

    Raises:
        LoangError: it is not installed.
    """
    try:
        import pyarrow.ipc
        import pyarrow.parquet
    except ImportError as error:
        raise LoangError(
            f"{what} files are read with pyarrow, which is not installed.",
            'Install it with pip install "loang[parquet]".',
        ) from error
    return pyarrow


def readable(schema: Any) -> Any:
    """The same schema of pyarrow's, if its names are texts.

    Raises:
        UnicodeDecodeError: one is not.
    """
    _ = schema.names
    return schema


@contextmanager
def refusing(name: str, what: str) -> Iterator[None]:
    """Any failure within becomes a `LoangError` on that file."""
    try:
        yield
    except LoangError:
        raise
    except Exception as error:
        # pyarrow raises its own errors, and Python's for what it finds in a damaged file.
        reason = shown(str(error) or type(error).__name__, 200)
        raise LoangError(
            f"{name} is no sound {what} file: {reason}.",
            "Download or write it again.",
        ) from error


def is_parquet(name: str) -> bool:
    """Whether a name is a Parquet file's, or a folder's that has some."""
    path = path_of(name)
    return bool(shards_in(path, SUFFIXES)) or (path.suffix.lower() in SUFFIXES and path.is_file())


def open_parquet(name: str, wishes: Wishes) -> Collection:
    """The images of a Parquet file, or of all in a folder.

    Raises:
        LoangError: as for `ParquetCollection`.
    """
    shards, notices = find_shards(name, SUFFIXES, wishes.follow_links)
    sources = [Source.of(path, split) for path, split in shards]
    made = ParquetCollection(sources, name, wishes.image_column, wishes.label_column)
    made.notices = notices
    return made
