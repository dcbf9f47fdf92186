"""Which column of a table holds the images, and which the labels."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from loang.data.collection import Labels
from loang.data.places.labels import whole_or_itself, without_signs_of_none
from loang.data.places.parts import SPLIT_COLUMNS
from loang.errors import LoangError
from loang.untrusted import parse_json, shown

IMAGE_NAMES = ("image", "img", "picture", "jpg", "jpeg", "png", "webp", "photo", "pixels")
LABEL_NAMES = ("label", "labels", "class", "fine_label", "cls", "category", "class_name", "target")
PIXELS = {
    "uint8": "uint8",
    "uint16": "uint16",
    "halffloat": "float32",
    "float": "float32",
    "double": "float32",
}
RARELY_PIXELS = {
    "bool": "uint8",
    **dict.fromkeys(("int8", "int16", "int32", "int64", "uint32", "uint64"), "float32"),
}
DEPTHS = PIXELS | RARELY_PIXELS
"""Arrow's types of values, and how they are kept; see `values`.

Boxes and masks are lists of the rarer ones, so these are images only where nothing else is.
"""
MOST_NAMES = 2**16
LISTED = 400  # characters of all columns in a message

Kind = Literal["file", "bytes", "numbers"]


@dataclass(frozen=True)
class Columns:
    """What of a table is used.

    Args:
        image: the column of the images.
        kind: a struct of `bytes` and `path`, encoded pictures alone, or nested lists of numbers.
        label: the column of the labels, if any.
        class_names: of the labels 0, 1, ..., where the table names them.
    """

    image: str
    kind: Kind
    label: str | None
    class_names: tuple[str, ...] = ()


def choose_columns(
    schema: Any, name: str, image_column: str | None = None, label_column: str | None = None
) -> Columns:
    """The columns that a person named, or those that can be no others.

    Hugging Face's `datasets` writes what it knows of the columns into the schema.

    Args:
        schema: pyarrow's.
        name: of the file, for messages.

    Raises:
        LoangError: no column can be the one, or several can.
    """
    counts = Counter(schema.names)
    types = {field.name: field.type for field in schema if counts[field.name] == 1}
    features = _features(schema)
    labels = {column for column in types if _is_label(types[column])}
    images = {
        column: kind
        for column in types
        if (kind := _image_kind(types[column])) is not None
        and _feature(features, column).get("_type", "Image") != "Audio"
    }
    image = _image(images, types, name, image_column)
    named = {c for c in labels if _feature(features, c).get("_type") == "ClassLabel"}
    label = _label(labels, named, types, name, label_column)
    return Columns(image, images[image], label, class_names(schema, label))


def class_names(schema: Any, column: str | None) -> tuple[str, ...]:
    """Of the labels 0, 1, ... in a column, where its table names them."""
    return () if column is None else _names(_feature(_features(schema), column))


def find_split(schema: Any, columns: Columns) -> str | None:
    """The column of words that say the part of each row, if one has a usual name."""
    taken = (columns.image, columns.label)
    texts = {f.name for f in schema if _is_text(f.type) and f.name not in taken}
    once = {name for name in texts if schema.names.count(name) == 1}
    return next(_usual(SPLIT_COLUMNS, once), None)


def labels_of(columns: Columns, values: Sequence[Any]) -> Labels | None:
    """The classes of all images, from the column of labels; see `without_signs_of_none`.

    Raises:
        ValueError: a value is a real number that is not whole.
    """
    values = [whole_or_itself(value) for value in values]
    odd = next((value for value in values if isinstance(value, float)), None)
    if odd is not None:
        raise ValueError(f"its value {odd:g} is not whole")
    if columns.class_names:
        numbers = range(len(columns.class_names))
        each = [value if value in numbers else -1 for value in values]
        return Labels(columns.class_names, np.array(each, np.int64))
    known = without_signs_of_none(values)
    return Labels.of([None if value is None else _plain(value) for value in known])


def unusable_label(schema: Any, columns: Columns) -> str | None:
    """The column with a usual name for labels, and its type, where that can be none."""
    types = {f.name: f.type for f in schema if f.name != columns.image}
    column = next(_usual(LABEL_NAMES, types), None)
    return None if column is None else f"{shown(column)} ({shown(str(types[column]), 60)})"


def is_struct(kind: Any) -> bool:
    """Whether a type of pyarrow's has named fields."""
    import pyarrow.types

    return bool(pyarrow.types.is_struct(kind))


def is_list(kind: Any) -> bool:
    """Whether a type of pyarrow's is one of lists."""
    import pyarrow.types as of

    return bool(of.is_list(kind) or of.is_large_list(kind) or of.is_fixed_size_list(kind))


