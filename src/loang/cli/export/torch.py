"""`loang export torch`."""

from pathlib import Path
from typing import Annotated

import typer


def torch(
    model: Annotated[Path, typer.Argument(help="A run's folder, a model file, or built-in.")],
    out: Annotated[
        Path | None,
        typer.Option(help="The file to write.", show_default="MODEL.pt2, beside the model"),
    ] = None,
    precision: Annotated[str, typer.Option(help="float32, or float16: half the size.")] = "float32",
) -> None:
    """Write a model as a program of torch.export, for a server that has torch and no loang."""
    from loang import api
    from loang.cli.console import say
    from loang.interop import torch_program
    from loang.interop.departure import destination

    out = destination(model, out, torch_program.SUFFIX)
    made = torch_program.export(api.load(model, device="cpu"), out, precision=precision)
    for line in made.sentences():
        say(line)
