"""Labels that stand in a file beside the images: CSV or JSONL, a line an image."""

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Bool

from loang.data.collection import Labels
from loang.data.places.names import checked, listed
from loang.data.places.parts import SPLIT_COLUMNS, Parts, parts_of_column
from loang.data.wishes import Wishes
from loang.errors import LoangError
from loang.untrusted import plain_size, shown

USUAL_NAMES = ("labels.csv", "labels.jsonl", "metadata.csv", "metadata.jsonl")
"""Looked for in a folder of images, in this order; the last two are Hugging Face's."""
FILE_COLUMNS = ("file_name", "filename", "file", "path", "image", "image_id", "name", "id")
LABEL_COLUMNS = ("label", "labels", "class", "class_name", "category", "target", "y")
LARGEST = 2**28
"""Bytes of such a file: millions of lines."""


@dataclass(frozen=True)
class LabelFile:
    """What a file says of images, in the order of their paths.

    Args:
        labels: the classes; None where no column holds any.
        held_out: which are for validation; None where no column says so.
        kept: which are images of the collection; others are of a part that is left aside.
        notices: what a person should know of it.
    """

    labels: Labels | None
    held_out: Bool[np.ndarray, " n"] | None
    kept: Bool[np.ndarray, " n"]
    notices: tuple[str, ...] = ()


def read_labels(path: Path, places: Sequence[str], wishes: Wishes) -> LabelFile:
    """The labels of the images at those places.

    An image is found by its path within the folder, else by its file's name, else by that without
    the suffix. Labels that are all whole numbers are ordered as numbers.

    Args:
        path: ends in .jsonl, or is CSV with commas, semicolons or tabs, the first line naming the
            columns; a CSV of two columns may do without such a line.
        places: paths relative to the folder, with `/`.
        wishes: `image_column` names the images; None takes a usual one, else the first.
            `label_column` is the label; None takes a usual one, else the second of two, unless
            its values are nearly all different, as captions are. `labels` whether to take any.

    Raises:
        LoangError: the file can't be read, lacks a column, says two things of one image, or names
            none that is there.
    """
    columns, rows = _read(path)
    names = _column(path, columns, wishes.image_column, FILE_COLUMNS, "image_column")
    names = names or next(iter(columns), None)
    if names is None or not rows:
        raise LoangError(f"{path} is empty.", "Give it a line for each image, or remove it.")
    others = [column for column in columns if column != names]
    label, said = None, list[str]()
    if wishes.labels:
        label = _column(path, others, wishes.label_column, LABEL_COLUMNS, "label_column")
        if label is None and len(others) == 1 and _split_column(others) is None:
            label = others[0]
            if _are_captions([row.value(label) for row in rows]):
                said.append(
                    f"The column {listed([label])} of {path} is not taken as labels, as its values"
                    " are nearly all different: --set data.label_column=... names one that is."
                )
                label = None
        elif label is None and others:
            said.append(
                f"No column of {path} is taken as labels; it has {listed(others)}:"
                " --set data.label_column=... names one."
            )
    split = _split_column(others)
    everything = np.ones(len(places), bool)
    if label is None and split is None:
        return LabelFile(None, None, everything, tuple(said))
    used = [column for column in (label, split) if column is not None]
    by_name = _by_name(path, rows, names, used)
    each = [by_name.get(key) for key in _keys(path, places, by_name)]
    if places and not any(each):
        raise LoangError(
            f"No line of {path} names an image that is there: the first says"
            f" {listed([rows[0].value(names) or 'nothing'])}, and the first image is"
            f" {listed(places[:1])}.",
            "Write paths within the folder there, or file names; --set data.image_column=... names"
            " another column. Else do without the file.",
        )
    parts = Parts(everything, None, False)
    if split is not None:
        words = ["" if row is None else row.value(split) or "" for row in each]
        parts = parts_of_column(words, split, str(path))
    labels = None
    if label is not None:
        values = [None if row is None else row.value(label) for row in each]
        labels = checked(Labels.of(whole_or_words(values)), str(path), "Write it on one line")
    what = ["labels"] * (label is not None) + ["parts"] * parts.given
    if what:
        said.append(f"{' and '.join(what).capitalize()} are those of {path}.")
    missing = len(rows) - len({id(row) for row in each if row is not None})
    if missing:
        said.append(
            f"{missing:,} of the {len(rows):,} lines of {path} name no image that is there."
        )
    return LabelFile(labels, parts.held_out, parts.kept, (*said, *parts.notices))


def find_labels(folder: Path) -> Path | None:
    """The file of labels that lies in a folder, if any does."""
    return next((folder / name for name in USUAL_NAMES if (folder / name).is_file()), None)


def whole_or_words(values: Sequence[str | int | None]) -> list[str | int | None]:
    """Whole numbers where all are and are written in their shortest form, else words.

    So 007 and 7 stay two words.
    """
    try:
        numbers = [None if value is None else int(value) for value in values]
    except ValueError:
        numbers = []
    known = zip(values, numbers, strict=False)
    if numbers and all(value is None or str(value) == str(number) for value, number in known):
        return list(numbers)
    return [None if value is None else str(value) for value in values]


