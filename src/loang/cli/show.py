"""`loang show`: the tutorial's figures."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Draw the tutorial's figures: schedule, noising, denoising.", no_args_is_help=True
)

Out = Annotated[Path | None, typer.Option(help="The file to write.", show_default="by figure")]
Seed = Annotated[int, typer.Option(help="Of the noise.")]


@app.command()
def schedule(
    out: Out = None,
    steps: Annotated[int, typer.Option(help="T, the number of steps.")] = 1000,
) -> None:
    """The schedules side by side: what is left of the image at each time, and log-SNR."""
    from loang import figures

    out = out or Path("schedule.png")
    figures.schedule_figure(out, steps)
    _say(out)


@app.command()
def noising(
    data: Annotated[str, typer.Argument(help="As for `loang train`.")] = "fashion-mnist",
    out: Out = None,
    preset: Annotated[str, typer.Option(help="Whose schedule and size.")] = "tutorial",
    index: Annotated[int, typer.Option(help="Which training image.")] = 0,
    size: Annotated[str | None, typer.Option(metavar="HxW", help="32, or 48x64.")] = None,
    seed: Seed = 0,
) -> None:
    """One image at t = 0, T/10, ... T."""
    from loang import figures
    from loang.cli import options
    from loang.cli.console import download_bar
    from loang.training import asked

    out = out or Path("noising.png")
    settings = asked.resolve(data, preset=preset, size=options.size(size), labels=False)
    with download_bar() as on_progress:
        dataset = asked.open_images(settings, on_progress)
    figures.noising_figure(dataset, settings, out, index, seed)
    _say(out)


@app.command()
def denoising(
    model: Annotated[
        Path | None,
        typer.Argument(
            help="A run's folder, a model file, hub:owner/name, or built-in.",
            show_default="the newest in runs/, else built-in",
        ),
    ] = None,
    out: Out = None,
    label: Annotated[str | None, typer.Option(help="A class, by name or number.")] = None,
    seed: Seed = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
) -> None:
    """The walk from noise as a strip: x_t above the image that the model sees in it."""
    from loang import api, figures

    out = out or Path("denoising.png")
    figures.denoising_figure(
        api.load(model or api.default_model(), device=device), out, seed, label
    )
    _say(out)


def _say(out: Path) -> None:
    from loang.cli.console import say
    from loang.files import shown

    say(f"  {shown(out)}")
