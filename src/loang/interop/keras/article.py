"""A model that was trained by the article's TensorFlow code, from what that code saves.

Its slips decide how such a model is sampled. It trains t = 0..T-1, with an `alpha_bar` that is one
behind, of T + 1 betas: its t is the paper's up to T - 1, with the very same `alpha_bar`, and T it
never saw. It trains on images in [0, 1]. Who has mended either says so.

Keras adds Adam's epsilon to sqrt(v) before that is corrected for its bias, and torch after it: what
is 1e-7 there is 1e-7 / sqrt(1 - beta_2^step) here. The settings get what is right at the step that
training goes on with; some thousand steps later the two are the same.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from loang import untrusted
from loang.build import build_denoiser
from loang.config import Settings, load
from loang.data.spec import ImageSpec
from loang.errors import LoangError
from loang.interop.keras import back, dialects
from loang.interop.keras.dialects import Layout
from loang.interop.keras.names import Shape, article_weights, torch_layout, torch_name
from loang.interop.keras.opening import Stored, opened
from loang.model import Model
from loang.presets import preset
from loang.tensors import all_finite
from loang.training.budget import parse

Times = Literal["article", "paper"]
Values = Literal["0..1", "-1..1"]
WIDEST = 1024
WEIGHT_DECAY, RATE = 1e-4, 1e-3
"""The article's; a checkpoint of Keras 3 tells no decay, one of a schedule no rate."""
MOST_STEPS = 2**31


@dataclass(frozen=True)
class Moments:
    """What Adam knew, so that training can go on.

    Args:
        first: m, the mean of the gradients, by the torch name of the weight.
        second: v, the mean of their squares.
        steps: how many it has done.
        learning_rate: of the next step.
        weight_decay: the share of a weight that a step takes, divided by the learning rate.
    """

    first: Mapping[str, Float[Tensor, "..."]]
    second: Mapping[str, Float[Tensor, "..."]]
    steps: int
    learning_rate: float
    weight_decay: float


@dataclass(frozen=True)
class Imported:
    """What was in a file.

    Args:
        model: as the article's code trained it.
        moments: of its optimizer; None where the file has none.
        notices: what a person should know, in sentences.
    """

    model: Model
    moments: Moments | None = None
    notices: list[str] = field(default_factory=list)


def read(
    path: Path | str,
    *,
    size: tuple[int, int] = (32, 32),
    steps: int = 500,
    beta_start: float = 1e-4,
    beta_end: float = 0.02,
    times: Times = "article",
    values: Values = "0..1",
    budget: str = "50 epochs",
) -> Imported:
    """The model in a file, and its optimizer, if that is there.

    A file that `loang export keras` wrote tells all that the options would, which are then unused.

    Args:
        path: the folder of a CheckpointManager, whose newest checkpoint is read; a checkpoint's
            prefix, as `checkpoints/ckpt-12`; a `.h5`, `.weights.h5` or `.keras` file.
        size: height and width of the images, which no file tells.
        steps: `timesteps` of the code, T.
        beta_start: `a_min` of the code.
        beta_end: `a_max` of the code.
        times: "article": t = 1..T-1 of T + 1 betas; "paper": t = 1..T of T betas.
        values: that the images had in training.
        budget: of the whole training, where it goes on.

    Raises:
        LoangError: there is no such file, it is damaged, too large for memory, or not of the
            article's network: says which weight is odd; or an option that can't be.
    """
    path = Path(path)
    if path.is_file() and back.is_own(path):  # a pipe, or a device, would never end
        return Imported(back.read(path), notices=["loang wrote it: all is as it was."])
    parse(budget, 1)
    low = -255.0 if values == "0..1" else 0.0
    if steps < 3:
        raise LoangError(f"A schedule of {steps} steps can't be.", "Give the code's timesteps.")
    try:
        stored, layout, config = opened(path)
        channels, width = _sizes(stored, layout)
        expected = article_weights(channels, width)
        dialects.check_shapes(layout, stored.shapes(), expected)
        moments = _moments(stored, layout, config)
        made = _settings(width, moments, size, steps, beta_start, beta_end, times, values)
        made["training"] |= {"budget": budget, "precision": "float32"}  # the article's
        settings = load(made)
        spec = ImageSpec(*size, channels, low=low)
        spec.check_size()
        denoiser = build_denoiser(settings, spec)
        denoiser.network.load_state_dict(
            {torch_name(name): _tensor(stored, name, layout.weights[name]) for name in expected}
        )
    except FileNotFoundError as error:
        raise LoangError(
            f"There is nothing at {path}.", "Name the folder of checkpoints, or a file of weights."
        ) from error
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise LoangError(
            f"{path} can't be read as a model of the article's: {reason}.",
            "Name the folder of its checkpoints, or what save_weights or save has written.",
        ) from error
    aside = layout.notices
    notices = [*_notices(settings, times, values, moments, bool(layout.moments), aside), *aside]
    facts: dict[str, Any] = {"weights": "as the article's code trained them", "notices": notices}
    if moments is not None:
        facts["steps"] = moments.steps
    return Imported(Model(denoiser, spec, settings, facts), moments, notices)


def _sizes(stored: Stored, layout: Layout) -> tuple[int, int]:
    """Channels of the images, and of the first level."""
    shape: Shape = stored.shapes()[layout.weights["inc/double_conv/0/kernel"]]
    if len(shape) != 4 or not 0 < shape[2] <= WIDEST or not 0 < shape[3] <= WIDEST:
        raise ValueError(f"its first convolution is of the shape {shape}")
    return shape[2], shape[3]


