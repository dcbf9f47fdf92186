"""How far what peers.py has drawn is from real images, as a table.

    python benchmarks/peers_quality.py peers/*.npy --table docs/measured/peers.csv --sheet peers.png

Each file is measured as `loang evaluate FILE fashion-mnist` measures it, against 10,000 training
images; other real images, as many as the largest file has, are a row of their own. Rows that stand
in the table are not measured again. The sheet shows the first of each file.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from judge import Table
from peer_tables import TRAINED

import loang
from loang.evaluation.report import Report
from loang.evaluation.table import Cell
from loang.pictures.contact_sheet import Section, contact_sheet

COLUMNS = {"distance": "frechet", "kid": "kid", "precision": "precision", "recall": "recall"}


def measured(cells: Mapping[str, Cell]) -> dict[str, float | None]:
    """A column of a report."""
    row: dict[str, float | None] = {}
    for title, name in COLUMNS.items():
        found = cells[name].estimate
        row[title] = None if found is None else round(found.value, 5)
        if title in ("distance", "kid"):
            row["error" if title == "distance" else "kid_error"] = (
                None if found is None or found.error is None else round(found.error, 5)
            )
    return row


def rows(report: Report, about: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What was drawn, and as many other real images."""
    space = report.spaces[0]
    both = []
    for kind, column in (("samples", "samples"), ("real", "floor")):
        drawn = kind == "samples"
        both.append(
            {
                "name": about["name"] if drawn else "real images",
                "minutes": f"{about['minutes']:g}" if drawn else "",
                "package": about["package"] if drawn else "",
                "parameters": about["parameters"] if drawn else "",
                "batch": about["batch"] if drawn else "",
                "images": about["images"] if drawn else "",
                "training_seconds": round(about["training_seconds"], 1) if drawn else "",
                "rate": (about["rate"] or "") if drawn else "",
                "evaluations": about["evaluations"] if drawn else "",
                "samples": space.columns[column].count,
                **measured(space.columns[column].cells),
                "features": space.name,
                "machine": about["hardware"],
                "torch": about["torch"],
                "loang": loang.__version__,
                "date": about["date"],
            }
        )
    return both


def shown(place: Path, count: int = 20) -> Section:
    """The first of a file, under what ran."""
    about = json.loads(place.with_suffix(".json").read_text(encoding="utf-8"))
    name = TRAINED[about["name"]].replace("*", "").replace("`", "")
    title = f"{name}: {about['minutes']:g} minutes, {about['images']:,} images"
    return Section(title, list(np.load(place)[:count]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("drawn", type=Path, nargs="+", help=".npy, beside a .json of that name")
    parser.add_argument("--table", type=Path, default=Path("peers.csv"))
    parser.add_argument("--sheet", type=Path, help="a PNG of the first samples of each file")
    asked = parser.parse_args()
    if asked.sheet:
        sections = [shown(place) for place in asked.drawn]
        contact_sheet(sections, columns=20).save(asked.sheet, optimize=True)
    table = Table(asked.table, ["name", "minutes", "samples"])
    for place in asked.drawn:
        about = json.loads(place.with_suffix(".json").read_text(encoding="utf-8"))
        key = {"name": about["name"], "minutes": f"{about['minutes']:g}"}
        if table.has({**key, "samples": about["samples"]}):
            continue
        for row in rows(loang.evaluate(place, "fashion-mnist"), about):
            if not table.has(row):
                table.add(row)


if __name__ == "__main__":
    main()
