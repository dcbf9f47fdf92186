"""Models of denoising-diffusion-pytorch (Phil Wang, MIT), from 1.9 on: what its `Trainer` saves.

`results/model-N.pt` holds a state dict of its `GaussianDiffusion`, and an average of it. The
network's form is found from the weights' shapes, heads and all; the schedule and what is predicted
from the buffers beside them. Not in the file: the size of the images; and where they are not the
usual ones, the period of the time's code and the number of groups in the norms of version 1. Images
are 0..1 there and -1..1 within, as here.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor

from loang import build, config
from loang.config import ScheduleSettings
from loang.data.spec import ImageSpec
from loang.errors import LoangError
from loang.interop import foreign
from loang.interop.fitting import fitted
from loang.interop.foreign import Foreign
from loang.model import Model
from loang.networks.denoising_diffusion import MEMORY
from loang.schedule.discrete import Discrete
from loang.untrusted import shown

LIBRARY = "denoising-diffusion-pytorch"
FIRST = "init_conv.weight"
MOST_STEPS = 100_000
EQUAL = 1e-5
"""Of signals and noises: the library computes its sigmoid schedule from float32 ends."""
NEAR = 0.02
"""Of a weight of its loss, where the three that are possible are 1, 1/2 and 1/3."""
BUFFERS = (
    *("betas", "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod", "loss_weight"),
    *("sqrt_one_minus_alphas_cumprod", "log_one_minus_alphas_cumprod", "posterior_variance"),
    *("sqrt_recip_alphas_cumprod", "sqrt_recipm1_alphas_cumprod", "posterior_mean_coef1"),
    *("posterior_log_variance_clipped", "posterior_mean_coef2"),
)
Predicts = Literal["eps", "x0", "v"]


def read(
    path: Path,
    size: tuple[int, int],
    *,
    raw: bool = False,
    period: float = 1e4,
    groups: int = 8,
) -> Model:
    """The model of a file.

    Args:
        path: of what its `Trainer` saved, or of a state dict of its `GaussianDiffusion`, as `.pt`
            or as safetensors.
        size: height and width of its images.
        raw: the weights as they were trained, in place of their average.
        period: `sinusoidal_pos_emb_theta`, of the time's code.
        groups: `resnet_block_groups`, of the norms of version 1; version 2 has none.

    Raises:
        LoangError: it holds no such model, or one that loang can't say; or it can't be read.
    """
    found = foreign.look(path)
    prefix = _prefix(found, raw)
    shapes = {
        name.removeprefix(prefix): shape
        for name, shape in found.shapes.items()
        if name.startswith(prefix)
    }
    weights = {
        name.removeprefix("model."): shape
        for name, shape in shapes.items()
        if name.startswith("model.")
    }
    network = _network(found.path, weights, groups)
    channels, conditioned, variance = _images(found.path, weights)
    buffers = found.read({prefix + name: name for name in ("alphas_cumprod", "loss_weight")})
    schedule = _schedule(found.path, buffers["alphas_cumprod"])
    steps = int(schedule["steps"])
    settings = config.load(
        {
            "data": {"size": list(size), "channels": channels, "labels": False},
            "network": {**network, "period": period, "self_conditioning": conditioned},
            "schedule": schedule,
            "denoiser": {
                "predicts": _predicts(
                    found.path, buffers["alphas_cumprod"], buffers["loss_weight"]
                ),
                "learn_variance": variance,
            },
            # What its Trainer does, so that training can go on.
            "optimizer": {"learning_rate": 1e-4, "betas": [0.9, 0.99], "decay_from": 1.0},
            "sampling": {
                "sampler": "ddim",
                "steps": min(50, steps),
                "variance": "learned" if variance else "fixed-small",
            },
        }
    )
    unknown = [name for name in shapes if not name.startswith("model.") and name not in BUFFERS]
    if unknown:
        raise LoangError(
            f"{path} holds {shown(unknown[0])}, which no GaussianDiffusion of {LIBRARY} has.",
            "Name what its Trainer saved.",
        )
    names = {f"{prefix}model.{name}": name for name in weights}
    spec = ImageSpec(*size, channels)
    return fitted(found, names, settings, spec, _facts(found, prefix))


def _prefix(found: Foreign, raw: bool) -> str:
    """What stands before the names of the `GaussianDiffusion` that is wanted."""
    ends = (f"model.{FIRST}", "betas")
    prefixes = sorted(name.removesuffix(ends[0]) for name in found.shapes if name.endswith(ends[0]))
    prefixes = [each for each in prefixes if each + ends[1] in found.shapes]
    averaged = [each for each in prefixes if each.endswith("ema_model.")]
    own = [each for each in prefixes if each not in averaged and "ema." not in each]
    wanted = own if raw else averaged or own
    if len(wanted) == 1:
        return wanted[0]
    if raw and averaged:
        raise LoangError(f"{found.path} holds only averaged weights.", "Leave --raw away.")
    raise foreign.missing(found.path, f"GaussianDiffusion of {LIBRARY}", "its Trainer")


def _network(path: Path, shapes: Mapping[str, tuple[int, ...]], groups: int) -> dict[str, Any]:
    """The network's settings, from the shapes of its weights, which are checked afterwards.

    Raises:
        LoangError: there are parts that loang's network of that kind has not.
    """
    if "time_mlp.0.weights" in shapes:
        raise _refusal(path, "a code of the time by Fourier features, learnt or drawn")
    if "mid_attn.mem_kv" not in shapes:
        raise _refusal(path, "attention without learnt keys, as the library had before version 1.9")
    levels = 0
    while f"downs.{levels}.2.to_qkv.weight" in shapes and levels < 12:
        levels += 1
    memory = shapes.get("mid_attn.mem_kv", ())
    ends = [
        _sides(shapes, f"downs.{level}.3{'.1' * (level < levels - 1)}.weight", 4)[0]
        for level in range(levels)
    ]
    width, rest = divmod(_sides(shapes, "time_mlp.1.weight", 2)[0], 4)
    if not levels or not width or rest or len(memory) != 4 or any(end % width for end in ends):
        raise _refusal(path, "widths that are no multiples of one")
    if memory[2] != MEMORY:
        raise _refusal(path, f"{memory[2]} learnt keys in its attention, and not {MEMORY}")
    full = [level for level in range(levels) if f"downs.{level}.2.to_out.weight" in shapes]
    first = _sides(shapes, FIRST, 4)[0]
    return {
        "kind": LIBRARY.removesuffix("-pytorch"),
        "width": width,
        "multipliers": [end // width for end in ends],
        "first_width": None if first == width else first,
        "full_attention": None if full == [levels - 1] else full,
        "heads": memory[1],
        "head_width": memory[3],
        "norm_groups": groups if "downs.0.0.block1.norm.weight" in shapes else None,
    }


def _images(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, bool, bool]:
    """Channels of an image, whether the network sees its last estimate, whether a variance."""
    seen, said = _sides(shapes, FIRST, 4)[1], _sides(shapes, "final_conv.weight", 4)[0]
    if seen == said:
        return seen, False, False
    if seen == 2 * said:
        return said, True, False
    if said == 2 * seen:
        return seen, False, True
    raise _refusal(path, f"{seen} channels in and {said} out")


def _sides(shapes: Mapping[str, tuple[int, ...]], name: str, count: int) -> tuple[int, ...]:
    """A weight's shape; zeros where there is no such weight, or one of another kind."""
    shape = shapes.get(name, ())
    return shape if len(shape) == count else (0,) * count


