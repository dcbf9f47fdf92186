"""`loang import denoising-diffusion`."""

from pathlib import Path
from typing import Annotated, cast

import typer


def denoising_diffusion(
    file: Annotated[
        Path,
        typer.Argument(help="What its Trainer saved: results/model-N.pt, or as safetensors."),
    ],
    image_size: Annotated[
        str, typer.Option(help="Of its images, which the file does not tell: 64, or 48x64.")
    ],
    raw: Annotated[
        bool, typer.Option("--raw", help="The weights as trained, in place of their average.")
    ] = False,
    period: Annotated[
        float, typer.Option(help="Of the time's code: sinusoidal_pos_emb_theta.")
    ] = 10_000.0,
    groups: Annotated[
        int, typer.Option(min=1, help="Of the norms of version 1: resnet_block_groups.")
    ] = 8,
    out: Annotated[
        Path | None,
        typer.Option(help="The folder.", show_default="runs/denoising-diffusion-FILE"),
    ] = None,
) -> None:
    """Bring a model of denoising-diffusion-pytorch, from its version 1.9 on."""
    from loang.cli.importing.arrived import arrived, destination
    from loang.cli.options import size

    place = destination(out, "denoising-diffusion", file)
    sides = cast(tuple[int, int], size(image_size))
    from loang.interop.denoising_diffusion import read

    arrived(read(file, sides, raw=raw, period=period, groups=groups), place)
