"""What the verbs print."""

import contextlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from loang.data.download import WAITING
from loang.data.download import Progress as OnProgress
from loang.files import shown
from loang.team.place import Place
from loang.training.budget import duration, twice
from loang.training.display import LastingConsole
from loang.training.folder import RunFolder

if TYPE_CHECKING:
    import loang.evaluation.comparison
    import loang.evaluation.report
    import loang.training.plan

MANY = 5000
"""Images that take so long to read that a person wonders."""

console = LastingConsole(highlight=False, soft_wrap=True)


def say(line: str = "") -> None:
    """One line, as it is."""
    console.print(line, markup=False)


class _AmountColumn(ProgressColumn):
    """Images are counted, all else is bytes."""

    counts, downloads = MofNCompleteColumn(), DownloadColumn()

    def render(self, task: Task) -> Text:
        """The column of one line."""
        column = self.counts if task.description.startswith("images") else self.downloads
        return column.render(task)


@contextlib.contextmanager
def download_bar() -> Iterator[OnProgress]:
    """A bar that appears when a download starts, or images are read; a line without a terminal."""
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        _AmountColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    tasks: dict[str, int] = {}

    def on_progress(what: str, done: int, total: int | None) -> None:
        if what not in tasks:
            if not console.is_terminal and what == "images read" and (total or 0) >= MANY:
                print(f"Reading {total:,} images ...", file=sys.stderr)  # not into --json's output
            if not console.is_terminal and what == WAITING:
                print("Another process reads these images: waiting for it ...", file=sys.stderr)
            bar.start()
            tasks[what] = bar.add_task(what, total=total)
        bar.update(tasks[what], completed=done, total=total)  # type: ignore[arg-type]

    try:
        yield on_progress
    finally:
        bar.stop()


@contextlib.contextmanager
def step_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar over a number of steps; nothing where there is no terminal."""
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task(what, total=None)

        def on_step(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield on_step


@contextlib.contextmanager
def stage_bar(quiet: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """One bar after another, each named for what is going on; a line each without a terminal.

    Args:
        quiet: show nothing.
    """
    said: set[str] = set()
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
    ) as bar:
        task = bar.add_task("starting", total=None)

        def on_stage(what: str, done: int, total: int) -> None:
            if what not in said:
                said.add(what)
                bar.reset(task)
                if not quiet and not console.is_terminal:
                    say(f"{what} ...")
            bar.update(task, description=what, completed=done, total=total)

        yield on_stage


@contextlib.contextmanager
def resumable(done: str = "drawn") -> Iterator[None]:
    """Says on Ctrl-C that nothing is lost of what was done, and leaves."""
    try:
        yield
    except KeyboardInterrupt:
        print(
            f"Stopped; what was {done} is kept: the same command goes on from there.",
            file=sys.stderr,
        )
        raise


def show_report(report: "loang.evaluation.report.Report", folder: Path) -> None:
    """What was found, in sentences and a table, and where all of it is."""
    from loang.evaluation import bits, output, words

    for notice in report.notices:
        say(notice)
    for space in report.spaces:
        say()
        print_table([f"in {space.name}", *words.heads(space)], words.rows(space))
        for note in words.notes(space):
            say(f"  {note}")
    if report.likelihood is not None:
        say()
        print_table(bits.HEADS, bits.rows(report.likelihood))
        for note in bits.notes(report.likelihood):
            say(f"  {note}")
    say()
    for sentence in words.sentences(report):
        say(f"- {sentence}")
    say()
    for name, what in (
        (output.PAGE, "the page to look at"),
        (output.MARKDOWN, "everything in words and tables"),
        (output.REPORT, "every number"),
    ):
        say(f"  {shown(folder / name)}  {what}")


def show_comparison(comparison: "loang.evaluation.comparison.Comparison", folder: Path) -> None:
    """The verdict, the table, and where all of it is."""
    from loang.evaluation import output

    for space, lines in comparison.lines.items():
        print_table([f"in {space}", *comparison.heads()], comparison.rows(lines))
    say()
    say(comparison.verdict)
    say()
    say(f"  {shown(folder / output.COMPARISON_MARKDOWN)}")
    say(f"  {shown(folder / output.COMPARISON)}")


def print_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns as wide as their longest cell, numbers to the right: a terminal may scroll them."""
    lines = [heads, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    for line in lines:
        first, *others = line
        cells = [first.ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        say("  ".join(cells))


def show_plan(plan: "loang.training.plan.Plan") -> None:
    """What a run would be: every setting, its size and its cost."""
    from loang.training.plan import estimate

    for section, values in plan.settings.to_dict().items():
        if isinstance(values, dict):
            for key, value in values.items():
                say(f"{section}.{key} = {json.dumps(value)}")
    say()
    for line in plan.describe():
        say(line)
    job = Place.here()
    cost = estimate(plan, processes=job.size)
    alone = job.size == 1
    say(
        f"about {cost.memory / 1e9:.1f} GB of memory{'' if alone else ' each'}, and"
        f" {duration(cost.seconds)} for {cost.images:,} images, at {cost.rate:.0f} a second (a"
        f" trial on a few images{'' if alone else f' by one of {job.size} processes'})"
    )


def show_result(folder: RunFolder) -> None:
    """Where everything is, and what to try next."""
    say()
    for path, what in (
        (folder.grid, "samples"),
        (folder.walk, "how they came from noise"),
        (folder.chart, "the losses"),
        (folder.card, "the run's card, with its numbers"),
        (folder.model, "the one file to keep"),
    ):
        if path.exists():
            say(f"  {shown(path)}  {what}")
    place = shown(folder.path)
    say()
    say("Next:")
    say(f"  loang sample {place} -n 100 --seed 1 --gif")
    settings, about = folder.read_config()
    if settings.training.objective == "consistency":  # it has learnt one walk
        say(f"  loang evaluate {place}")
        return
    way = "--sampler ddpm --steps 250"
    if settings.schedule.kind not in ("edm", "flow"):
        way = f"--sampler ddpm --steps {min(250, settings.schedule.steps)}"
    if settings.sampling.guidance != 1:
        way = "--guidance 1"  # more variety, and less clear
    elif about["images"].get("class_names") and getattr(settings.network, "no_label", True):
        way = "--guidance 2"
    say(f"  loang sample {place} {way} --out more.png")
    say(f"  loang show denoising {place}")
    say(f"  loang train --resume --out {place} {twice(settings.training.budget)}")
