"""diffusers' UNet2DModel and loang's unet: the same network in two configurations.

Facts: diffusers 0.42.1, `UNet2DModel`, whose defaults stand for keys that an older file lacks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from loang.config import UNetSettings
from loang.data.spec import ImageSpec
from loang.interop.diffusers.keys import Keys
from loang.networks.unet import UNet

CLASS = "UNet2DModel"
PLAIN, ATTENDING = ("DownBlock2D", "UpBlock2D"), ("AttnDownBlock2D", "AttnUpBlock2D")
RESAMPLING = ("ResnetDownsampleBlock2D", "ResnetUpsampleBlock2D")
"""A level that a residual block leaves; how an attending one is left is a key of its own."""
MIDDLE = "UNetMidBlock2D"
_OF_AN_AVERAGE = (
    *("decay", "inv_gamma", "min_decay", "optimization_step", "power", "update_after_step"),
    "use_ema_warmup",
)
"""What diffusers' averages leave among the keys of the network that they are of."""


@dataclass(frozen=True)
class Network:
    """What a configuration says of a network.

    Args:
        settings: loang's, as plain values.
        size: height, width of its images.
        channels: of its images.
        classes: how many labels it knows, one code each; 0 for none.
        answers: channels of its answer.
    """

    settings: dict[str, Any]
    size: tuple[int, int]
    channels: int
    classes: int
    answers: int


