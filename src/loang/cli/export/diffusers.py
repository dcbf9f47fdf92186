"""`loang export diffusers`."""

from pathlib import Path
from typing import Annotated

import typer


def diffusers(
    model: Annotated[Path, typer.Argument(help="A run's folder, a model file, or built-in.")],
    out: Annotated[Path, typer.Option(help="A new folder.")],
    custom: Annotated[
        bool,
        typer.Option(
            "--custom",
            help="Write a pipeline that asks loang for its images: for any model, where loang is"
            " installed too.",
        ),
    ] = False,
) -> None:
    """Write a pipeline's folder, which DDPMPipeline and DDIMPipeline open."""
    from loang.cli.console import say
    from loang.interop import diffusers as neighbour
    from loang.model import Model

    loaded = Model.load(model, on="cpu")
    if custom:
        neighbour.write_custom(loaded, out)
        code = str(out / "pipeline.py")
        say(
            f"DiffusionPipeline.from_pretrained({str(out)!r}, custom_pipeline={code!r},"
            " trust_remote_code=True)"
        )
        return
    for line in neighbour.write(loaded, out):
        say(line)
    say(f"DDPMPipeline.from_pretrained({str(out)!r})")
