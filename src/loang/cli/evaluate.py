"""`loang evaluate`."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from loang import sampling
from loang.cli import sampling_options as options
from loang.errors import LoangError


def evaluate(
    subject: Annotated[
        str | None,
        typer.Argument(
            help="A run's folder, a model file, hub:owner/name, or images: a folder, .npy, .npz.",
            show_default="the newest run",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Argument(
            help="The real images, as for `loang train`.", show_default="what the model learned"
        ),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option("-n", "--count", help="Samples.", show_default="1000; of images, all"),
    ] = None,
    features: Annotated[
        list[str] | None,
        typer.Option(
            help="auto, fashion-v1, own, inception, pixels; may be given several times.",
            show_default="auto",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The report's folder.", show_default="RUN/evaluation, or evaluations/NAME"
        ),
    ] = None,
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="A B", help="Which of two is better, and is it more than chance?"),
    ] = None,
    history: Annotated[
        bool, typer.Option("--history", help="Score the run's checkpoints as well.")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print report.json, and nothing else.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of samples and of which images are compared.")] = 0,
    sampler: options.Sampler = None,
    steps: options.Steps = None,
    spacing: options.Spacing = None,
    levels: options.Levels = None,
    eta: options.Eta = None,
    variance: options.Variance = None,
    churn: options.Churn = None,
    tolerance: options.Tolerance = None,
    guidance: options.Guidance = None,
    guidance_interval: options.GuidanceInterval = None,
    guidance_rescale: options.GuidanceRescale = None,
    guide: options.Guide = None,
    batch: Annotated[int, typer.Option(help="How many are drawn at once.")] = 64,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    likelihood: Annotated[
        bool, typer.Option("--likelihood", help="Bits per value of held-out images as well.")
    ] = False,
) -> None:
    """Measure samples against real images: distances with their floor, copies, classes."""
    from loang import api
    from loang.cli.console import (
        download_bar,
        resumable,
        show_comparison,
        show_report,
        stage_bar,
    )
    from loang.evaluation.asked import Asked, comparison_folder, default_folder

    if compare is not None and (history or data is not None):
        raise LoangError(
            "--compare is of two, without --history and without a third.",
            "Write loang evaluate --compare A B, and after it the real images, if need be.",
        )
    command = shlex.join(["loang", *sys.argv[1:]])
    asked = Asked(
        count,
        tuple(features or ("auto",)),
        seed,
        sampling=sampling.Asked(
            sampler=sampler,
            steps=steps,
            spacing=spacing,
            levels=sampling.read_levels(levels),
            eta=eta,
            variance=variance,
            churn=churn,
            tolerance=tolerance,
            guidance=guidance,
            guidance_interval=sampling.read_interval(guidance_interval),
            guidance_rescale=guidance_rescale,
        ),
        guide=guide,
        batch=batch,
        device=device,
        likelihood=likelihood,
    )
    with resumable(), stage_bar(quiet=json) as on_stage, download_bar() as on_progress:
        if compare is not None:
            folder = out or comparison_folder(*map(Path, compare))
            comparison = api.compare(
                *compare,
                subject,
                asked=asked,
                out=folder,
                command=command,
                on_stage=on_stage,
                on_progress=on_progress,
            )
        else:
            path = api.default_model() if subject is None else Path(subject)
            folder = out or default_folder(path)
            report = api.evaluate(
                path,
                data,
                asked=asked,
                history=history,
                out=folder,
                command=command,
                on_stage=on_stage,
                on_progress=on_progress,
            )
    if json:
        name = "report.json" if compare is None else "comparison.json"
        typer.echo((folder / name).read_text(encoding="utf-8"), nl=False)
    elif compare is not None:
        show_comparison(comparison, folder)
    else:
        show_report(report, folder)
