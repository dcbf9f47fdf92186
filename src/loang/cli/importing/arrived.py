"""What the commands that bring weights have in common: where to, and what is said of it."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loang.model import Model


def destination(out: Path | None, neighbour: str, file: Path) -> Path:
    """The folder that a model goes to.

    Raises:
        LoangError: something is there.
    """
    from loang.interop.arrival import check_free

    place = out or Path("runs") / f"{neighbour}-{file.stem}"
    check_free(place)
    return place


def arrived(model: "Model", place: Path) -> None:
    """Write the model there, and say what it is and what can be done with it."""
    from loang.cli.console import say
    from loang.files import shown
    from loang.interop.arrival import settle

    weights = sum(parameter.numel() for parameter in model.denoiser.parameters())
    schedule = model.denoiser.schedule
    path = settle(model, place)
    say(f"{model.settings.network.kind}, {weights:,} parameters: {model.spec.described}")
    say(
        f"predicts {model.settings.denoiser.predicts}, {schedule.name} schedule of"
        f" {schedule.T:,g} steps"
    )
    say(f"  {shown(path)}")
    say()
    say("Next:")
    say(f"  loang sample {shown(place)}")
    say(f"  loang sample {shown(place)} --sampler ddpm --steps {schedule.T:g}")
