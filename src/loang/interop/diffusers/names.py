"""Each weight of loang's unet by the name, or the three names, that diffusers has for it."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

_BLOCK = {
    "norm1": "norm1",
    "conv1": "conv1",
    "code": "time_emb_proj",
    "norm2": "norm2",
    "conv2": "conv2",
    "skip": "conv_shortcut",
}
_ENDS = {
    "time.mlp.0": "time_embedding.linear_1",
    "time.mlp.2": "time_embedding.linear_2",
    "label": "class_embedding",
    "first": "conv_in",
    "last_norm": "conv_norm_out",
    "last": "conv_out",
    "middle.0": "mid_block.resnets.0",
    "middle.1": "mid_block.resnets.1",
    "middle_attention": "mid_block.attentions.0",
}
_PLACE = re.compile(r"(down|up)\.(\d+)\.(blocks|attentions|resample)\.(\w+)(?:\.(.+))?")
_OLD = (("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0"))
"""How diffusers called the parts of an attention before its version 0.13."""
_OLD_NAME = re.compile(r"(.*\battentions\.\d+\.)(query|key|value|proj_attn)(\.\w+)")


@dataclass(frozen=True)
class Pair:
    """One weight of loang's, and where diffusers has it.

    Args:
        ours: its name.
        theirs: one name, or three: queries, keys and values in turn.
        shape: of each of theirs. Attentions there multiply by matrices, where loang's have
            convolutions of 1x1.
    """

    ours: str
    theirs: tuple[str, ...]
    shape: tuple[int, ...]


def pairs(shapes: Mapping[str, tuple[int, ...]]) -> Iterator[Pair]:
    """All weights of a network.

    Args:
        shapes: of loang's weights, by name.
    """
    for ours, shape in shapes.items():
        path, _, last = ours.rpartition(".")
        place = _place(path)
        head, _, part = place.rpartition(".")
        if part == "qkv":
            each = (shape[0] // 3, *shape[1:2])
            yield Pair(ours, tuple(f"{head}.to_{x}.{last}" for x in "qkv"), each)
        elif part == "out":
            yield Pair(ours, (f"{head}.to_out.0.{last}",), shape[:2])
        else:
            yield Pair(ours, (f"{place}.{last}",), shape)


def current(name: str) -> str:
    """A weight's name as diffusers has it now; an old one is translated."""
    found = _OLD_NAME.fullmatch(name)
    return f"{found[1]}{dict(_OLD)[found[2]]}{found[3]}" if found else name


def bring(shapes: Mapping[str, tuple[int, ...]], theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """diffusers' weights, by their current names, as loang's, in float32."""
    return {
        pair.ours: torch.cat([theirs[name].float() for name in pair.theirs]).reshape(
            shapes[pair.ours]
        )
        for pair in pairs(shapes)
    }


def carry(ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """loang's weights as diffusers', by their current names."""
    carried = {}
    for pair in pairs({name: tuple(weight.shape) for name, weight in ours.items()}):
        parts = ours[pair.ours].detach().cpu().chunk(len(pair.theirs))
        for name, part in zip(pair.theirs, parts, strict=True):
            carried[name] = part.reshape(pair.shape).contiguous()
    return carried


def _place(path: str) -> str:
    """The path of a layer of loang's in diffusers; `qkv` and `out` are left as they are."""
    found = _PLACE.fullmatch(path)
    if found is None:
        begin = next(begin for begin in _ENDS if path == begin or path.startswith(f"{begin}."))
        rest = path.removeprefix(begin).removeprefix(".")
        if not rest:
            return _ENDS[begin]
        return f"{_ENDS[begin]}.{_part(rest)}"
    way, level, kind, number, rest = found.groups()
    stage = f"{way}_blocks.{level}"
    if kind == "resample":
        return f"{stage}.{way}samplers.0.{_part(number)}"
    name = "resnets" if kind == "blocks" else "attentions"
    return f"{stage}.{name}.{number}.{_part(rest)}"


def _part(name: str) -> str:
    return {**_BLOCK, "norm": "group_norm"}.get(name, name)
