"""`loang edit`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loang import sampling
from loang.cli import sampling_options as options
from loang.editing.asked import check_ends, check_idle

if TYPE_CHECKING:
    from loang.editing.output import Edited

app = typer.Typer(
    help="Use a model on pictures: fill holes, go from one to another, clean them of noise.",
    no_args_is_help=True,
)

Trained = Annotated[Path, typer.Argument(help="A run's folder, a model file, or hub:owner/name.")]
Label = Annotated[
    str | None, typer.Option(help="A class, by name or number.", show_default="no class")
]
Out = Annotated[
    Path, typer.Option(help="A sheet (.png, .webp), a stack (.tif), an array (.npy), or a folder.")
]
Seed = Annotated[int, typer.Option(help="Of the noise: the same gives the same picture.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]


@app.command()
def inpaint(
    model: Trained,
    picture: Annotated[Path, typer.Argument(help="What is transparent in it is filled.")],
    mask: Annotated[
        Path | None, typer.Option(help="A picture of its size, white where to fill.")
    ] = None,
    out: Out = Path("filled.png"),
    count: Annotated[int, typer.Option("-n", "--count", help="How many fillings.")] = 8,
    resample: Annotated[
        int | None,
        typer.Option(
            help="Times each stretch is gone through (RePaint); 1: any sampler.",
            show_default="5; 1 of a distilled model",
        ),
    ] = None,
    jump: Annotated[
        int | None, typer.Option(help="Steps of such a stretch.", show_default="10")
    ] = None,
    label: Label = None,
    seed: Seed = 0,
    sampler: options.Sampler = None,
    steps: options.Steps = None,
    eta: options.Eta = None,
    guidance: options.Guidance = None,
    batch: Annotated[int, typer.Option(help="How many are drawn at once.")] = 64,
    device: Device = "auto",
) -> None:
    """Fill the holes of a picture; every known pixel stays as it is."""
    asked = _asked(sampler, steps, eta, guidance)
    if resample == 1:
        check_idle("With --resample 1", "give --resample 2 or more", {"jump": jump})
    from loang import api
    from loang.cli.console import step_bar
    from loang.editing import output
    from loang.editing.inpaint import JUMP, repeats

    loaded = api.load(model, device=device)
    if repeats(loaded, resample) == 1:
        check_idle("Without repeats", "give --resample 2 or more", {"jump": jump})
    settings = output.sampling(loaded, label, resample, **asked)
    with step_bar("filling") as on_step:
        edited = output.inpaint(
            loaded,
            picture,
            out,
            mask=mask,
            count=count,
            seed=seed,
            settings=settings,
            resample=resample,
            jump=JUMP if jump is None else jump,
            label=label,
            batch=batch,
            on_step=on_step,
        )
    _tell(edited)


@app.command()
def interpolate(
    model: Trained,
    pictures: Annotated[
        list[Path] | None, typer.Argument(help="Two pictures.", show_default="two --seeds")
    ] = None,
    seeds: Annotated[
        tuple[int, int] | None,
        typer.Option(metavar="A B", help="Between their first samples instead."),
    ] = None,
    frames: Annotated[int, typer.Option(help="How many, the ends with them.")] = 9,
    out: Annotated[
        Path, typer.Option(help="An animation (.gif), a row (.png), .tif, .npy, or a folder.")
    ] = Path("between.png"),
    evaluations: Annotated[
        int | None,
        typer.Option(min=4, help="Of the network, each way, between pictures.", show_default="100"),
    ] = None,
    label: Label = None,
    sampler: options.Sampler = None,
    steps: options.Steps = None,
    guidance: options.Guidance = None,
    device: Device = "auto",
) -> None:
    """Go from one picture to another, or from one seed's sample to another's."""
    asked = _asked(sampler, steps, None, guidance)
    ends = check_ends(pictures, seeds)
    if seeds is None:
        check_idle("Between pictures", "go between two --seeds", asked)
    else:
        check_idle("Between seeds", "go between two pictures", {"evaluations": evaluations})
    from loang import api
    from loang.cli.console import step_bar
    from loang.editing import output
    from loang.editing.encode import EVALUATIONS

    loaded = api.load(model, device=device)
    settings = output.sampling(loaded, label, noiseless=seeds is not None, **asked)
    with step_bar("between") as on_step:
        edited = output.interpolate(
            loaded,
            ends,
            out,
            frames=frames,
            evaluations=EVALUATIONS if evaluations is None else evaluations,
            settings=settings,
            label=label,
            on_step=on_step,
        )
    _tell(edited)


@app.command()
def denoise(
    model: Trained,
    picture: Annotated[Path, typer.Argument(help="A noisy picture.")],
    noise: Annotated[
        float | None,
        typer.Option(
            help="Its standard deviation; 1 is the range from black to white.",
            show_default="estimated",
        ),
    ] = None,
    walk: Annotated[
        bool, typer.Option("--walk", help="One image that it could be; else the mean of them.")
    ] = False,
    out: Out = Path("clean.png"),
    label: Label = None,
    seed: Annotated[
        int | None, typer.Option(help="Of the noise of --walk.", show_default="0")
    ] = None,
    sampler: options.Sampler = None,
    steps: options.Steps = None,
    eta: options.Eta = None,
    guidance: options.Guidance = None,
    device: Device = "auto",
) -> None:
    """Clean a picture of its noise, at its own noise level."""
    asked = _asked(sampler, steps, eta, guidance)
    if not walk:
        check_idle("Without --walk", "add --walk", {**asked, "seed": seed})
    from loang import api
    from loang.cli.console import step_bar
    from loang.editing import output

    loaded = api.load(model, device=device)
    settings = output.sampling(loaded, label, **asked)
    with step_bar("cleaning") as on_step:
        edited = output.denoise(
            loaded,
            picture,
            out,
            noise=noise,
            walk=walk,
            seed=seed or 0,
            settings=settings,
            label=label,
            on_step=on_step,
        )
    _tell(edited)


def _asked(
    sampler: str | None,
    steps: int | None,
    eta: float | None,
    guidance: float | None,
) -> sampling.Asked:
    asked = sampling.Asked(sampler=sampler, steps=steps, eta=eta, guidance=guidance)
    sampling.given(asked)  # slips are told before torch is there
    return asked


def _tell(edited: "Edited") -> None:
    from loang.cli.console import say
    from loang.files import shown

    for notice in edited.notices:
        say(notice)
    say(f"  {shown(edited.path)}")
