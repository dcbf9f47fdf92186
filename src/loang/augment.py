"""Changes of training images that leave them as likely as before; and how a network is told.

A network that sees turned images draws turned images. Told how each was changed, it learns them
apart, and samples are asked for without any change: they come as the images were (Karras et al.
2022, "Elucidating the design space of diffusion-based generative models", appendix F.2).

Each draw is a function of the seed and the image's position in the stream of training images, and
of nothing else: it is the same whatever batch the image is in. Validation changes no images.
"""

import re
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from loang import random
from loang.config import DataSettings
from loang.data.spec import ImageSpec

_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_SIGNS = {*_DIGITS, "digit", "number", "letter", "character", "upper", "lower"}


class Changes(NamedTuple):
    """How each image of a batch is changed, in this order; None where none ever is.

    Args:
        mirrored: 1 where left and right change places.
        turns: by how many quarter turns, against the clock, 0..3.
        moved: by how many pixels down and to the right; negative numbers are up and left.
    """

    mirrored: Int[Tensor, " n"] | None
    turns: Int[Tensor, " n"] | None
    moved: Int[Tensor, "n 2"] | None


def draw(
    settings: DataSettings, spec: ImageSpec, *, seed: int, positions: Int[Tensor, " n"]
) -> Changes:
    """The changes of the images at these positions of the stream, on the positions' device.

    Every change that the settings allow is as likely. Images that are not square are turned by 0
    or 180 degrees only, for a quarter turn would change their shape.
    """

    def integers(low: int, high: int, purpose: str) -> Int[Tensor, " n"]:
        return random.integers(low, high, seed=seed, purpose=purpose, step=0, indices=positions)

    mirrored = turns = moved = None
    if settings.flips:
        mirrored = integers(0, 1, "flip")
    if settings.rotations:
        turns = integers(0, 3, "rotation") if _square(spec) else 2 * integers(0, 1, "rotation")
    if most := settings.shifts:
        words = random.words(2, seed=seed, purpose="shift", step=0, indices=positions)
        moved = ((words * (2 * most + 1)) >> 32) - most
    return Changes(mirrored, turns, moved)


def apply(x: Float[Tensor, "n c h w"], changes: Changes) -> Float[Tensor, "n c h w"]:
    """The images, changed. What comes into view beyond an edge repeats it; nothing is interpolated.

    Quarter turns of an odd number need square images.
    """
    if changes.mirrored is not None:
        x = torch.where(changes.mirrored.bool()[:, None, None, None], x.flip(3), x)
    if changes.turns is not None:
        for quarters in sorted(set(changes.turns.tolist()) - {0}):
            chosen = (changes.turns == quarters)[:, None, None, None]
            x = torch.where(chosen, torch.rot90(x, quarters, (2, 3)), x)
    if changes.moved is not None:
        for axis, by in zip((2, 3), changes.moved.unbind(1), strict=True):
            side = x.shape[axis]
            source = (torch.arange(side, device=x.device) - by[:, None]).clamp(0, side - 1)
            shape = [len(x), 1, 1, 1]
            shape[axis] = side
            x = x.gather(axis, source.reshape(shape).expand(x.shape))
    return x


def parameters(settings: DataSettings, spec: ImageSpec) -> int:
    """How many numbers say how an image was changed; 0 where the network is not told."""
    if not settings.told:
        return 0
    turns = (3 if _square(spec) else 1) if settings.rotations else 0
    return settings.flips + turns + (2 if settings.shifts else 0)


def told(
    settings: DataSettings, spec: ImageSpec, changes: Changes
) -> Float[Tensor, "n parameters"]:
    """The numbers of `parameters`, of which there are some; all 0 for an unchanged image.

    They are: 1 if it is mirrored; for each turn that there is, 1 if it is this one; the moves
    down and right as shares of the longest, -1..1.
    """
    columns = []
    if changes.mirrored is not None:
        columns.append(changes.mirrored[:, None])
    if changes.turns is not None:
        possible = torch.tensor((1, 2, 3) if _square(spec) else (2,), device=changes.turns.device)
        columns.append(changes.turns[:, None] == possible)
    if changes.moved is not None:
        columns.append(changes.moved / settings.shifts)
    return torch.cat([column.float() for column in columns], dim=1)


def warning(settings: DataSettings, spec: ImageSpec) -> str | None:
    """What a person should know of these changes of these images, in a sentence or two."""
    said = []
    if settings.rotations and not _square(spec):
        said.append(
            f"Images of {spec.height}x{spec.width} are not square: they are turned by 180 degrees,"
            " not by 90 or 270."
        )
    names = [
        name for name, on in (("flips", settings.flips), ("rotations", settings.rotations)) if on
    ]
    if names and not settings.told and _signs(spec.class_names):
        away = " and ".join(f"data.{name}=false" for name in names)
        said.append(
            "Warning: the classes look like digits or letters, and samples will be mirrored or"
            f" turned as the images are: set {away}, or data.told=true, to have them upright."
        )
    return " ".join(said) or None


def _square(spec: ImageSpec) -> bool:
    return spec.height == spec.width


def _signs(names: tuple[str, ...]) -> bool:
    """Whether all of these are digits or letters: 3, b, three, digit_3, "3 - three"."""
    words = [re.findall(r"[^\W_]+", name.casefold()) for name in names]
    return bool(names) and all(
        parts and all(len(part) == 1 or part in _SIGNS for part in parts) for parts in words
    )
