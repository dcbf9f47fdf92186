"""`loang export`: one file a neighbour."""

import typer

from loang.cli.export import diffusers, keras, onnx, torch

app = typer.Typer(help="Write a model for another tool.", no_args_is_help=True)
app.command("keras")(keras.keras)
app.command("diffusers")(diffusers.diffusers)
app.command("onnx")(onnx.onnx)
app.command("torch")(torch.torch)
