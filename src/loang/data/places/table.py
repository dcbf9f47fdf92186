"""Tables of images, in one file or many, read a few rows at a time."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, Shaped

from loang.data.collection import Collection, Labels
from loang.data.encoded.header import Header
from loang.data.places.cells import header_of, picture_of
from loang.data.places.columns import (
    Columns,
    choose_columns,
    class_names,
    find_split,
    labels_of,
    unusable_label,
)
from loang.data.places.names import checked
from loang.data.places.parts import Parts, held_out_rows, parts_of_column
from loang.data.places.rows import Rows, Table
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
        # What the files' names say comes first.
        named = any(table.split for table in tables)
        self.split_column = None if named else find_split(first, self.columns)
        if self.split_column is not None:
            for table in tables:
                _require_same(first, table, self.split_column)
        self.rows = Rows(tables, self.columns.image)

    def identity(self) -> str:
        """Of each table its own; and the columns."""
        return repr([self.columns, self.split_column, *(table.identity() for table in self.tables)])

    def __len__(self) -> int:
        return len(self.rows if self._kept is None else self._kept)

    def header(self, index: int) -> Header:
        """See `Collection`."""
        return header_of(self.columns.kind, *self.rows.at(self._row(index)))

    def picture(self, index: int) -> Shaped[np.ndarray, "h w c"]:
        """See `Collection`."""
        return picture_of(self.columns.kind, *self.rows.at(self._row(index)))

    def place(self, index: int) -> str:
        """The file's name and the row."""
        table, row = self.rows.place(self._row(index))
        return f"{table.name}, row {row:,}"

    @cached_property
    def _parts(self) -> Parts | None:
        """From the column that says parts, if there is one."""
        if self.split_column is None:
            return None
        words = ["" if word is None else word for word in self._values(self.split_column)]
        parts = parts_of_column(words, self.split_column, self.name)
        self.notices = [*self.notices, *parts.notices]
        return parts

    @cached_property
    def _kept(self) -> Int[np.ndarray, " n"] | None:
        """The rows of the images, where some are left aside."""
        parts = self._parts
        return None if parts is None or parts.kept.all() else np.flatnonzero(parts.kept)

    def _row(self, index: int) -> int:
        return index if self._kept is None else int(self._kept[index])

    @cached_property
    def _labels(self) -> Labels | None:
        column = self.columns.label
        if column is None:
            unusable = unusable_label(self.tables[0].schema, self.columns)
            if unusable is not None:
                self._say_no_classes(f"{unusable} holds neither words nor whole numbers")
            return None
        columns, values = self._with_same_names(column, self._values(column))
        try:
            labels = labels_of(columns, values)
        except ValueError as error:
            self._say_no_classes(f"{shown(column)} holds no labels, as {error}")
            return None
        if labels is not None and self._kept is not None:
            labels = Labels(labels.names, labels.numbers[self._kept])
        return checked(labels, self.name, "Rename it")

    def _say_no_classes(self, why: str) -> None:
        self.notices = [
            *self.notices,
            f"{self.name} has no classes: its column {why}. --set data.label_column=... names"
            " another.",
        ]

    def _with_same_names(self, column: str, values: list[Any]) -> tuple[Columns, list[Any]]:
        """The names of all tables' classes, and labels that number these.

        Tables made one by one may name the same classes in another order.

        Raises:
            LoangError: some tables name their classes, and others don't.
        """
        of_each = [class_names(table.schema, column) for table in self.tables]
        if len(set(of_each)) == 1:
            return self.columns, values
        unnamed = next((t.name for t, own in zip(self.tables, of_each, strict=True) if not own), "")
        if unnamed:
            raise LoangError(
                f"{unnamed} does not say what the numbers in its column {shown(column)} mean; other"
                " files beside it do.",
                "Write all with the same names of classes, or leave the labels out with"
                " --no-labels.",
            )
        number = {name: n for n, name in enumerate(dict.fromkeys(itertools.chain(*of_each)))}
        same, start = list[Any](), 0
        for table, own in zip(self.tables, of_each, strict=True):
            end = start + sum(table.lengths)
            become = dict(enumerate(number[name] for name in own))
            same += [become.get(value, -1) for value in values[start:end]]
            start = end
        return replace(self.columns, class_names=tuple(number)), same

    def labels(self) -> Labels | None:
        """From the column of labels.

        Raises:
            LoangError: that column is damaged, or not all tables say what its numbers mean.
        """
        return self._labels

    def held_out(self) -> Bool[np.ndarray, " n"] | None:
        """What lies in tables that are called test or validation, or is said to be for that."""
        if self._parts is not None:
            held = self._parts.held_out
            return held if held is None or self._kept is None else held[self._kept]
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
