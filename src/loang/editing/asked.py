"""What a person asks of an edit, checked as far as no model is needed. No torch."""

from collections.abc import Mapping
from pathlib import Path

from loang.errors import LoangError
from loang.sampling import option

Ends = tuple[Path, Path] | tuple[int, int]


def check_ends(pictures: list[Path] | None, seeds: tuple[int, int] | None) -> Ends:
    """Two pictures, or two seeds.

    Raises:
        LoangError: neither, or both.
    """
    if seeds is not None and not pictures:
        return seeds
    if seeds is None and pictures and len(pictures) == 2:
        return pictures[0], pictures[1]
    raise LoangError(
        "There are two ends to go between: two pictures, or two seeds.",
        "Write loang edit interpolate MODEL a.png b.png, or --seeds 3 7.",
    )


def check_alone(gif: bool, guide: Path | None) -> None:
    """Whether a walk from a picture is asked for what only one from noise does.

    Raises:
        LoangError: it is.
    """
    for name, asked in (("--gif", gif), ("--guide", guide is not None)):
        if asked:
            raise LoangError(f"{name} goes with samples from noise alone.", "Leave it away.")


def check_idle(where: str, remedy: str, wishes: Mapping[str, object]) -> None:
    """Whether something is asked for that changes nothing there.

    Args:
        where: it would change nothing: "Without --walk", say.
        remedy: what to do besides leaving it away.
        wishes: by the setting's name; None is nobody's wish.

    Raises:
        LoangError: it is.
    """
    for key, wish in wishes.items():
        if wish is not None:
            raise LoangError(
                f"{where}, {option(key)} does nothing.", f"Leave it away, or {remedy}."
            )


def check_apart(out: Path, *inputs: Path | None) -> None:
    """Whether what is written leaves what is read as it is.

    Args:
        out: a file, or a folder for single images, which are named by their numbers.
        inputs: files that are read.

    Raises:
        LoangError: one of them would be written over.
    """
    for read in inputs:
        if read is None or not read.exists() or not out.exists():
            continue
        numbered = read.stem.isdecimal() and read.parent.samefile(out)
        if read.samefile(out) or numbered:
            raise LoangError(
                f"{out} would be written over {read}, which is read.", "Give --out another name."
            )