def _plain(value: Any) -> str | int:
    return value if isinstance(value, str) else int(value)


def _image(
    images: Mapping[str, Kind], types: Mapping[str, Any], name: str, wanted: str | None
) -> str:
    if wanted is not None:
        if wanted in images:
            return wanted
        what = f"is {shown(str(types[wanted]))}" if wanted in types else "is not there"
        raise LoangError(
            f"The column {shown(wanted)} of {name} {what}, so it holds no images; the columns are"
            f" {_listed(types)}.",
            "Name one by --set data.image_column=..., of encoded pictures (binary) or of lists of"
            " lists of numbers.",
        )
    if likely := {c: kind for c, kind in images.items() if _values(types[c]) not in RARELY_PIXELS}:
        images = likely
    encoded = [column for column in images if images[column] == "file"]
    usual = list(_usual(IMAGE_NAMES, images))
    for group in (list(images), usual[:1], encoded):
        if len(group) == 1:
            return group[0]
    several = f"Several columns of {name} can hold the images" if images else None
    raise LoangError(
        f"{several or f'No column of {name} holds images'}; the columns are {_listed(types)}.",
        f"Choose one by --set data.image_column={next(iter(images))}."
        if images
        else "Images are encoded pictures (binary) or lists of lists of numbers: name a column of"
        " such by --set data.image_column=...",
    )


def _label(
    labels: set[str], named: set[str], types: Mapping[str, Any], name: str, wanted: str | None
) -> str | None:
    if wanted is not None:
        if wanted in labels:
            return wanted
        what = f"is {shown(str(types[wanted]))}" if wanted in types else "is not there"
        raise LoangError(
            f"The column {shown(wanted)} of {name} {what}, so it holds no labels; the columns are"
            f" {_listed(types)}.",
            "Name one of whole numbers or words by --set data.label_column=...",
        )
    usual = next(_usual(LABEL_NAMES, labels), None)
    if usual is None and len(named) == 1:
        return next(iter(named))
    return usual


def _usual(names: Sequence[str], columns: Mapping[str, Any] | set[str]) -> Iterator[str]:
    folded = {column.casefold(): column for column in columns}
    return (folded[name] for name in names if name in folded)


def _listed(types: Mapping[str, Any]) -> str:
    return shown(", ".join(f"{c} ({shown(str(types[c]), 60)})" for c in types), LISTED) or "none"


def _storage(kind: Any) -> Any:
    """The type that an extension type is kept as; `datasets` has some for arrays."""
    return getattr(kind, "storage_type", kind)


def _is_binary(kind: Any) -> bool:
    import pyarrow.types as of

    return bool(of.is_binary(kind) or of.is_large_binary(kind) or of.is_binary_view(kind))


def _image_kind(kind: Any) -> Kind | None:
    """How a column of that type would hold images, if it can."""
    kind = _storage(kind)
    if _is_binary(kind):
        return "bytes"
    if is_struct(kind):
        index = kind.get_field_index("bytes")
        return "file" if index >= 0 and _is_binary(kind.field(index).type) else None
    depth = 0
    while is_list(kind):
        kind, depth = kind.value_type, depth + 1
    return "numbers" if depth in (2, 3) and str(kind) in DEPTHS else None


def _values(kind: Any) -> str:
    """The type of what is in lists, or in none."""
    kind = _storage(kind)
    while is_list(kind):
        kind = kind.value_type
    return str(kind)


def _is_label(kind: Any) -> bool:
    import pyarrow.types as of

    plain = kind.value_type if of.is_dictionary(kind) else kind
    numbers = (of.is_integer, of.is_boolean, of.is_floating)  # real ones may all be whole
    return _is_text(kind) or any(each(plain) for each in numbers)


def _is_text(kind: Any) -> bool:
    import pyarrow.types as of

    kind = kind.value_type if of.is_dictionary(kind) else kind
    return bool(of.is_string(kind) or of.is_large_string(kind) or of.is_string_view(kind))


def _features(schema: Any) -> dict[str, Any]:
    """What `datasets` wrote of the columns; nothing where it didn't, or it can't be read."""
    try:
        content = parse_json((schema.metadata or {})[b"huggingface"].decode())
        features = content["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    return features if isinstance(features, dict) else {}


def _feature(features: Mapping[str, Any], column: str) -> dict[str, Any]:
    feature = features.get(column)
    return feature if isinstance(feature, dict) else {}


def _names(feature: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the classes, where each has one of its own."""
    names = feature.get("names")
    if feature.get("_type") != "ClassLabel" or not isinstance(names, list):
        return ()
    sound = all(isinstance(each, str) and each for each in names) and len(names) <= MOST_NAMES
    return tuple(names) if sound and len(set(names)) == len(names) else ()