def _schedule(path: Path, alpha_bar: Float[Tensor, "..."]) -> dict[str, Any]:
    """Settings of the schedule that has these numbers.

    Raises:
        LoangError: none of loang's has.
    """
    steps = alpha_bar.numel()
    if alpha_bar.ndim == 1 and 2 <= steps <= MOST_STEPS:
        ends = {"beta_start": 0.1 / steps, "beta_end": 20 / steps}
        for kind in ("sigmoid", "cosine", "linear"):
            of_kind = ends if kind == "linear" else {}
            if max(of_kind.values(), default=0) >= 1:
                continue
            values = {"kind": kind, "steps": steps, "counted_from": 0, **of_kind}
            made = build.build_schedule(ScheduleSettings.model_validate(values))
            own = cast(Discrete, made).alpha_bar[1:]
            signal = (alpha_bar.double().clamp(0, 1).sqrt() - own.sqrt()).abs().max()
            noise = ((1 - alpha_bar.double()).clamp(0, 1).sqrt() - (1 - own).sqrt()).abs().max()
            if max(signal, noise) < EQUAL:
                return values
    raise LoangError(
        f"{path} was trained with a schedule of its own: {steps:,} steps that are neither the"
        " library's sigmoid, nor its cosine, nor its linear one.",
        "Bring a model of one of these.",
    )


def _predicts(path: Path, alpha_bar: Float[Tensor, " T"], weight: Float[Tensor, "..."]) -> Predicts:
    """What the network predicts, by how its loss is weighted where signal²/noise² is about 1/2.

    There the library's weights are 1, SNR and SNR / (SNR + 1), with or without min-SNR's limit.

    Raises:
        LoangError: it is weighted in another way.
    """
    if weight.shape == alpha_bar.shape:
        ratio = alpha_bar.double() / (1 - alpha_bar.double())
        at = int((ratio.log() - torch.tensor(0.5).log()).abs().argmin())
        snr, found = float(ratio[at]), float(weight[at])
        meant: dict[Predicts, float] = {"eps": 1.0, "x0": snr, "v": snr / (snr + 1)}
        for kind, value in meant.items():
            if abs(found / value - 1) < NEAR:
                return kind
    raise LoangError(
        f"{path} does not tell what its network predicts: its loss has weights of its own.",
        "Bring a model with an objective of the library's: pred_noise, pred_x0 or pred_v.",
    )


def _facts(found: Foreign, prefix: str) -> dict[str, Any]:
    version = found.plain.get("version")
    steps = found.plain.get("step")
    facts: dict[str, Any] = {
        "data": f"unknown; brought from {LIBRARY}"
        + (f" {shown(version, most=20)}" if isinstance(version, str) else ""),
        "weights": "averaged" if prefix.endswith("ema_model.") else "raw",
    }
    if type(steps) is int and 0 <= steps < 2**62:
        facts["steps"] = steps
    return facts


def _refusal(path: Path, part: str) -> LoangError:
    return LoangError(
        f"{path} can't be said by loang: its network has {part}.",
        f"Bring a Unet of {LIBRARY} 1.9 or newer; docs/neighbours.md tells what is read.",
    )
