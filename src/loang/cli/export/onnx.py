"""`loang export onnx`."""

from pathlib import Path
from typing import Annotated

import typer


def onnx(
    model: Annotated[Path, typer.Argument(help="A run's folder, a model file, or built-in.")],
    out: Annotated[
        Path | None,
        typer.Option(help="The file to write.", show_default="MODEL.onnx, beside the model"),
    ] = None,
    precision: Annotated[str, typer.Option(help="float32, or float16: half the size.")] = "float32",
    opset: Annotated[
        int | None, typer.Option(help="Of the operators, 14 or more.", show_default="18")
    ] = None,
) -> None:
    """Write a model as ONNX, with a sampler that needs only numpy and onnxruntime."""
    from loang import api
    from loang.cli.console import say
    from loang.files import shown
    from loang.interop.departure import destination
    from loang.interop.onnx import export

    out = destination(model, out, export.SUFFIX)
    made = export.export(api.load(model, device="cpu"), out, precision=precision, opset=opset)
    for line in made.sentences():
        say(line)
    say(f"  {shown(made.path)}")
    if made.script is not None:
        say(f"  python {shown(made.script)} {shown(made.path)} -n 16")
