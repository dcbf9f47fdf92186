"""Labels that stand in a file beside the images: CSV or JSONL, a line an image."""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Bool

from loang.data.collection import Labels
from loang.errors import LoangError
from loang.untrusted import plain_size, shown

USUAL_NAMES = ("labels.csv", "labels.jsonl", "metadata.csv", "metadata.jsonl")
"""Looked for in a folder of images, in this order; the last two are Hugging Face's."""
FILE_COLUMNS = ("file_name", "filename", "file", "path", "image", "image_id", "name", "id")
LABEL_COLUMNS = ("label", "labels", "class", "class_name", "category", "target", "y")
SPLIT_COLUMNS = ("split", "subset", "set", "fold")
HELD_OUT = frozenset({"val", "valid", "validation", "test", "testing", "dev", "held-out", "eval"})
LARGEST = 2**28
"""Bytes of such a file: millions of lines."""


@dataclass(frozen=True)
class LabelFile:
    """What a file says of images, in the order of their paths.

    Args:
        labels: the classes; None where no column holds any.
        held_out: which are for validation; None where no column says so.
        notice: what a person should know of it.
    """

    labels: Labels | None
    held_out: Bool[np.ndarray, " n"] | None
    notice: str | None = None


def read_labels(
    path: Path,
    places: Sequence[str],
    image_column: str | None = None,
    label_column: str | None = None,
) -> LabelFile:
    """The labels of the images at those places.

    An image is found by its path within the folder, else by its file's name, else by that without
    the suffix. Labels that are all whole numbers are ordered as numbers.

    Args:
        path: ends in .jsonl, or is CSV with commas, semicolons or tabs, the first line naming the
            columns; a CSV of two columns may do without such a line.
        places: paths relative to the folder, with `/`.
        image_column: which column names the image; None takes a usual one, else the first.
        label_column: which column is the label; None takes a usual one, else the second of two.

    Raises:
        LoangError: the file can't be read, or lacks a column.
    """
    try:
        plain_size(path, largest=LARGEST)
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else shown(str(error))
        raise LoangError(
            f"The labels in {path} can't be read: {reason}.", "Save them as a CSV file in UTF-8."
        ) from error
    rows = list(_json_lines(path, text) if path.suffix == ".jsonl" else _csv_lines(path, text))
    columns = list(rows[0]) if rows else []
    file_column = _column(path, columns, image_column, FILE_COLUMNS, "image_column", 0)
    if file_column is None:
        raise LoangError(f"{path} is empty.", "Give it a line for each image, or remove it.")
    wanted = [column for column in columns if column != file_column]
    found = _column(
        path, wanted, label_column, LABEL_COLUMNS, "label_column", 0 if len(wanted) == 1 else None
    )
    by_name = _by_name(rows, file_column)
    each = [by_name.get(key) for key in _keys(places, by_name)]
    missing = len(rows) - len({id(row) for row in each if row is not None})
    said = [f"Labels and parts are those of {path}."] if found else []
    if missing:
        said.append(
            f"{missing:,} of the {len(rows):,} lines of {path} name no image that is there."
        )
    return LabelFile(
        None if found is None else Labels.of(_plain([row and row.get(found) for row in each])),
        _split(each, columns),
        " ".join(said) or None,
    )


def find_labels(folder: Path) -> Path | None:
    """The file of labels that lies in a folder, if any does."""
    return next((folder / name for name in USUAL_NAMES if (folder / name).is_file()), None)


def _csv_lines(path: Path, text: str) -> Iterator[dict[str, Any]]:
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    try:
        lines = [line for line in csv.reader(io.StringIO(text), delimiter=delimiter) if line]
    except csv.Error as error:
        raise LoangError(
            f"{path} is no sound CSV file: {error}.", "Save it again from a spreadsheet."
        ) from error
    if not lines:
        return
    names = [name.strip() for name in lines[0]]
    known = {*FILE_COLUMNS, *LABEL_COLUMNS}
    named = len(names) != 2 or known & {name.casefold() for name in names}
    if not named and PurePosixPath(names[0]).suffix:  # a file: the first line is an image's
        names = ["file_name", "label"]
        lines.insert(0, names)
    for line in lines[1:]:
        yield dict(zip(names, (cell.strip() for cell in line), strict=False))


def _json_lines(path: Path, text: str) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            row = error
        if not isinstance(row, dict):
            raise LoangError(
                f"Line {number:,} of {path} is no JSON object.",
                'Write each as {"file_name": "a.png", "label": "cat"}.',
            )
        yield row


def _column(
    path: Path,
    columns: Sequence[str],
    wanted: str | None,
    usual: Sequence[str],
    setting: str,
    default: int | None,
) -> str | None:
    """The column of that name; else one with a usual name; else the default's."""
    if wanted is not None:
        if wanted not in columns:
            raise LoangError(
                f"{path} has no column {wanted!r}.",
                f"It has {shown(', '.join(columns))}: name one by --set data.{setting}=...",
            )
        return wanted
    folded = {column.casefold(): column for column in reversed(columns)}
    for name in usual:
        if name in folded:
            return folded[name]
    return columns[default] if default is not None and len(columns) > default else None


def _by_name(rows: Sequence[dict[str, Any]], column: str) -> dict[str, dict[str, Any]]:
    found = {}
    for row in rows:
        name = str(row.get(column, "")).replace("\\", "/").removeprefix("./")
        found[name] = row
    return found


def _keys(places: Sequence[str], known: Mapping[str, Any]) -> Iterator[str]:
    """By which name each image is known: its path, its file's name, or that without a suffix."""
    for place in places:
        path = PurePosixPath(place)
        names = (place, path.name, str(path.with_suffix("")), path.stem)
        yield next((name for name in names if name in known), "")


def _plain(values: Sequence[Any]) -> list[str | int | None]:
    """Whole numbers where all are, else words; what is empty is no label."""
    words = [None if value is None or str(value).strip() == "" else value for value in values]
    try:
        numbers = [None if word is None else int(str(word)) for word in words]
    except ValueError:
        return [None if word is None else str(word) for word in words]
    return list(numbers)


def _split(
    rows: Sequence[dict[str, Any] | None], columns: Sequence[str]
) -> Bool[np.ndarray, " n"] | None:
    folded = {column.casefold(): column for column in columns}
    column = next((folded[name] for name in SPLIT_COLUMNS if name in folded), None)
    if column is None:
        return None
    words = [str((row or {}).get(column, "")).casefold() for row in rows]
    held = np.array([word in HELD_OUT for word in words], bool)
    return held if held.any() and not held.all() else None
