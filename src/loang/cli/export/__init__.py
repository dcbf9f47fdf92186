"""`loang export`: one file a neighbour."""

import typer

from loang.cli.export import diffusers, keras

app = typer.Typer(help="Write a model for another tool.", no_args_is_help=True)
app.command("keras")(keras.keras)
app.command("diffusers")(diffusers.diffusers)
