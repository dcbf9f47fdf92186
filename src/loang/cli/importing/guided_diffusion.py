"""`loang import guided-diffusion`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, cast

import typer


class NoiseSchedule(StrEnum):
    """Those that the libraries have."""

    linear = "linear"
    cosine = "cosine"


def guided_diffusion(
    file: Annotated[
        Path, typer.Argument(help="ema_0.9999_N.pt or modelN.pt, or the same as safetensors.")
    ],
    image_size: Annotated[str, typer.Option(help="Of its images: 64, or 48x64.")],
    heads: Annotated[int, typer.Option(min=1, help="Of each attention: num_heads.")] = 4,
    head_channels: Annotated[
        int | None,
        typer.Option(min=1, help="In place of --heads: num_head_channels.", show_default="none"),
    ] = None,
    new_attention_order: Annotated[
        bool, typer.Option("--new-attention-order", help="use_new_attention_order was true.")
    ] = False,
    steps: Annotated[int, typer.Option(min=2, help="Of the diffusion: diffusion_steps.")] = 1000,
    noise_schedule: Annotated[
        NoiseSchedule, typer.Option(help="As it was trained.")
    ] = NoiseSchedule.linear,
    rescale_timesteps: Annotated[
        bool,
        typer.Option(
            "--rescale-timesteps",
            help="It was true, as improved-diffusion has it unless it is told not to.",
        ),
    ] = False,
    predict_xstart: Annotated[
        bool, typer.Option("--predict-xstart", help="It was true: the image is predicted.")
    ] = False,
    dropout: Annotated[
        float, typer.Option(min=0, max=1, help="Of training, should it go on.")
    ] = 0.0,
    out: Annotated[
        Path | None, typer.Option(help="The folder.", show_default="runs/guided-diffusion-FILE")
    ] = None,
) -> None:
    """Bring a model of OpenAI's guided-diffusion or improved-diffusion."""
    from loang.cli.importing.arrived import arrived, destination
    from loang.cli.options import size

    place = destination(out, "guided-diffusion", file)
    sides = cast(tuple[int, int], size(image_size))
    from loang.interop.guided_diffusion import Unseen, read

    unseen = Unseen(
        size=sides,
        heads=heads,
        head_width=head_channels,
        new_order=new_attention_order,
        steps=steps,
        schedule=noise_schedule.value,
        in_thousands=rescale_timesteps,
        predicts="x0" if predict_xstart else "eps",
        dropout=dropout,
    )
    arrived(read(file, unseen), place)
