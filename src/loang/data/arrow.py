"""Arrow files of images: both IPC formats, Feather, and what `datasets` saves to the disk."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from loang.data.cells import column_of
from loang.data.collection import Collection
from loang.data.parquet import Source, import_pyarrow, readable, refusing
from loang.data.rows import Table
from loang.data.shards import find_shards, path_of, shards_in
from loang.data.table import TableCollection
from loang.data.wishes import Wishes

SUFFIXES = (".arrow", ".feather")
MAGIC = b"ARROW1"  # of the format with random access; a stream has none


class ArrowTable(Table):
    """One Arrow file, memory-mapped; a part is a batch of a file, or a stream as a whole.

    Raises:
        LoangError: it is damaged, or announces more than it can hold.
    """

    def __init__(self, path: Path, split: str = "") -> None:
        super().__init__(str(path), split)
        self.path = path
        self.source = Source.of(path)
        with refusing(self.name, "Arrow"):
            with path.open("rb") as file:
                self._random_access = file.read(len(MAGIC)) == MAGIC
            with self._opened(None) as reader:
                self.schema = readable(reader.schema)
            # Nothing but the lengths is wanted, so one column is enough.
            with self._opened(0) as reader:
                lengths = [batch.num_rows for batch in self._all(reader)]
            if min(lengths, default=0) < 0 or sum(lengths) > self.source.size:
                raise ValueError(f"it announces {sum(lengths):,} rows")
        self.lengths = lengths if self._random_access else [sum(lengths)]

    def identity(self) -> str:
        """See `Table`."""
        return self.source.identity()

    def batches(self, part: int, column: str) -> Iterator[Any]:
        """See `Table`."""
        with self._opened(self.schema.get_field_index(column)) as reader:
            if self._random_access:
                yield column_of(reader.get_batch(part), column)
                return
            for batch in reader:
                if batch.num_rows:
                    yield column_of(batch, column)

    def _all(self, reader: Any) -> Iterator[Any]:
        if self._random_access:
            return (reader.get_batch(number) for number in range(reader.num_record_batches))
        return iter(reader)

    @contextmanager
    def _opened(self, column: int | None) -> Iterator[Any]:
        """A reader of one column, or of all."""
        pyarrow = import_pyarrow("Arrow")
        options = pyarrow.ipc.IpcReadOptions(
            included_fields=None if column is None else [column], use_threads=False
        )
        kind = pyarrow.ipc.open_file if self._random_access else pyarrow.ipc.open_stream
        with pyarrow.memory_map(str(self.path)) as content, kind(content, options=options) as file:
            yield file


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
