"""`loang doctor`."""

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from loang.doctor.finding import Diagnosis

SIGNS = {"wrong": "✗", "warning": "!", "note": "·", "good": "✓"}
PLAIN = {"wrong": "x", "warning": "!", "note": "-", "good": "+"}
COLORS = {"wrong": "bold red", "warning": "yellow", "note": "cyan", "good": "green"}


def doctor(
    target: Annotated[
        str | None,
        typer.Argument(
            help="A run's folder, a model file, or images as for `loang train`.",
            show_default="the newest run",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="Where a run's images are now.", show_default="where it found them"),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(
            "-n", "--count", help="Images to measure errors on.", show_default="256, or fewer"
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write doctor.json and pictures there.", show_default="RUN, or doctor-DATA"
        ),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print doctor.json, and nothing else.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of images, noise and samples.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    size: Annotated[
        str | None, typer.Option(metavar="HxW", help="Of images: as for `loang train`.")
    ] = None,
    fit: Annotated[str | None, typer.Option(help="The same: crop, pad or stretch.")] = None,
    channels: Annotated[str | None, typer.Option(help="The same: grey, rgb or rgba.")] = None,
    labels: Annotated[
        bool | None, typer.Option("--labels/--no-labels", help="The same: look at classes.")
    ] = None,
    labels_file: Annotated[Path | None, typer.Option(help="The same: CSV or JSONL.")] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="The same: any setting."),
    ] = None,
    cache: Annotated[
        bool, typer.Option("--cache", help="List what lies in loang's cache, and no more.")
    ] = False,
    clear: Annotated[bool, typer.Option("--clear", help="With --cache: delete all of it.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --clear: do not ask.")] = False,
) -> None:
    """Say what is right and what is wrong with a run or with images.

    Of a run: is it learning, and why are its samples so? Of images: what is there, what is wrong,
    what will be done about it, and how to start.
    """
    if cache or clear:
        from loang.cli.cache import show_cache

        show_cache(target, listed=cache, clear=clear, yes=yes, json=json)
        return

    from loang import api
    from loang.cli import options
    from loang.cli.console import download_bar, stage_bar
    from loang.files import check_folder

    if out is not None:
        check_folder(out)
    target = str(api.newest_model().parent) if target is None else target
    with stage_bar(quiet=json) as on_stage, download_bar() as on_progress:
        diagnosis = api.doctor(
            target,
            data,
            count=count,
            seed=seed,
            device=device,
            asked={
                "size": options.size(size),
                "fit": fit,
                "channels": options.channels(channels),
                "labels": labels,
                "labels_file": None if labels_file is None else str(labels_file),
                "changes": tuple(changes or ()),
            },
            on_stage=on_stage,
            on_progress=on_progress,
        )
    written = _write(diagnosis, target, out, quiet=json)
    if json:
        from loang.doctor.output import as_json

        typer.echo(as_json(diagnosis), nl=False)
    else:
        show(diagnosis, written)


def _write(diagnosis: "Diagnosis", target: str, out: Path | None, quiet: bool) -> list[Path]:
    """Into the folder that was asked for, or beside the run, if that may be written."""
    from loang.doctor import output
    from loang.errors import LoangError

    if diagnosis.kind == "data":
        return _write_data(diagnosis, target, out, quiet)

    if out is not None:
        return output.write(diagnosis, out)
    if diagnosis.kind != "run":
        return []
    # A run on a disk that can only be read can be examined all the same.
    with contextlib.suppress(LoangError):
        return output.write(diagnosis, Path(target))
    return []


def _write_data(diagnosis: "Diagnosis", target: str, out: Path | None, quiet: bool) -> list[Path]:
    """Into the folder that was asked for, or a new one here; with --json only where asked."""
    from loang.doctor import data_sheets
    from loang.doctor.data import DataDiagnosis
    from loang.errors import LoangError

    assert isinstance(diagnosis, DataDiagnosis)
    if out is not None:
        return data_sheets.write(diagnosis, out)
    if not quiet:
        # In a place that can only be read, what is printed is enough.
        with contextlib.suppress(LoangError):
            return data_sheets.write(diagnosis, data_sheets.default_folder(target))
    return []


def show(diagnosis: "Diagnosis", written: list[Path]) -> None:
    """The findings, the gravest first; the answers; the numbers; and where they are.

    Of images, what is there comes first, and the command to start with last.
    """
    from loang.cli.console import say
    from loang.files import shown

    if diagnosis.kind == "data":
        _show_tables(diagnosis)
    _show_findings(diagnosis)
    for answer in diagnosis.answers:
        say()
        say(answer.question)
        say(f"  {answer.answer}")
    if diagnosis.kind != "data":
        _show_tables(diagnosis)
    if written:
        say()
    for path in written:
        say(f"  {shown(path)}")


def _show_findings(diagnosis: "Diagnosis") -> None:
    from loang.cli.console import console, say

    signs = SIGNS if _has_signs() else PLAIN
    say()
    for finding in diagnosis.findings:
        sign = f"{signs[finding.verdict]} {finding.verdict:<7}"
        console.print(sign, style=COLORS[finding.verdict], end=" ", markup=False)
        say(finding.what)
        if finding.remedy:
            say(f"{'':{len(sign)}} -> {finding.remedy}")


def _show_tables(diagnosis: "Diagnosis") -> None:
    from loang.cli.console import print_table, say

    for table in diagnosis.tables:
        say()
        say(table.title)
        print_table(table.heads, table.rows)
        if table.note:
            say(f"  {table.note}")


def _has_signs() -> bool:
    """Whether the terminal, or the file that is written to, can show them."""
    try:
        "".join(SIGNS.values()).encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
