"""`loang export`: one file a neighbour."""

import typer

app = typer.Typer(help="Write a model for another tool.", no_args_is_help=True)
