"""How a model is sampled, as options of several verbs."""

from pathlib import Path
from typing import Annotated

import typer

from loang.sampling import SAMPLERS, SPACINGS

Sampler = Annotated[
    str | None,
    typer.Option(
        help="auto, or one of " + ", ".join(SAMPLERS[1:]) + ".", show_default="the model's"
    ),
]
Steps = Annotated[
    int | None,
    typer.Option(
        help="1 to the schedule's; of auto, evaluations of the network.", show_default="the model's"
    ),
]
Spacing = Annotated[
    str | None,
    typer.Option(help="Of the levels: " + ", ".join(SPACINGS) + ".", show_default="the model's"),
]
Levels = Annotated[
    str | None,
    typer.Option(metavar="T,T,..", help="Falling times, in place of --steps and --spacing."),
]
Eta = Annotated[float | None, typer.Option(help="ddim: 0 deterministic, 1 as noisy as ddpm.")]
Variance = Annotated[str | None, typer.Option(help="ddpm: fixed-small, fixed-large or learned.")]
Churn = Annotated[float | None, typer.Option(help="heun: noise put in over the walk; 0 for none.")]
Tolerance = Annotated[float | None, typer.Option(help="ode: the error allowed a step.")]
Guidance = Annotated[
    float | None,
    typer.Option(help="1 for none; more: the label counts for more.", show_default="the model's"),
]
GuidanceInterval = Annotated[
    str | None,
    typer.Option(metavar="LOW:HIGH", help="Guide only between these levels of noise / signal."),
]
GuidanceRescale = Annotated[
    float | None, typer.Option(help="0 to 1: how far guided contrast is put back.")
]
Guide = Annotated[
    Path | None, typer.Option(help="A worse model of these images: guide away from it.")
]
