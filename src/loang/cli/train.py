"""`loang train`."""

from pathlib import Path
from typing import Annotated

import typer


def train(
    data: Annotated[
        str | None,
        typer.Argument(
            help="fashion-mnist, a folder of images, a .npy, .npz, .parquet, .arrow, .tar or IDX"
            " file, or hub:owner/name.",
            show_default="the preset's",
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="quick, tutorial (the article) or ddpm-cifar10 (Ho et al. 2020).",
            show_default="quick",
        ),
    ] = None,
    duration: Annotated[
        str | None, typer.Option("--for", metavar="TIME", help="Length as time: 5m, 1h30m.")
    ] = None,
    epochs: Annotated[float | None, typer.Option(help="Length in epochs.")] = None,
    images: Annotated[int | None, typer.Option(help="Length in images seen.")] = None,
    size: Annotated[
        str | None, typer.Option(metavar="HxW", help="Resize the images: 32, or 48x64.")
    ] = None,
    fit: Annotated[
        str | None,
        typer.Option(help="Of other shapes: crop, pad or stretch.", show_default="crop"),
    ] = None,
    channels: Annotated[
        str | None, typer.Option(help="Convert to grey, rgb or rgba.", show_default="as they are")
    ] = None,
    labels: Annotated[
        bool | None, typer.Option("--labels/--no-labels", help="Learn the classes, if there are.")
    ] = None,
    labels_file: Annotated[
        Path | None,
        typer.Option(
            help="CSV or JSONL: a line an image.", show_default="labels.csv in the folder, if any"
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The run's folder.", show_default="runs/DATA-PRESET")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run there; with --for, for longer.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run there.")] = False,
    start_from: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="MODEL",
            help="Start from the weights of a run, a model file, built-in or hub:owner/name.",
            show_default="fresh weights",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything random.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = None,
    precision: Annotated[str | None, typer.Option(help="auto, float32, bfloat16.")] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any setting: training.batch=64."),
    ] = None,
    track: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Tell tensorboard, trackio, wandb or mlflow; repeatable. none: tell nobody.",
            show_default="as in the last session",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show settings, size and cost; train nothing.")
    ] = False,
) -> None:
    """Train a model; by default on Fashion-MNIST, for five minutes on two CPU cores."""
    from loang.cli import options
    from loang.cli.console import console, download_bar, show_plan, show_result

    budget = options.length(duration, epochs, images)

    from loang import api
    from loang.team.place import Place
    from loang.training.asked import Asked
    from loang.training.display import ConsoleDisplay

    asked: Asked = {
        "preset": preset,
        "budget": budget,
        "size": options.size(size),
        "fit": fit,
        "channels": options.channels(channels),
        "labels": labels,
        "labels_file": None if labels_file is None else str(labels_file),
        "seed": seed,
        "device": device,
        "precision": precision,
        "changes": tuple(changes or ()),
    }
    with download_bar() as on_progress:
        if dry_run:
            if Place.here().rank > 0:  # one of them tells
                return
            planned = api.plan(
                data,
                **asked,
                out=out,
                resume=resume,
                start_from=start_from,
                on_progress=on_progress,
            )
            show_plan(planned)
            return
        run = api.start(
            data,
            **asked,
            out=out,
            resume=resume,
            overwrite=overwrite,
            start_from=start_from,
            track=track,
            on_progress=on_progress,
        )

    from loang.training.run import Run  # torch, which a mistake need not wait for

    display = ConsoleDisplay(console)
    run.train(display)
    if isinstance(run, Run):  # the others of a job follow, and are silent
        show_result(run.folder)
