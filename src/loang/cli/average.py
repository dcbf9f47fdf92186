"""`loang average`."""

from pathlib import Path
from typing import Annotated

import typer


def average(
    run: Annotated[Path, typer.Argument(help="The folder of a run that kept snapshots.")],
    length: Annotated[
        float | None,
        typer.Option(help="Of the average, as a share of the run: 0.08.", show_default="none"),
    ] = None,
    best: Annotated[
        bool, typer.Option("--best", help="Score several lengths, and take the best.")
    ] = False,
    samples: Annotated[
        int | None,
        typer.Option(
            help="Of --best: how many are drawn and measured for each; 0 takes the validation"
            " loss.",
            show_default="the run's",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="Of --best: where the images are now.", show_default="as the run's"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The model file.", show_default="RUN/average-LENGTH.safetensors"),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
) -> None:
    """Make a model with a longer or shorter average of the weights, after training."""
    from loang import api
    from loang.cli.console import download_bar, say
    from loang.files import shown

    with download_bar() as on_progress:
        made, path = api.average(
            run,
            length=length,
            best=best,
            samples=samples,
            data=data,
            out=out,
            device=device,
            say=say,
            on_progress=on_progress,
        )
    for line in made.sentences():
        say(line)
    say(f"  {shown(path)}")
