"""Arrow files of images: both IPC formats, Feather, and what `datasets` saves to the disk."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from loang.data.collection import Collection
from loang.data.places.arrow_messages import read_batches
from loang.data.places.cells import column_of
from loang.data.places.names import printable
from loang.data.places.parquet import Source, import_pyarrow, readable, refusing
from loang.data.places.rows import Table
from loang.data.places.shards import find_shards, path_of, shards_in
from loang.data.places.table import TableCollection
from loang.data.wishes import Wishes
from loang.errors import LoangError

SUFFIXES = (".arrow", ".feather")
MAGIC = b"ARROW1\0\0"
"""Before a stream and a table of what is where it makes a file; the stream alone is enough here."""
LARGEST_BATCH = 2**31
"""Bytes of the rows that are compressed together, unpacked. What is not compressed is mapped."""


class ArrowTable(Table):
    """One Arrow file, memory-mapped; it has one part.

    Raises:
        LoangError: it is damaged, or announces more than it can hold.
    """

    def __init__(self, path: Path, split: str = "") -> None:
        super().__init__(printable(str(path)), split)
        self.path = path
        self.source = Source.of(path)
        pyarrow = import_pyarrow("Arrow")
        with refusing(self.name, "Arrow"):
            with self._mapped() as content:
                batches = list(read_batches(pyarrow.ipc.MessageReader.open_stream(content)))
            rows, most = sum(b.rows for b in batches), max((b.unpacked for b in batches), default=0)
            # A row takes a byte of the file at least, or a header could make any loop endless.
            if rows > self.source.size:
                raise ValueError(f"it announces {rows:,} rows")
            if most > LARGEST_BATCH:
                raise LoangError(
                    f"{self.name} has rows that take {most / 1e9:,.1f} GB once they are unpacked"
                    " together.",
                    "Write it uncompressed, or with batches of some hundred rows.",
                )
            with self._opened(None) as reader:
                self.schema = readable(reader.schema)
        self.lengths = [rows]

    def identity(self) -> str:
        """See `Table`."""
        return self.source.identity()

    def batches(self, part: int, column: str) -> Iterator[Any]:
        """See `Table`."""
        with self._opened(self.schema.get_field_index(column)) as reader:
            for batch in reader:
                if batch.num_rows:
                    yield column_of(batch, column)

    @contextmanager
    def _opened(self, column: int | None) -> Iterator[Any]:
        """A reader of one column, or of all."""
        ipc = import_pyarrow("Arrow").ipc
        fields = None if column is None else [column]
        options = ipc.IpcReadOptions(included_fields=fields, use_threads=False)
        with self._mapped() as content, ipc.open_stream(content, options=options) as reader:
            yield reader

    @contextmanager
    def _mapped(self) -> Iterator[Any]:
        """The file, at the beginning of its stream."""
        with import_pyarrow("Arrow").memory_map(str(self.path)) as content:
            if content.read(len(MAGIC)) != MAGIC:
                content.seek(0)
            yield content


class ArrowCollection(TableCollection):
    """The images of Arrow files.

    Args:
        shards: the files, of the same columns, each with the part of the data set that it is.
        name: what a person calls them.
        image_column: None finds it; see `choose_columns`.
        label_column: None finds it, if there is one.

    Raises:
        LoangError: pyarrow is missing; a file is damaged; no column, or several, can be images.
    """

    def __init__(
        self,
        shards: Sequence[tuple[Path, str]],
        name: str,
        image_column: str | None = None,
        label_column: str | None = None,
    ) -> None:
        tables = [ArrowTable(path, split) for path, split in shards]
        super().__init__(tables, name, image_column, label_column)


def is_arrow(name: str) -> bool:
    """Whether a name is an Arrow file's, or a folder's that has some."""
    path = path_of(name)
    return bool(shards_in(path, SUFFIXES)) or (path.suffix.lower() in SUFFIXES and path.is_file())


def open_arrow(name: str, wishes: Wishes) -> Collection:
    """The images of an Arrow file, or of all in a folder.

    Raises:
        LoangError: as for `ArrowCollection`.
    """
    shards, notices = find_shards(name, SUFFIXES, wishes.follow_links)
    made = ArrowCollection(shards, name, wishes.image_column, wishes.label_column)
    made.notices = notices
    return made
