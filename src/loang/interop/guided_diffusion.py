"""Models of improved-diffusion and guided-diffusion (OpenAI, MIT): a bare state dict.

Both have the U-Net of Nichol and Dhariwal 2021, guided-diffusion with more options (Dhariwal and
Nichol 2021); it is loang's own `unet` by other names (`guided_names.py`). What leaves no trace in
the weights is asked for (`Unseen`).

The learnt variance means the same in both: -1 and 1 are the bounds, between which logarithms are
interpolated. So does the attention, but that their convolution for q, k and v has the channels of
one head together; the "new order" of guided-diffusion is loang's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from loang import config
from loang.config import Settings
from loang.data.spec import ImageSpec
from loang.errors import LoangError
from loang.interop import foreign
from loang.interop.fitting import fitted
from loang.interop.guided_names import Form, form, names
from loang.model import Model

LIBRARY = "guided-diffusion or improved-diffusion"
GROUPS = 32
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Unseen:
    """What the weights do not tell; the defaults are guided-diffusion's.

    Args:
        size: height and width of the images.
        heads: of each attention.
        head_width: channels of each head, in place of `heads` (`num_head_channels`).
        new_order: of the channels of q, k and v (`use_new_attention_order`).
        steps: of the diffusion (`diffusion_steps`).
        schedule: `noise_schedule`.
        in_thousands: whether times are told as if there were 1000 (`rescale_timesteps`, which
            improved-diffusion does unless it is told not to).
        predicts: "x0" for `predict_xstart`.
        dropout: of training, 0..1.
    """

    size: tuple[int, int]
    heads: int = 4
    head_width: int | None = None
    new_order: bool = False
    steps: int = 1000
    schedule: Literal["linear", "cosine"] = "linear"
    in_thousands: bool = False
    predicts: Literal["eps", "x0"] = "eps"
    dropout: float = 0.0


def read(path: Path, unseen: Unseen) -> Model:
    """The model of a file.

    Args:
        path: `ema_0.9999_*.pt` or `model*.pt` of their training, or the same as safetensors.
        unseen: what the file does not tell.

    Raises:
        LoangError: it holds no such model, or one that loang can't say; or it can't be read.
    """
    found = foreign.look(path)
    settings, spec, own = described(path, found.shapes, unseen)

    def changed(name: str, weight: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        if unseen.new_order or name.split(".")[-2] != "qkv":
            return weight
        wide = weight.shape[0] // 3
        return regrouped(weight, wide // unseen.head_width if unseen.head_width else unseen.heads)

    facts = {"data": f"unknown; brought from {LIBRARY}"}
    return fitted(found, own, settings, spec, facts, changed)


def described(
    path: Path, shapes: Mapping[str, Shape], unseen: Unseen
) -> tuple[Settings, ImageSpec, dict[str, str]]:
    """The settings that names and shapes describe, the images, and loang's name for each name.

    What stands in no network of theirs keeps its name.

    Raises:
        LoangError: it is none of theirs, or one that loang can't say.
    """
    known = _checked(path, shapes)
    variance = known.said > known.seen
    ends = {"beta_start": 0.1 / unseen.steps, "beta_end": 20 / unseen.steps}
    settings = config.load(
        {
            "data": {
                "size": list(unseen.size),
                "channels": known.seen,
                "labels": known.classes > 0,
            },
            "network": {
                "kind": "unet",
                **known.network,
                "heads": unseen.heads,
                "head_width": unseen.head_width,
                "dropout": unseen.dropout,
                "norm_groups": GROUPS,
                "norm_epsilon": 1e-5,
                "cosine_first": True,
                "reaches_last": False,
                "no_label": False,
            },
            "schedule": {
                "kind": unseen.schedule,
                "steps": unseen.steps,
                **(ends if unseen.schedule == "linear" else {}),
                "counted_from": 0,
                "told_in_thousands": unseen.in_thousands,
            },
            "denoiser": {"predicts": unseen.predicts, "learn_variance": variance},
            "training": {"label_dropout": 0.0},
            "sampling": {
                "sampler": "ddim",
                "steps": min(50, unseen.steps),
                "variance": "learned" if variance else "fixed-large",
            },
        }
    )
    modules = dict(names(known))
    own = {}
    for name in shapes:
        module, _, kind = name.rpartition(".")
        own[name] = f"{modules[module]}.{kind}" if module in modules else name
    classes = tuple(map(str, range(known.classes)))
    return settings, ImageSpec(*unseen.size, known.seen, class_names=classes), own


def regrouped(weight: Float[Tensor, "outputs ..."], heads: int) -> Float[Tensor, "outputs ..."]:
    """Channels of q, k and v of one head after another, to all heads' q, all k, all v."""
    return weight.unflatten(0, (heads, 3, -1)).transpose(0, 1).flatten(0, 2)


def _checked(path: Path, shapes: Mapping[str, Shape]) -> Form:
    """What a file's network is.

    Raises:
        LoangError: it is none of theirs, or one that loang can't say.
    """
    if "input_blocks.0.0.weight" not in shapes or "time_embed.0.weight" not in shapes:
        raise foreign.missing(path, f"network of {LIBRARY}", "their training")
    if not any(name.startswith("output_blocks.") for name in shapes):
        raise _refusal(path, "it is a classifier, which draws nothing")
    found = form(shapes)
    if found.seen == 6 or found.said not in (found.seen, 2 * found.seen):
        raise _refusal(path, "it is shown a smaller image, which it draws larger")
    if (
        not found.width
        or found.first != found.width
        or any(not wide or wide % found.width for wide in found.widths)
    ):
        raise _refusal(path, "the widths of its levels are not all multiples of its first")
    odd = next((wide for wide in (found.width, *found.widths) if wide % GROUPS), None)
    if odd is not None:
        raise _refusal(path, f"{odd} channels can't be normed in {GROUPS} groups")
    return found


def _refusal(path: Path, why: str) -> LoangError:
    return LoangError(
        f"The network in {path} can't be said by loang: {why}.",
        "Bring one of their models that draw images from noise.",
    )
