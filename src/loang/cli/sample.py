"""`loang sample`."""

from pathlib import Path
from typing import Annotated

import typer


def sample(
    model: Annotated[
        Path | None,
        typer.Argument(help="A run's folder, or a model file.", show_default="the newest in runs/"),
    ] = None,
    count: Annotated[int, typer.Option("-n", "--count", help="How many.")] = 64,
    out: Annotated[
        Path,
        typer.Option(help="A sheet (.png, .webp), a stack (.tif), an array (.npy), or a folder."),
    ] = Path("samples.png"),
    seed: Annotated[int, typer.Option(help="The same seed gives the same images.")] = 0,
    label: Annotated[
        str | None, typer.Option(help="A class, by name or number.", show_default="all in turn")
    ] = None,
    sampler: Annotated[
        str | None, typer.Option(help="ddim or ddpm.", show_default="the model's")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="1 to the schedule's.", show_default="the model's")
    ] = None,
    eta: Annotated[
        float | None, typer.Option(help="ddim: 0 deterministic, 1 as noisy as ddpm.")
    ] = None,
    variance: Annotated[str | None, typer.Option(help="ddpm: fixed-small or fixed-large.")] = None,
    gif: Annotated[bool, typer.Option("--gif", help="Draw the walk from noise as well.")] = False,
    every: Annotated[
        int | None, typer.Option(min=1, help="Of the walk: every so many-th step is a frame.")
    ] = None,
    batch: Annotated[int, typer.Option(help="How many are drawn at once.")] = 64,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
) -> None:
    """Draw images with a trained model."""
    from loang import api, drawing
    from loang.cli.console import say, step_bar
    from loang.files import shown

    if model is None:
        model = api.newest_model()
        say(f"Sampling from {shown(model.parent)}, the newest model here.")
    loaded = api.load(model, device=device)
    settings = drawing.sampling(loaded, sampler, steps, eta, variance)
    with step_bar("sampling") as on_step:
        written = drawing.draw(
            loaded,
            count,
            out,
            seed=seed,
            settings=settings,
            label=label,
            gif=gif,
            every=every,
            batch=batch,
            on_step=on_step,
        )
    for path in written:
        say(f"  {shown(path)}")