def read(values: Mapping[str, Any]) -> Network:
    """What the configuration of a UNet2DModel says.

    Raises:
        LoangError: loang's network can't be like that; says which key.
    """
    keys = Keys(values, "network")
    widths = keys.wholes("block_out_channels", (224, 448, 672, 896))
    downs = ("DownBlock2D", *("AttnDownBlock2D",) * 3)
    ups = (*("AttnUpBlock2D",) * 3, "UpBlock2D")
    attention, resample_blocks = _levels(
        keys,
        keys.texts("down_block_types", downs),
        keys.texts("up_block_types", ups),
        len(widths),
    )
    width = widths[0]
    if width < 1 or any(each % width for each in widths) or width % 2:
        raise keys.refusal("block_out_channels", list(widths))
    groups = keys.whole("norm_num_groups", 32)
    modulate = keys.one_of(
        "resnet_time_scale_shift", "default", {"default": "", "scale_shift": "yes"}
    )
    middle = keys.flag("add_attention", True)
    of_middle = keys.whole_or_none("attn_norm_num_groups", None)
    if of_middle is None and not modulate:
        of_middle = groups
    if middle and of_middle != groups:  # None: its attention in the middle has no norm at all
        raise keys.refusal("attn_norm_num_groups", of_middle)
    settings = {
        "kind": "unet",
        "width": width,
        "multipliers": [each // width for each in widths],
        "blocks": keys.whole("layers_per_block", 2),
        "attention": attention,
        "heads": 1,
        "head_width": keys.whole_or_none("attention_head_dim", 8),
        "middle_attention": middle,
        "dropout": keys.real("dropout", 0.0),
        "modulate": bool(modulate),
        "norm_groups": groups,
        "norm_epsilon": keys.real("norm_eps", 1e-5),
        "downsample_padding": ("after", "around")[_bit(keys, "downsample_padding", 1)],
        "resample_blocks": resample_blocks,
        "cosine_first": keys.flag("flip_sin_to_cos", True),
        "reaches_last": bool(_bit(keys, "freq_shift", 0)),
    }
    channels, answers = keys.whole("in_channels", 3), keys.whole("out_channels", 3)
    if answers not in (channels, 2 * channels):
        raise keys.refusal("out_channels", answers)
    classes = keys.whole_or_none("num_class_embeds", None)
    if classes is not None:
        if classes < 1:
            raise keys.refusal("num_class_embeds", classes)
        settings["no_label"] = False
    keys.must_be("class_embed_type", None)
    keys.must_be("time_embedding_type", "positional")
    keys.must_be("time_embedding_dim", None, 4 * width)
    keys.must_be("center_input_sample", False)
    keys.must_be("mid_block_type", MIDDLE)
    keys.must_be("mid_block_scale_factor", 1)
    keys.must_be("act_fn", "silu", "swish")
    keys.ignore("num_train_timesteps", *_OF_AN_AVERAGE)  # the first, of learnt codes of the time
    size = _size(keys)
    keys.finish()
    return Network(settings, size, channels, classes or 0, answers)


def write(network: UNet, settings: UNetSettings, spec: ImageSpec, groups: int) -> dict[str, Any]:
    """The configuration of the UNet2DModel that is the same network.

    Args:
        network: one that `limits.check` let through.
        settings: that it was built with.
        spec: of its images.
        groups: of each of its norms.
    """
    depths = range(len(settings.multipliers))
    plain = RESAMPLING if settings.resample_blocks else PLAIN
    kinds = [ATTENDING if depth in settings.attention else plain for depth in depths]
    resample = "resnet" if settings.resample_blocks else "conv"
    size = spec.height if spec.height == spec.width else [spec.height, spec.width]
    rows = network.label.num_embeddings if isinstance(network.label, nn.Embedding) else None
    return {
        "act_fn": "silu",
        "add_attention": settings.middle_attention,
        "attention_head_dim": head_width(settings),
        "attn_norm_num_groups": groups if settings.modulate else None,
        "block_out_channels": [settings.width * each for each in settings.multipliers],
        "center_input_sample": False,
        "class_embed_type": None,
        "down_block_types": [kind[0] for kind in kinds],
        "downsample_padding": 0 if settings.downsample_padding == "after" else 1,
        "downsample_type": resample,
        "dropout": settings.dropout,
        "flip_sin_to_cos": settings.cosine_first,
        "freq_shift": int(settings.reaches_last),
        "in_channels": spec.channels,
        "layers_per_block": settings.blocks,
        "mid_block_scale_factor": 1,
        "mid_block_type": MIDDLE,
        "norm_eps": settings.norm_epsilon,
        "norm_num_groups": groups,
        "num_class_embeds": rows,
        "num_train_timesteps": None,
        "out_channels": spec.channels * (2 if network.variance else 1),
        "resnet_time_scale_shift": "scale_shift" if settings.modulate else "default",
        "sample_size": size,
        "time_embedding_dim": None,
        "time_embedding_type": "positional",
        "up_block_types": [kind[1] for kind in reversed(kinds)],
        "upsample_type": resample,
    }


def head_width(settings: UNetSettings) -> int | None:
    """Channels of each head, if all have the same; None for one head of all channels.

    Raises:
        ValueError: the levels' heads have different widths.
    """
    if settings.head_width is not None or settings.heads == 1:
        return settings.head_width
    depths = {*settings.attention}
    if settings.middle_attention:
        depths.add(len(settings.multipliers) - 1)
    widths = {settings.width * settings.multipliers[depth] // settings.heads for depth in depths}
    if len(widths) > 1:
        raise ValueError(f"heads of {sorted(widths)} channels, where diffusers has one number")
    return widths.pop() if widths else None


def _levels(
    keys: Keys, downs: tuple[str, ...], ups: tuple[str, ...], depths: int
) -> tuple[list[int], bool]:
    """Which levels attend, and whether sizes change in residual blocks: the same on both ways."""
    ways = {"down_block_types": downs, "up_block_types": ups[::-1]}
    found = []
    for way, (key, kinds) in enumerate(ways.items()):
        known = {each[way]: each for each in (PLAIN, ATTENDING, RESAMPLING)}
        if len(kinds) != depths or any(kind not in known for kind in kinds):
            raise keys.refusal(key, list(kinds))
        found.append([known[kind] for kind in kinds])
    attending = [[kind == ATTENDING for kind in kinds] for kinds in found]
    if attending[0] != attending[1]:
        raise keys.refusal("up_block_types", list(ups))
    # The lowest level is not left downwards, and the finest not upwards.
    left = [(found[0][:-1], "downsample_type"), (found[1][1:], "upsample_type")]
    in_blocks = set[bool]()
    for levels, key in left:
        of_attending = keys.one_of(key, "conv", {"conv": "", "resnet": "yes"}) != ""
        in_blocks |= {of_attending if kind == ATTENDING else kind == RESAMPLING for kind in levels}
    if len(in_blocks) > 1:
        raise keys.refusal("down_block_types", list(downs))
    return [depth for depth, attends in enumerate(attending[0]) if attends], in_blocks == {True}


def _bit(keys: Keys, key: str, default: int) -> int:
    value = keys.whole(key, default)
    if value not in (0, 1):
        raise keys.refusal(key, value)
    return value


def _size(keys: Keys) -> tuple[int, int]:
    value = keys.raw("sample_size")
    sides = [value, value] if type(value) is int else value
    if (
        not isinstance(sides, list)
        or len(sides) != 2
        or any(type(each) is not int for each in sides)
    ):
        raise keys.refusal("sample_size", value)
    return sides[0], sides[1]
