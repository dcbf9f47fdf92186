"""`loang import`: one file a neighbour."""

import typer

app = typer.Typer(help="Bring a model from another tool.", no_args_is_help=True)
