"""What the measured tables of the documentation are written with: rows, and how a number stands."""

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

Row = dict[str, str]


# Reading what was measured.


def read_rows(path: Path) -> list[Row]:
    """The rows of a CSV, as they stand there."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def read_json(path: Path) -> dict[str, Any]:
    """What a JSON file has."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def one(rows: Iterable[Mapping[str, Any]], **wanted: object) -> Any:
    """The one row that has these values."""
    found = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    if len(found) != 1:
        raise LookupError(f"{len(found)} rows have {wanted} where one should")
    return found[0]


# How it is written.


def grid(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    first, *rest = (
        "|".join(f" {cell} " if cell else " " for cell in line) for line in [head, *lines]
    )
    return "\n".join(f"|{line}|" for line in (first, "|".join("---" for _ in head), *rest))


def footer(rows: Sequence[Mapping[str, Any]], *names: str) -> str:
    """Which files of docs/measured the rows are from, what they were measured with, and when."""

    def all_of(*keys: str) -> str:
        found = {str(row[key]).partition("+")[0] for row in rows for key in keys if key in row}
        return " and ".join(sorted(found))

    libraries = (
        *("torch", "onnxruntime", "diffusers", "denoising-diffusion-pytorch", "tensorflow"),
        *("tensorflow-addons", "loang"),
    )
    versions = ", ".join(f"{name} {all_of(name)}" for name in libraries if all_of(name))
    links = ", ".join(f"[{name}](measured/{name})" for name in names)
    # The benchmarks call the hardware by three names.
    return f"{links}: {all_of('machine', 'device', 'hardware')}; {versions}; {all_of('date')}."


def number(value: float | str, places: int = 3) -> str:
    """A number with so many places, and a comma at the thousands."""
    return f"{float(value):,.{places}f}"


def with_error(row: Row) -> str:
    """A distance and its error. An error just between two is written as the larger one."""
    error = Decimal(row["error"]).quantize(Decimal("0.001"), ROUND_HALF_UP)
    return f"{number(row['distance'])} ± {error}"


def per_cent(share: str | float) -> str:
    """A share as 97.2 %."""
    return f"{100 * float(share):.1f} %"


def scale(row: Row) -> str:
    """A scale of guidance: 2.5, or none."""
    return "none" if float(row["guidance"]) == 1 else f"{float(row['guidance']):g}"


def bold(cells: Iterable[str], where: bool = True) -> list[str]:
    """Cells in bold, where they should be."""
    return [f"**{cell}**" if where else cell for cell in cells]


def distance(row: Row) -> float:
    """The distance of a row, to compare rows by."""
    return float(row["distance"])


def by_chance(first: tuple[float, float], second: tuple[float, float]) -> bool:
    """Whether two values are apart by no more than the standard error of their difference."""
    return abs(first[0] - second[0]) <= math.hypot(first[1], second[1])


def small(value: float) -> str:
    """A small number as 7.8e-7."""
    return f"{value:.1e}".replace("e-0", "e-") if value else "0"
