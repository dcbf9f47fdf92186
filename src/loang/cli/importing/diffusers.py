"""`loang import diffusers`."""

from pathlib import Path
from typing import Annotated

import typer


def diffusers(
    pipeline: Annotated[
        str, typer.Argument(help="A pipeline's folder, or owner/name of the Hugging Face hub.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="A new folder.", show_default="runs/NAME")
    ] = None,
) -> None:
    """Bring a pipeline of a UNet2DModel and a scheduler, as google/ddpm-cifar10-32."""
    from loang.cli.console import say
    from loang.files import shown
    from loang.interop import arrival
    from loang.interop import diffusers as neighbour

    folder = out or Path("runs") / (Path(pipeline).resolve().name.partition("@")[0] or "diffusers")
    arrival.check_free(folder)
    model, notices = neighbour.read(neighbour.located(pipeline), pipeline)
    arrival.settle(model, folder)
    for line in notices:
        say(line)
    say(f"Images of {model.spec.described}: loang sample {shown(folder)}")
