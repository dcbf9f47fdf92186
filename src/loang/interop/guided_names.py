"""The U-Net of improved-diffusion and guided-diffusion by its names and shapes, and loang's names.

Their blocks are numbered through: the first convolution, then the blocks of each level with, after
each level but the last, what halves the size; on the way up one block more a level, the last of
which has, in every level but the finest, what doubles the size behind it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Shapes = Mapping[str, tuple[int, ...]]
MOST = 1024
"""Blocks on the way up: more than the settings allow."""


@dataclass(frozen=True)
class Form:
    """What names and shapes tell of a network.

    Args:
        seen: channels that go in.
        said: channels that come out.
        width: of the time's code, before it is four times as wide.
        first: the width of the first convolution.
        widths: of each level.
        blocks: of each level on the way down.
        attention: which levels attend.
        modulate: whether codes scale and shift.
        resample_blocks: whether sizes are halved and doubled within blocks.
        classes: how many.
    """

    seen: int
    said: int
    width: int
    first: int
    widths: tuple[int, ...]
    blocks: int
    attention: tuple[int, ...]
    modulate: bool
    resample_blocks: bool
    classes: int

    @property
    def network(self) -> dict[str, Any]:
        """Settings of the network that follow, if all widths are multiples of one."""
        return {
            "width": self.width,
            "multipliers": [wide // self.width for wide in self.widths],
            "blocks": self.blocks,
            "attention": list(self.attention),
            "modulate": self.modulate,
            "resample_blocks": self.resample_blocks,
        }


def form(shapes: Shapes) -> Form:
    """What the weights describe; they may be anything, so all of it is to be checked."""
    rising = 0
    while rising < MOST and f"output_blocks.{rising}.0.in_layers.2.weight" in shapes:
        rising += 1
    ups = [block for block in range(rising) if _doubling(shapes, block)]
    a_level = ups[0] + 1 if ups else rising
    firsts = [level * a_level for level in range(len(ups) + 1)]  # the lowest level's is first
    widths = [_side(shapes, f"output_blocks.{block}.0.in_layers.2.weight", 0) for block in firsts]
    attending = [f"output_blocks.{block}.1.qkv.weight" in shapes for block in firsts]
    of_code = _side(shapes, "middle_block.0.emb_layers.1.weight", 0)
    return Form(
        seen=_side(shapes, "input_blocks.0.0.weight", 1),
        said=_side(shapes, "out.2.weight", 0),
        width=_side(shapes, "time_embed.0.weight", 1),
        first=_side(shapes, "input_blocks.0.0.weight", 0),
        widths=tuple(reversed(widths)),
        blocks=a_level - 1,
        attention=tuple(level for level, attends in enumerate(reversed(attending)) if attends),
        modulate=of_code == 2 * widths[0],
        resample_blocks=any(_doubling(shapes, block) == "in_layers.2" for block in ups),
        classes=_side(shapes, "label_emb.weight", 0),
    )


def names(found: Form) -> Iterator[tuple[str, str]]:
    """Each module of theirs with loang's, as their names begin; `skip` is not in every block."""
    yield from (("time_embed.0", "time.mlp.0"), ("time_embed.2", "time.mlp.2"))
    yield from (("label_emb", "label"), ("out.0", "last_norm"), ("out.2", "last"))
    yield "input_blocks.0.0", "first"
    levels, number = len(found.widths), 1
    for level in range(levels):
        for block in range(found.blocks):
            yield from _block(f"input_blocks.{number}.0", f"down.{level}.blocks.{block}")
            if level in found.attention:
                yield from _attention(
                    f"input_blocks.{number}.1", f"down.{level}.attentions.{block}"
                )
            number += 1
        if level < levels - 1:
            yield from _resampling(found, f"input_blocks.{number}.0", "op", f"down.{level}")
            number += 1
    yield from _block("middle_block.0", "middle.0")
    yield from _attention("middle_block.1", "middle_attention")
    yield from _block("middle_block.2", "middle.1")
    number = 0
    for stage, level in enumerate(reversed(range(levels))):
        attends = level in found.attention
        for block in range(found.blocks + 1):
            yield from _block(f"output_blocks.{number}.0", f"up.{stage}.blocks.{block}")
            if attends:
                yield from _attention(f"output_blocks.{number}.1", f"up.{stage}.attentions.{block}")
            number += 1
        if level > 0:
            theirs = f"output_blocks.{number - 1}.{2 if attends else 1}"
            yield from _resampling(found, theirs, "conv", f"up.{stage}")


def _block(theirs: str, ours: str) -> Iterator[tuple[str, str]]:
    for one, other in (
        *(("in_layers.0", "norm1"), ("in_layers.2", "conv1"), ("emb_layers.1", "code")),
        *(("out_layers.0", "norm2"), ("out_layers.3", "conv2"), ("skip_connection", "skip")),
    ):
        yield f"{theirs}.{one}", f"{ours}.{other}"


def _attention(theirs: str, ours: str) -> Iterator[tuple[str, str]]:
    for one, other in (("norm", "norm"), ("qkv", "qkv"), ("proj_out", "out")):
        yield f"{theirs}.{one}", f"{ours}.{other}"


def _resampling(
    found: Form, theirs: str, convolution: str, stage: str
) -> Iterator[tuple[str, str]]:
    if found.resample_blocks:
        yield from _block(theirs, f"{stage}.resample")
    else:
        yield f"{theirs}.{convolution}", f"{stage}.resample.conv"


def _doubling(shapes: Shapes, block: int) -> str:
    """Which part of a block on the way up tells that the size is doubled behind it; "" if none."""
    for part in ("conv", "in_layers.2"):
        if any(f"output_blocks.{block}.{place}.{part}.weight" in shapes for place in (1, 2)):
            return part
    return ""


def _side(shapes: Shapes, name: str, side: int) -> int:
    """Of a weight; 0 where there is none, or none with such a side."""
    shape = shapes.get(name, ())
    return shape[side] if side < len(shape) else 0