def _tensor(stored: Stored, name: str, place: str) -> Float[Tensor, "..."]:
    """A weight, or what the optimizer knows of it, as torch has it; float32."""
    value = stored.read(place)
    if value.dtype.kind != "f":
        raise ValueError(f"{untrusted.shown(place)} has no real numbers")
    with np.errstate(over="ignore"):
        laid: Shaped[np.ndarray, ...] = torch_layout(name, value).astype(np.float32)
    tensor = torch.from_numpy(np.ascontiguousarray(laid))
    if not all_finite(tensor):
        raise ValueError(f"{untrusted.shown(place)} has values that are no numbers")
    return tensor


def _moments(stored: Stored, layout: Layout, config: Mapping[str, Any]) -> Moments | None:
    if not layout.moments:
        return None
    numbers = {name: _number(stored, place) for name, place in layout.numbers.items()}
    rate = numbers.get("learning_rate", _compiled(config, "learning_rate", RATE))
    if rate is None:  # a schedule: what it would be at the next step, no file says in numbers
        return None
    # An optimizer that decays says so in its checkpoint, unless it is Keras 3's.
    silent = 0.0 if layout.decoupled else WEIGHT_DECAY
    decay = numbers.get("weight_decay", _compiled(config, "weight_decay", silent)) or 0.0
    if not 0 < rate < 1 or not 0 <= decay < 1:
        raise ValueError(f"its learning rate is {rate:g}, its weight decay {decay:g}")
    steps = numbers["iterations"]
    if not 0 <= steps < MOST_STEPS or steps != int(steps):
        raise ValueError(f"its optimizer has done {steps:g} steps")
    first, second = (
        {torch_name(name): _tensor(stored, name, pair[at]) for name, pair in layout.moments.items()}
        for at in (0, 1)
    )
    if any(bool((each < 0).any()) for each in second.values()):
        raise ValueError("its optimizer has a square below 0")
    # tfa's AdamW takes weight_decay * w, torch's takes learning_rate * weight_decay * w.
    return Moments(first, second, int(steps), rate, decay / rate if layout.decoupled else decay)


def _number(stored: Stored, place: str) -> float:
    value = stored.read(place)
    if value.size != 1 or not math.isfinite(value.item()):
        raise ValueError(f"{untrusted.shown(place)} is no number")
    # What float32 rounded was 0.001 before.
    return float(f"{value.item():.7g}") if value.dtype.kind == "f" else float(value.item())


def _compiled(config: Mapping[str, Any], name: str, default: float) -> float | None:
    """What a `.keras` file's config tells of its optimizer, where its model was compiled.

    None where that is no number: null, or the description of a schedule.
    """
    found: Any = config
    for key in ("compile_config", "optimizer", "config"):
        found = found.get(key) if isinstance(found, dict) else None
    if not isinstance(found, dict) or name not in found:
        return default
    found = found[name]
    if found is None or isinstance(found, dict):
        return None
    if type(found) not in (int, float):
        raise ValueError(f"its {name} is {untrusted.shown(found)}")
    return float(f"{found:.7g}")


def _settings(
    width: int,
    moments: Moments | None,
    size: tuple[int, int],
    steps: int,
    beta_start: float,
    beta_end: float,
    times: Times,
    values: Values,
) -> dict[str, Any]:
    """The preset `tutorial`, with what the article's code has in its place."""
    made = preset("tutorial").to_dict()
    made["network"]["width"] = width
    if times == "article":  # the first T - 1 of its T + 1 betas
        beta_end = beta_start + (beta_end - beta_start) * (steps - 2) / steps
        steps -= 1
    made["schedule"] |= {"steps": steps, "beta_start": beta_start, "beta_end": beta_end}
    made["sampling"]["steps"] = steps
    # Which images they were, no file tells.
    range_ = "unit" if values == "0..1" else "auto"
    made["data"] |= {"source": None, "size": list(size), "range": range_}
    if moments is not None:
        bias = 1 - 0.999 ** (moments.steps + 1)
        made["optimizer"] |= {
            "learning_rate": moments.learning_rate,
            "weight_decay": moments.weight_decay,
            "epsilon": made["optimizer"]["epsilon"] / math.sqrt(bias),
        }
    return made


def _notices(
    settings: Settings,
    times: Times,
    values: Values,
    moments: Moments | None,
    had: bool,
    aside: Sequence[str],
) -> list[str]:
    schedule = settings.schedule
    said = [
        f"Its times are taken for the article's: t = 1..{schedule.steps}, all that its code trains"
        f" but t = 0, which has no noise (--times paper, if that was mended)."
        if times == "article"
        else f"Its times are taken for the paper's: t = 1..{schedule.steps}.",
        "Its images are taken for the article's, in [0, 1] (--range=-1..1, if that was mended)."
        if values == "0..1"
        else "Its images are taken to have been in [-1, 1].",
    ]
    if moments is None and not aside:
        said.append(
            "Its learning rate followed a schedule, which is not brought, nor its optimizer:"
            " training can't go on where it was."
            if had
            else "There is no optimizer in it: training can't go on where it was."
        )
    if moments is not None:
        said.append(
            f"Its optimizer has done {moments.steps:,} steps: learning rate"
            f" {moments.learning_rate:g}, weight decay {moments.weight_decay:g} of torch's kind"
            " (the article's, where the file does not tell)."
        )
    return said
