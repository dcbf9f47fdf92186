"""The verbs, gathered; what they need is imported when they are called."""

import typer

import loang
from loang.cli import sample, show, train

app = typer.Typer(
    help="Train, sample and show diffusion models on your own images.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("train")(train.train)
app.command("sample")(sample.sample)
app.add_typer(show.app, name="show")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"loang {loang.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
    debug: bool = typer.Option(False, "--debug", help="Show where an error comes from."),
) -> None:
    """Train, sample and show diffusion models on your own images."""
