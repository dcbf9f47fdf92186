"""The rows of tables, asked for by number, read a few at a time."""

import abc
import bisect
import itertools
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from loang.data.encoded.header import Unreadable
from loang.processors import available
from loang.untrusted import shown

NEAR, FAR = 2, 600
"""Rows a thread that are kept in any case, and those that are where they are small.

The first is how far threads are apart mostly, the second how far `in_threads` ever lets them be.
"""
KEPT = 2**26
"""Bytes of these."""
CURSORS = 2  # a thread


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

    A part of a file gives its rows in order, so one that is asked for is read on to from the one
    before. The last few batches, and places in parts, are kept for the threads that are behind.
    """

    def __init__(self, tables: Sequence[Table], column: str) -> None:
        self.column = column
        self._parts = [(t, part) for t in tables for part in range(len(t.lengths))]
        lengths = [table.lengths[part] for table, part in self._parts]
        self._starts = [0, *itertools.accumulate(lengths)]
        self._lock = threading.Lock()
        self._recent: deque[tuple[int, Any]] = deque()  # the number of the first row, and the rows
        self._cursors: dict[int, _Cursor] = {}  # of a part
        self._broken: dict[int, tuple[int, str]] = {}  # of a part: from which row on, and why

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
            while True:
                if part in self._broken and index >= self._broken[part][0]:
                    raise Unreadable(self._broken[part][1])
                start, rows = self._read(part, index)
                if index < start + len(rows):
                    return rows, index - start

    def place(self, index: int) -> tuple[Table, int]:
        """The table of a row, and its number there."""
        part = bisect.bisect_right(self._starts, index) - 1
        table, number = self._parts[part]
        return table, index - self._starts[part - number]

    def _read(self, part: int, index: int) -> tuple[int, Any]:
        """The next batch on the way to a row, which is kept; and the number of its first row."""
        cursor = self._cursors.pop(part, None)
        if cursor is None or index < cursor.next:
            table, number = self._parts[part]
            cursor = _Cursor(table.batches(number, self.column), self._starts[part])
        start = cursor.next
        try:
            rows = cursor.read()
        except Exception as error:
            reason = f"the file is damaged there: {shown(str(error), 200)}"
            self._broken[part] = start, reason
            raise Unreadable(reason) from error
        if cursor.next < self._starts[part + 1]:
            self._cursors[part] = cursor
        while len(self._cursors) > CURSORS * available():
            del self._cursors[next(iter(self._cursors))]  # the one that was read longest ago
        self._recent.append((start, rows))
        self._forget()
        return start, rows

    def _forget(self) -> None:
        """Lets go of the batches that no thread is so far behind to want."""
        while len(self._recent) > 1:
            later = [rows for _, rows in list(self._recent)[1:]]
            count, held = sum(map(len, later)), sum(rows.nbytes for rows in later)
            if count < NEAR * available() or (count < FAR * available() and held < KEPT):
                return
            self._recent.popleft()


class _Cursor:
    """A place in a part, from which it is read on."""

    def __init__(self, batches: Iterator[Any], first: int) -> None:
        self.batches = batches
        self.next = first

    def read(self) -> Any:
        """The next batch.

        Raises:
            Exception: there is none, or it is damaged.
        """
        rows = next(self.batches, None)
        if rows is None or not len(rows):
            raise ValueError("it ends before this row")
        # What a file says of its lists is followed without a look; so look before.
        rows.validate(full=True)
        self.next += len(rows)
        return rows