def whole_or_itself(value: Any) -> Any:
    """A whole number that is stored as a real one, as pandas does beside what is missing.

    NaN, which stands for what is missing, becomes None; whatever else stays as it is.
    """
    if not isinstance(value, float):
        return value
    return None if math.isnan(value) else int(value) if value.is_integer() else value


def without_signs_of_none(values: Sequence[Any]) -> list[Any]:
    """None for what says that there is no class: an empty word, and -1.

    But where all others are 1, -1 and 1 are two signs.
    """
    none = {None, ""} if set(values) - {None} == {-1, 1} else {None, "", -1}
    return [None if value in none else value for value in values]


@dataclass(frozen=True)
class _Row:
    """A line of the file."""

    path: Path
    number: int
    cells: dict[str, Any]

    def value(self, column: str) -> str | None:
        """A text; None where there is none.

        Raises:
            LoangError: it is an object or a list of JSON.
        """
        cell = self.cells.get(column)
        if isinstance(cell, dict | list):
            raise LoangError(
                f"Line {self.number:,} of {self.path} has no word or number as its"
                f" {listed([column])}, but {shown(cell)}.",
                "Write one word or number an image, or name another column by"
                " --set data.label_column=...",
            )
        text = "" if cell is None else str(cell).strip()
        return text or None


def _read(path: Path) -> tuple[list[str], list[_Row]]:
    """The names of all columns, and the lines."""
    try:
        plain_size(path, largest=LARGEST)
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else shown(str(error))
        raise LoangError(
            f"The labels in {path} can't be read: {reason}.", "Save them as a CSV file in UTF-8."
        ) from error
    if path.suffix.lower() != ".jsonl":
        return _csv_lines(path, text)
    rows = list(_json_lines(path, text))
    return list(dict.fromkeys(column for row in rows for column in row.cells)), rows


def _csv_lines(path: Path, text: str) -> tuple[list[str], list[_Row]]:
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    try:
        lines = [(reader.line_num, line) for line in reader if line]
    except csv.Error as error:
        raise LoangError(
            f"{path} is no sound CSV file: {error}.", "Save it again from a spreadsheet."
        ) from error
    if not lines:
        return [], []
    names = [name.strip() for name in lines[0][1]]
    known = {*FILE_COLUMNS, *LABEL_COLUMNS, *SPLIT_COLUMNS}
    named = len(names) != 2 or known & {name.casefold() for name in names}
    if not named and PurePosixPath(names[0]).suffix:  # a file: the first line is an image's
        names = ["file_name", "2"]
    else:
        del lines[0]
    return names, [_Row(path, n, dict(zip(names, line, strict=False))) for n, line in lines]


def _json_lines(path: Path, text: str) -> Iterator[_Row]:
    # Not by splitlines, for which a text of JSON may hold ends of lines.
    for number, line in enumerate(text.split("\n"), start=1):
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
        yield _Row(path, number, row)


def _column(
    path: Path, columns: Sequence[str], wanted: str | None, usual: Sequence[str], setting: str
) -> str | None:
    """The column of that name; else one with a usual name, if there is one."""
    if wanted is not None:
        if wanted not in columns:
            raise LoangError(
                f"{path} has no column {wanted!r}.",
                f"It has {listed(columns, 20)}: name one by --set data.{setting}=...",
            )
        return wanted
    folded = {column.casefold(): column for column in reversed(columns)}
    return next((folded[name] for name in usual if name in folded), None)


def _split_column(columns: Sequence[str]) -> str | None:
    folded = {column.casefold(): column for column in columns}
    return next((folded[name] for name in SPLIT_COLUMNS if name in folded), None)


def _are_captions(values: Sequence[str | None]) -> bool:
    """A class is of several images; a text that describes one is of that alone, mostly."""
    known = [value for value in values if value is not None]
    return 4 * len(set(known)) > 3 * len(known)


def _by_name(path: Path, rows: Sequence[_Row], names: str, used: Sequence[str]) -> dict[str, _Row]:
    """The line of each name.

    Raises:
        LoangError: two lines of one name say different things.
    """
    found = dict[str, _Row]()
    for row in rows:
        name = (row.value(names) or "").replace("\\", "/").removeprefix("./")
        if not name:  # or it would be the line of all images that none names
            continue
        other = found.setdefault(name, row)
        for column in used:
            if row.value(column) != other.value(column):
                raise LoangError(
                    f"Lines {other.number:,} and {row.number:,} of {path} both name"
                    f" {listed([name])}, and say {listed([str(other.value(column))])} and"
                    f" {listed([str(row.value(column))])} of it.",
                    "Write each image once; the path within the folder, such as a/1.png, tells"
                    " files of one name apart.",
                )
    return found


def _keys(path: Path, places: Sequence[str], known: Mapping[str, Any]) -> Iterator[str]:
    """By which name each image is known: its path, its file's name, or that without a suffix.

    Raises:
        LoangError: several images are known by one name.
    """
    first = dict[str, str]()
    for place in places:
        whole = PurePosixPath(place)
        names = (place, whole.name, str(whole.with_suffix("")), whole.stem)
        key = next((name for name in names if name in known), "")
        if key and first.setdefault(key, place) != place:
            raise LoangError(
                f"The name {listed([key])} in {path} is that of several images:"
                f" {listed([first[key], place])}.",
                "Write paths within the folder there, such as a/1.png.",
            )
        yield key
