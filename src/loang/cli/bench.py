"""`loang bench`: how fast this machine is."""

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loang import sampling
from loang.cli import sampling_options as options

if TYPE_CHECKING:
    from loang.api import Speed

app = typer.Typer(
    help="Measure how fast this machine trains and samples, and what would make it faster.",
    no_args_is_help=True,
)

Seconds = Annotated[float, typer.Option(help="Of measuring; the rest takes about as long again.")]
Json = Annotated[bool, typer.Option("--json", help="Print every number as JSON, and nothing else.")]
Out = Annotated[Path | None, typer.Option(help="Write the JSON to this file as well.")]


@app.command()
def train(
    data: Annotated[
        str | None,
        typer.Argument(help="Images, as for `loang train`.", show_default="the preset's"),
    ] = None,
    preset: Annotated[str | None, typer.Option(help="Whose run.", show_default="quick")] = None,
    size: Annotated[str | None, typer.Option(metavar="HxW", help="Of images: 32, 48x64.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = None,
    precision: Annotated[str | None, typer.Option(help="auto, float32, bfloat16.")] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any setting: training.batch=64."),
    ] = None,
    seconds: Seconds = 10.0,
    json: Json = False,
    out: Out = None,
) -> None:
    """How many images a second a run would train on here; trains nothing that is kept."""
    _check(out)

    from loang import api
    from loang.cli import options as of_images
    from loang.cli.console import download_bar

    with download_bar() as on_progress:
        speed = api.bench_training(
            data,
            seconds=seconds,
            on_stage=_quiet if json else _say,
            on_progress=on_progress,
            preset=preset,
            size=of_images.size(size),
            device=device,
            precision=precision,
            changes=tuple(changes or ()),
        )
    _show(speed, json, out)


@app.command()
def sample(
    model: Annotated[
        Path | None,
        typer.Argument(
            help="A run's folder, a model file, or built-in.",
            show_default="the newest in runs/, else built-in",
        ),
    ] = None,
    sampler: options.Sampler = None,
    steps: options.Steps = None,
    guidance: options.Guidance = None,
    guidance_interval: options.GuidanceInterval = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    seconds: Seconds = 10.0,
    json: Json = False,
    out: Out = None,
) -> None:
    """How many images a second a model draws here, and in which batches; draws none to keep."""
    asked = sampling.Asked(
        sampler=sampler,
        steps=steps,
        guidance=guidance,
        guidance_interval=sampling.read_interval(guidance_interval),
    )
    sampling.given(asked)  # slips are told before torch is there
    _check(out)

    from loang import api, drawing

    loaded = api.load(model or api.default_model(), device=device)
    way = drawing.sampling(loaded, **asked)
    speed = api.bench_drawing(loaded, way, seconds=seconds, on_stage=_quiet if json else _say)
    _show(speed, json, out)


def _check(out: Path | None) -> None:
    """Whether what is measured can be written: told before it is."""
    from loang import files

    if out is not None:
        files.check_file(out)


def _show(speed: "Speed", json: bool, out: Path | None) -> None:
    """Print, and only then write: a disk that is full by now costs the file alone."""
    from loang import files
    from loang.cli.console import say

    text = json_format.dumps(speed.values, indent=1)
    if json:
        print(text, flush=True)
    else:
        for line in speed.lines:
            say(line)
        if speed.advice:
            say()
        for sentence in speed.advice:
            say(f"- {sentence}")
    if out is not None:
        files.write_text(out, text + "\n")
        if not json:
            say(f"  {files.shown(out)}")


def _say(what: str) -> None:
    from loang.cli.console import say

    say(f"{what} ...")


def _quiet(what: str) -> None:
    pass
