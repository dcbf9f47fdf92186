"""Tables of images, in one file or many, read a few rows at a time."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Shaped

from loang.data.collection import Collection, Labels
from loang.data.encoded.header import Header
from loang.data.places.cells import header_of, picture_of
from loang.data.places.columns import choose_columns, labels_of
from loang.data.places.rows import Rows, Table
from loang.data.places.shards import held_out_rows
from loang.errors import LoangError
from loang.untrusted import shown

LARGEST_LABELS = 2**30
"""Bytes of the labels of all images."""


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
