"""The verbs, gathered; what they need is imported when they are called."""

from typing import Annotated

import typer

import loang
from loang.cli import (
    average,
    bench,
    distill,
    doctor,
    edit,
    evaluate,
    export,
    importing,
    push,
    sample,
    show,
    train,
)
from loang.cli.together import helped

app = typer.Typer(
    help="Train, sample, measure and show diffusion models on your own images.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("train")(train.train)
app.command("distill")(distill.distill)
app.command("sample")(helped(sample.sample))
app.add_typer(edit.app, name="edit")
app.command("evaluate")(helped(evaluate.evaluate))
app.command("average")(average.average)
app.add_typer(bench.app, name="bench")
app.command("doctor")(doctor.doctor)
app.add_typer(show.app, name="show")
app.command("push")(push.push)
app.add_typer(export.app, name="export")
app.add_typer(importing.app, name="import")


def _version(wanted: bool | None) -> None:
    if wanted:
        typer.echo(f"loang {loang.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool | None,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error comes from.")] = False,
) -> None:
    """Train, sample, measure and show diffusion models on your own images."""
