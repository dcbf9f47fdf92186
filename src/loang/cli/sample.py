"""`loang sample`."""

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from loang import built_in, sampling
from loang.cli import sampling_options as options
from loang.editing.asked import check_alone, check_idle


def sample(
    model: Annotated[
        Path | None,
        typer.Argument(
            help="A run's folder, a model file, hub:owner/name, or built-in.",
            show_default="the newest in runs/, else built-in",
        ),
    ] = None,
    count: Annotated[int, typer.Option("-n", "--count", help="How many.")] = 64,
    out: Annotated[
        Path,
        typer.Option(help="A sheet (.png, .webp), a stack (.tif), an array (.npy), or a folder."),
    ] = Path("samples.png"),
    seed: Annotated[int, typer.Option(help="The same seed gives the same images.")] = 0,
    label: Annotated[
        str | None, typer.Option(help="A class, by name or number.", show_default="all in turn")
    ] = None,
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
    start_from: Annotated[
        Path | None, typer.Option(help="A picture: noised, and sampled from there (SDEdit).")
    ] = None,
    strength: Annotated[
        float | None,
        typer.Option(
            help="Of --start-from: the share of the steps that are walked, rounded up;"
            " 0 the picture itself, 1 nothing of it.",
            show_default="0.6",
        ),
    ] = None,
    gif: Annotated[bool, typer.Option("--gif", help="Draw the walk from noise as well.")] = False,
    every: Annotated[
        int | None, typer.Option(min=1, help="Of the walk: every so many-th step is a frame.")
    ] = None,
    batch: Annotated[int, typer.Option(help="How many are drawn at once.")] = 64,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
) -> None:
    """Draw images with a trained model."""
    asked = sampling.Asked(
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
    )
    sampling.given(asked)  # slips are told before torch is there
    if start_from is None:
        check_idle("Without --start-from", "add --start-from", {"strength": strength})
    else:
        check_alone(gif=gif, guide=guide)
    if not gif:
        check_idle("Without --gif", "add --gif", {"every": every})

    from loang import api, drawing, walking
    from loang.cli.console import resumable, say, step_bar
    from loang.files import shown

    if model is None:
        model = api.default_model()
        which = (
            "the model that ships with loang"
            if str(model) == built_in.NAME
            else "the newest model here"
        )
        say(f"Sampling from {shown(model)}, {which}.")
    loaded = api.load(model, device=device)
    weaker = None if guide is None else api.load(guide, device=device)
    settings = drawing.sampling(loaded, guide=weaker, **asked)
    if (sampler or loaded.settings.sampling.sampler) == "auto":
        say(f"auto takes {walking.described(settings.model_dump())}.")
    if start_from is not None:
        from loang.editing import output
        from loang.editing.start_from import STRENGTH

        with step_bar("sampling") as on_step:
            edited = output.start_from(
                loaded,
                start_from,
                out,
                strength=STRENGTH if strength is None else strength,
                count=count,
                seed=seed,
                settings=settings,
                label=label,
                batch=batch,
                on_step=on_step,
            )
        for line in (*edited.notices, f"  {shown(edited.path)}"):
            say(line)
        return
    kept = resumable() if drawing.is_streamed(out) else contextlib.nullcontext()
    with kept, step_bar("sampling") as on_step:
        written = drawing.draw(
            loaded,
            count,
            out,
            seed=seed,
            settings=settings,
            label=label,
            gif=gif,
            every=every,
            batch=batch,
            guide=weaker,
            on_step=on_step,
            on_kept=lambda done: say(f"{done:,} are there already; going on with them."),
            on_others=lambda more: say(
                f"Warning: {more:,} more images lie there, numbered from {count:,} on, which are"
                " none of these samples. Delete them, or name another folder with --out."
            ),
            on_unfinished=_tell_unfinished,
        )
    for path in written:
        say(f"  {shown(path)}")


def _tell_unfinished(parts: list[Path]) -> None:
    """That the disk still holds what other commands have left, and what becomes of it."""
    from loang.cli.console import say
    from loang.files import amount, shown

    size = amount(sum(part.stat().st_size for part in parts))
    say(
        f"Warning: interrupted commands have left {size} of unfinished samples beside these:"
        f" {', '.join(map(shown, parts))}. Repeat such a command, which goes on with its own and"
        " puts them in the place of these, or delete the files."
    )
