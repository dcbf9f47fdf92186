"""Tables of images, in one file or many, read a few rows at a time."""

import abc
import bisect
import itertools
import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Shaped

from loang.data.cells import header_of, picture_of
from loang.data.collection import Collection, Labels
from loang.data.columns import choose_columns, labels_of
from loang.data.header import Header, Unreadable
from loang.data.shards import held_out_rows
from loang.errors import LoangError
from loang.untrusted import shown

NEAR, FAR = 2, 600
"""Rows a thread that are kept in any case, and those that are where they are small.

The first is how far threads are apart mostly, the second how far `in_threads` ever lets them be.
"""
KEPT = 2**26
"""Bytes of these."""
LARGEST_LABELS = 2**30
"""Bytes of the labels of all images."""


class Table(abc.ABC):
    """One file of rows.

    Args:
        name: what a person calls it.
        split: the part of the data set that it is; an empty text where that is not said.
    """

    schema: Any
    """pyarrow's."""
    lengths: Sequence[int]
    """How many rows there are in each part that can be gone to at once."""

    def __init__(self, name: str, split: str = "") -> None:
        self.name = name
        self.split = split

    @abc.abstractmethod
    def identity(self) -> str:
        """See `Collection.identity`."""

    @abc.abstractmethod
    def batches(self, part: int, column: str) -> Iterator[Any]:
        """The rows of a part, in order, as arrays of a column, of a bounded size each.

        Any exception of pyarrow's may be raised on the way.
        """


class Rows:
    """The cells of a column in all tables, by number; it may be asked by several threads at once.

    A file gives its rows in order. So one that is asked for is read on to from the one before, and
    the last few batches are kept for the threads that are a little behind.
    """

    def __init__(self, tables: Sequence[Table], column: str) -> None:
        self.column = column
        self._parts = [(t, part) for t in tables for part in range(len(t.lengths))]
        lengths = [table.lengths[part] for table, part in self._parts]
        self._starts = [0, *itertools.accumulate(lengths)]
        self._lock = threading.Lock()
        self._recent: deque[tuple[int, Any]] = deque()  # the number of the first row, and the rows
        self._broken: dict[int, tuple[int, str]] = {}  # of a part: from which row on, and why
        self._part, self._next = -1, 0
        self._batches: Iterator[Any] = iter(())

    def __len__(self) -> int:
        return self._starts[-1]

    def at(self, index: int) -> tuple[Any, int]:
        """An array, and the row in it that is number `index`.

        Raises:
            Unreadable: the file is damaged there.
        """
        with self._lock:
            for start, rows in self._recent:
                if start <= index < start + len(rows):
                    return rows, index - start
            part = bisect.bisect_right(self._starts, index) - 1
            if part in self._broken and index >= self._broken[part][0]:
                raise Unreadable(self._broken[part][1])
            if part != self._part or index < self._next:
                self._part, self._next = part, self._starts[part]
                table, number = self._parts[part]
                self._batches = table.batches(number, self.column)
            while True:
                start, rows = self._next, self._read()
                if index < self._next:
                    return rows, index - start

    def place(self, index: int) -> tuple[Table, int]:
        """The table of a row, and its number there."""
        part = bisect.bisect_right(self._starts, index) - 1
        table, number = self._parts[part]
        return table, index - self._starts[part - number]

    def _read(self) -> Any:
        """The next batch, which is kept."""
        try:
            rows = next(self._batches, None)
            if rows is None or not len(rows):
                raise ValueError("it ends before this row")
            # What a file says of its lists is followed without a look; so look before.
            rows.validate(full=True)
        except Exception as error:
            reason = f"the file is damaged there: {shown(str(error), 200)}"
            self._broken[self._part] = self._next, reason
            self._part = -1
            raise Unreadable(reason) from error
        self._recent.append((self._next, rows))
        self._next += len(rows)
        self._forget()
        return rows

    def _forget(self) -> None:
        """Lets go of the batches that no thread is so far behind to want."""
        threads = os.cpu_count() or 1
        while len(self._recent) > 1:
            later = [rows for _, rows in list(self._recent)[1:]]
            count, held = sum(map(len, later)), sum(rows.nbytes for rows in later)
            if count < NEAR * threads or (count < FAR * threads and held < KEPT):
                return
            self._recent.popleft()


class TableCollection(Collection):
    """The images in a column of tables, one a row.

    Args:
        tables: at least one; their columns are those of the first.
        name: what a person calls them.
        image_column: None finds it.
        label_column: None finds it, if there is one.

    Raises:
        LoangError: no column, or several, can hold the images, or a table lacks it.
    """

    def __init__(
        self,
        tables: Sequence[Table],
        name: str,
        image_column: str | None = None,
        label_column: str | None = None,
    ) -> None:
        super().__init__(name)
        self.tables = tables
        first = tables[0].schema
        self.columns = choose_columns(first, name, image_column, label_column)
        for table in tables:
            for column in filter(None, (self.columns.image, self.columns.label)):
                _require_same(first, table, column)
        self.rows = Rows(tables, self.columns.image)

    def identity(self) -> str:
        """Of each table its own; and the columns."""
        return repr([self.columns, *(table.identity() for table in self.tables)])

    def __len__(self) -> int:
        return len(self.rows)

    def header(self, index: int) -> Header:
        """See `Collection`."""
        return header_of(self.columns.kind, *self.rows.at(index))

    def picture(self, index: int) -> Shaped[np.ndarray, "h w c"]:
        """See `Collection`."""
        return picture_of(self.columns.kind, *self.rows.at(index))

    def place(self, index: int) -> str:
        """The file's name and the row."""
        table, row = self.rows.place(index)
        return f"{table.name}, row {row:,}"

    @cached_property
    def _labels(self) -> Labels | None:
        column = self.columns.label
        return None if column is None else labels_of(self.columns, self._values(column))

    def labels(self) -> Labels | None:
        """From the column of labels.

        Raises:
            LoangError: that column is damaged.
        """
        return self._labels

    def held_out(self) -> Bool[np.ndarray, " n"] | None:
        """What lies in tables that are called test or validation."""
        splits = [table.split for table in self.tables]
        return held_out_rows(splits, [sum(table.lengths) for table in self.tables])

    def _values(self, column: str) -> list[Any]:
        values, held = list[Any](), 0
        for table in self.tables:
            before = len(values)
            try:
                for part in range(len(table.lengths)):
                    for batch in table.batches(part, column):
                        batch.validate(full=True)
                        held += batch.nbytes
                        if held > LARGEST_LABELS:
                            raise ValueError(f"it holds more than {LARGEST_LABELS:,} bytes")
                        values += batch.to_pylist()
                if len(values) - before != sum(table.lengths):
                    raise ValueError(f"it has {len(values) - before:,} rows")
            except Exception as error:
                raise LoangError(
                    f"The column {shown(column)} of {table.name} is damaged:"
                    f" {shown(str(error), 200)}.",
                    "Download the file again, or leave the labels out with --no-labels.",
                ) from error
        return values


def _require_same(first: Any, table: Table, column: str) -> None:
    index = table.schema.get_field_index(column)
    if index < 0 or table.schema.field(index).type != first.field(column).type:
        raise LoangError(
            f"{table.name} has no column {shown(column)} like that of the first file beside it.",
            "Keep only files of one kind together, or name one file.",
        )
