"""What an evaluation leaves on the disk."""

import json
import math
from pathlib import Path
from typing import Any

from loang import files
from loang.evaluation import words
from loang.evaluation.comparison import Comparison
from loang.evaluation.markdown import markdown
from loang.evaluation.report import COLUMNS, Report
from loang.evaluation.table import Cell
from loang.pictures.evaluation_page import Bars, Curve, evaluation_page

REPORT, MARKDOWN, PAGE = "report.json", "report.md", "report.png"
COMPARISON, COMPARISON_MARKDOWN = "comparison.json", "comparison.md"


def write_report(report: Report, folder: Path) -> None:
    """report.json, report.md and report.png, each whole or not at all.

    Raises:
        LoangError: the disk is full, or the folder can't be written.
    """
    files.write_text(folder / REPORT, _json(report.to_dict()))
    _page(report, folder / PAGE)
    files.write_text(folder / MARKDOWN, markdown(report, PAGE))


def write_comparison(comparison: Comparison, folder: Path) -> None:
    """comparison.json and comparison.md.

    Raises:
        LoangError: the disk is full, or the folder can't be written.
    """
    files.write_text(folder / COMPARISON, _json(comparison.to_dict()))
    files.write_text(folder / COMPARISON_MARKDOWN, comparison.markdown())


def _json(values: dict[str, Any]) -> str:
    """Readable, and JSON to every reader: what is infinite or no number becomes null."""
    return json.dumps(_finite(values), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _page(report: Report, path: Path) -> None:
    space = report.space
    shown = {name: column for name, column in space.columns.items() if name != "noise"}
    bars = [
        Bars(
            title,
            [COLUMNS[name] for name in shown],
            [_point(column.cells[measure]) for column in shown.values()],
        )
        for measure, title in (
            ("frechet", "Fréchet distance ↓"),
            ("kid", "KID ↓"),
            ("precision", "Precision: looks real ↑"),
            ("recall", "Recall: varies ↑"),
        )
    ]
    by_class = None
    if space.by_class and report.classes is not None:
        by_class = Bars(
            f"Fréchet distance of each class (as many {COLUMNS['floor']} in grey) ↓",
            list(report.classes.names),
            [_point(samples) for samples, _ in space.by_class],
            [_point(floor) for _, floor in space.by_class],
        )
    curve = None
    if report.history:
        curve = Curve(
            f"Fréchet distance by training step ({report.history[0]['images']:,} samples each) ↓",
            [point["step"] for point in report.history],
            [(point["frechet"]["value"], point["frechet"]["error"]) for point in report.history],
            _point(space.columns["floor"].cells["frechet"])[0],
        )
    evaluation_page(
        path,
        title=f"{report.subject['name']} against {report.data['name']}",
        subtitle=_subtitle(report),
        sentences=words.sentences(report),
        gallery=report.gallery,
        bars=bars,
        by_class=by_class,
        curve=curve,
    )


def _subtitle(report: Report) -> str:
    way = words.sampled(report)
    return (
        f"{report.subject['images']:,} samples{f' ({way})' if way else ''} against"
        f" {report.data['reference']:,} training images, in {report.space.name}"
    )


def _point(cell: Cell) -> tuple[float | None, float | None]:
    """A value and its error, as far as they are known."""
    return (None, None) if cell.estimate is None else (cell.estimate.value, cell.estimate.error)
