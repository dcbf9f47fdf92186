"""`loang export keras`."""

from pathlib import Path
from typing import Annotated

import typer


def keras(
    model: Annotated[Path, typer.Argument(help="A run's folder, a model file, or built-in.")],
    out: Annotated[
        Path | None,
        typer.Option(help="The file to write.", show_default="MODEL.keras, beside the model"),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1, help="Of the walk that the script takes.", show_default="the model's, of DDIM"
        ),
    ] = None,
) -> None:
    """Write a model for Keras, and a script that samples with it: TensorFlow, JAX or torch."""
    from loang import api
    from loang.cli.console import say
    from loang.files import shown
    from loang.interop.departure import destination
    from loang.interop.keras.write import SCRIPT, SUFFIX, write

    out = destination(model, out, SUFFIX)
    path, script = write(api.load(model, device="cpu"), out, steps=steps)
    say(f"  {shown(path)}  the model, for Keras 3")
    if script is None:
        say(f"{SCRIPT} beside it is another one, and was left as it is.")
        return
    say(f"  {shown(script)}  draws images with it")
    say()
    say("Next, wherever Keras is, with TensorFlow, JAX or torch:")
    say(f"  python {shown(script)} {shown(path)} -n 16 --out drawn.png")
