"""`loang distill`."""

from pathlib import Path
from typing import Annotated

import typer


def distill(
    model: Annotated[
        Path,
        typer.Argument(help="What walks many steps: a run, a model file, or hub:owner/name."),
    ],
    data: Annotated[
        str | None,
        typer.Argument(
            help="Images, as for `loang train`.", show_default="those that the model learned from"
        ),
    ] = None,
    steps: Annotated[int, typer.Option(help="Of the new model's walk.")] = 2,
    guidance: Annotated[
        float | None,
        typer.Option(
            help="Of the model's walk that is learnt; 1: none.", show_default="3 with labels"
        ),
    ] = None,
    duration: Annotated[
        str | None,
        typer.Option("--for", metavar="TIME", help="Length as time.", show_default="the model's"),
    ] = None,
    epochs: Annotated[float | None, typer.Option(help="Length in epochs.")] = None,
    images: Annotated[int | None, typer.Option(help="Length in images seen.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="The run's folder.", show_default="runs/MODEL-STEPS-steps")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run there.")] = False,
    seed: Annotated[int | None, typer.Option(help="Of everything random.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = None,
    precision: Annotated[str | None, typer.Option(help="auto, float32 or bfloat16.")] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Any setting: optimizer.learning_rate=1e-4."
        ),
    ] = None,
    track: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Tell tensorboard, trackio, wandb or mlflow; repeatable."
        ),
    ] = None,
) -> None:
    """Make a model that draws in two steps, or so, what another draws in many.

    It is a run as any other: go on with one by `loang train --resume --out DIR`.
    """
    from loang.cli import options
    from loang.cli.console import console, download_bar, show_result

    budget = options.length(duration, epochs, images)
    wishes = [] if guidance is None else [f"distillation.guidance={guidance}"]

    from loang.training.display import ConsoleDisplay
    from loang.training.distill import start
    from loang.training.run import Run

    with download_bar() as on_progress:
        run = start(
            model,
            data,
            steps=steps,
            out=out,
            overwrite=overwrite,
            track=track,
            on_progress=on_progress,
            budget=budget,
            seed=seed,
            device=device,
            precision=precision,
            changes=[*wishes, *(changes or ())],
        )
    run.train(ConsoleDisplay(console))
    if isinstance(run, Run):  # the others of a job follow, and are silent
        show_result(run.folder)
