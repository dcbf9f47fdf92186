"""`loang import keras`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, cast

import typer


class Times(StrEnum):
    """Which time steps were trained."""

    article = "article"
    paper = "paper"


class Range(StrEnum):
    """Of the images' values in training."""

    unit = "0..1"
    both = "-1..1"


def keras(
    file: Annotated[
        Path,
        typer.Argument(
            help="The folder of the CheckpointManager (its newest), one checkpoint in it"
            " (checkpoints/ckpt-12), or a .h5, .weights.h5 or .keras file."
        ),
    ],
    image_size: Annotated[
        str, typer.Option(help="Of its images, which the file does not tell: 32, or 48x64.")
    ] = "32",
    steps: Annotated[int, typer.Option(help="The code's timesteps.", min=3)] = 500,
    beta_start: Annotated[float, typer.Option(help="The code's a_min.")] = 1e-4,
    beta_end: Annotated[float, typer.Option(help="The code's a_max.")] = 0.02,
    times: Annotated[
        Times,
        typer.Option(
            help="article: its code's, t = 0..T-1 with alpha_bar one behind; paper: t = 1..T, in"
            " code that was mended."
        ),
    ] = Times.article,
    value_range: Annotated[
        Range, typer.Option("--range", help="Of the images' values in training.")
    ] = Range.unit,
    budget: Annotated[
        str, typer.Option(help="Of the whole training, where it is gone on with.")
    ] = "50 epochs",
    out: Annotated[
        Path | None, typer.Option(help="The folder.", show_default="runs/keras-FILE")
    ] = None,
) -> None:
    """Bring a model that the article's TensorFlow code has trained, and its optimizer.

    What `loang export keras` wrote comes back as it was; it needs no options.
    """
    from loang.cli.console import say
    from loang.cli.importing.arrived import destination
    from loang.cli.options import size
    from loang.files import shown

    place = destination(out, "keras", file)
    sides = cast(tuple[int, int], size(image_size))
    from loang.interop.keras import read
    from loang.interop.keras.going_on import leave

    found = read(
        file,
        size=sides,
        steps=steps,
        beta_start=beta_start,
        beta_end=beta_end,
        times=times.value,
        values=value_range.value,
        budget=budget,
    )
    path = leave(found, place)
    weights = sum(parameter.numel() for parameter in found.model.denoiser.parameters())
    say(f"A network of {weights:,} parameters: {found.model.spec.described}")
    for notice in found.notices:
        say(notice)
    say(f"  {shown(path)}")
    say()
    say("Next:")
    say(f"  loang sample {shown(place)}")
    if found.moments is not None:
        say(f"  loang train DATA --resume --out {shown(place)}  # the images that it learned from")
