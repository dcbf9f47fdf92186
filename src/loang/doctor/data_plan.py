"""Which preset fits these images, what it costs on this machine, and the command to start with."""

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from loang import augment, config, device
from loang.config import Settings
from loang.data.images import Dataset
from loang.data.spec import ImageSpec
from loang.doctor.data_sight import counted
from loang.errors import LoangError
from loang.files import amount
from loang.presets import ddpm_cifar10, quick
from loang.training.asked import Asked
from loang.training.budget import duration, parse
from loang.training.plan import Estimate, Plan, estimate, prepare

EPOCHS = 10
SOON = 300.0  # seconds, the length of preset quick
LENGTHS = ("5m", "10m", "20m", "30m", "1h", "2h", "4h", "8h")
FIRST_LOOK = "12h"  # of what takes days
QUICK = 64**2  # pixels that quick's two levels are enough for
LARGE = 256**2  # pixels; of larger images fewer are tried, so that it takes seconds
BUSY = 0.7  # of the processors, over the last minute
COARSEST = 16  # pixels a side, where attention is cheap


@dataclass(frozen=True)
class Advice:
    """What to do with these images.

    Args:
        command: a whole line for a shell.
        sentences: why, and what it costs.
        cost: None where a trial was impossible.
        fits: whether there is memory enough.
        trouble: why a trial was impossible; empty where it was not.
    """

    command: str
    sentences: str
    cost: Estimate | None
    fits: bool = True
    trouble: str = ""

    def line(self, changes: Sequence[str]) -> str:
        """The command, with more settings changed."""
        return " ".join([self.command, *(f"--set {shlex.quote(change)}" for change in changes)])


def advise(name: str, dataset: Dataset, settings: Settings, asked: Asked) -> Advice:
    """Choose a preset, try a training step, and say how long ten epochs take.

    Args:
        name: of the images, as a person gave it.
        dataset: opened.
        settings: of preset quick, with what was asked.
        asked: as a person gave it, to be part of the command.
    """
    spec = dataset.spec
    at = device.choose(settings.training.device)
    why, preset, changes = _choose(spec, at.type == "cuda", asked)
    own = tuple(asked.get("changes") or ())
    if preset == "quick":
        settings = config.changed(settings, [*changes, *own])
    else:
        data = {"data": settings.data.model_copy(update={"labels": False, "flips": True})}
        settings = config.changed(ddpm_cifar10().model_copy(update=data), [*changes, *own])
    words = ["loang", "train", name, *_options(asked)]
    words += ["--preset", preset] * (preset != "quick")
    for change in (*changes, *own):
        words += ["--set", change]
    trial = max(1, min(8, 8 * LARGE // (spec.height * spec.width)))
    try:
        plan = prepare(settings, dataset)
        cost = estimate(plan, trial)
    except LoangError as error:
        return Advice(shlex.join(words), why, None, trouble=f"{error.problem} {error.remedy}")
    except (RuntimeError, MemoryError) as error:
        if not device.out_of_memory(error):
            raise
        return Advice(
            shlex.join(words), why, None, False, "There is not enough memory for a training step."
        )
    length, said = _length(plan, cost)
    if length:
        words += ["--for", length]
    return Advice(shlex.join(words), f"{why} {said}", cost, _fits(plan, cost))


def _choose(spec: ImageSpec, on_gpu: bool, asked: Asked) -> tuple[str, str, list[str]]:
    """Why, which preset, and what to change in it."""
    area, longest = spec.height * spec.width, max(spec.height, spec.width)
    size = f"{spec.height}x{spec.width}"
    if on_gpu and (spec.height, spec.width, spec.channels) == (32, 32, 3):
        upright = augment.warning(ddpm_cifar10().data, spec) is not None
        return (
            "32x32 in colour, on a GPU: what Ho et al. 2020 did with CIFAR-10 fits.",
            "ddpm-cifar10",
            ["data.flips=false"] if upright else [],
        )
    if area <= QUICK:
        follow = ""
        if max(spec.height, spec.width) <= 32 and spec.channels == 1:
            follow = " To follow the article step by step take --preset tutorial, which is slower."
        return f"The preset quick is made for images as small as {size}.{follow}", "quick", []
    if any(change.startswith("network.") for change in asked.get("changes") or ()):
        return f"The preset quick, with your network, for images of {size}.", "quick", []
    # The network starts with half the sides (network.fold is 2); each level halves them again.
    levels = max(3, math.ceil(math.log2(longest / 2 / COARSEST)) + 1)
    multipliers = [1] * (levels - 2) + [2, 2]
    changes = [
        f"network.multipliers={','.join(map(str, multipliers))}",
        f"network.attention=[{levels - 1}]",
    ]
    least = [longest // 2 ** (level + 1) for level in range(levels)][-1]
    return (
        f"The preset quick, with {levels} levels instead of 2, so that the network sees images of"
        f" {size} as a whole (down to about {least} pixels a side), with attention there alone.",
        "quick",
        changes,
    )


def _options(asked: Asked) -> list[str]:
    """What was asked, as it is asked of `loang train`."""
    words: list[str] = []
    size = asked.get("size")
    if size is not None:
        words += ["--size", f"{size[0]}x{size[1]}"]
    channels = asked.get("channels")
    if channels is not None:
        words += ["--channels", str(channels)]
    for name in ("fit", "labels_file"):
        if (value := asked.get(name)) is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    labels = asked.get("labels")
    if labels is not None:
        words.append("--labels" if labels else "--no-labels")
    return words


def _length(plan: Plan, cost: Estimate) -> tuple[str, str]:
    """What to add with --for, if anything, and what is to be expected."""
    images = len(plan.dataset.train)
    rate = f"At about {max(cost.rate, 0.01):,.3g} images a second (the fastest of a few trials)"
    memory = f"It takes about {amount(cost.memory)} of memory."
    if plan.device.type == "cpu" and psutil.getloadavg()[0] > BUSY * (psutil.cpu_count() or 1):
        memory += " Other programs keep this machine busy: alone it may be faster."
    if plan.settings.preset != "quick":
        return FIRST_LOOK, (
            f"{rate}, its whole budget takes {duration(cost.images / cost.rate)};"
            f" {FIRST_LOOK} are enough for a first look. {memory}"
        )
    if plan.settings.training.budget != quick().training.budget:
        return "", f"{rate}, the {plan.budget} asked for take {duration(cost.seconds)}. {memory}"
    ten = EPOCHS * images / cost.rate
    seconds = {length: parse(length, images).seconds or 0.0 for length in LENGTHS}
    length = next((word for word in LENGTHS if ten <= seconds[word]), LENGTHS[-1])
    proposed = seconds[length]
    epochs = proposed * cost.rate / images
    said = (
        f"{rate}, {EPOCHS} epochs take {duration(ten)}; the {duration(proposed)} proposed see each"
        f" of the {counted(images)} {epochs:,.2g} times."
    )
    if proposed > SOON:
        soon = SOON * cost.rate / images
        said += f" For a first look leave --for away: five minutes, {soon:,.2g} times each."
    said += f" {memory}"
    return ("" if length == plan.settings.training.budget else length), said


def _fits(plan: Plan, cost: Estimate) -> bool:
    if plan.device.type != "cpu":
        return True  # a run halves its batch until it fits
    there = psutil.virtual_memory().available + device.memory_used(plan.device)
    return cost.memory < there
