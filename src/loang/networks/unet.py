"""The modern default: a U-Net of residual blocks, sized by a few plain numbers."""

from collections.abc import Iterator, Sequence
from typing import cast

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn
from torch.nn import functional

from loang.errors import LoangError
from loang.networks.layers import (
    Attention,
    Downsample,
    DownsamplePadding,
    NormRule,
    Resample,
    ResidualBlock,
    TimeCode,
    Upsample,
    group_norm,
    zeroed,
)
from loang.networks.sizes import cropped, padded


class UNet(nn.Module):
    """A U-Net with time and label codes (Ho et al. 2020; Dhariwal and Nichol 2021).

    With `width=128, multipliers=(1, 2, 2, 2), blocks=2, attention=(1,), modulate=False` and three
    channels it is Ho et al.'s network for CIFAR-10, of 35.7 million parameters.

    Args:
        channels: of an image, 1 or more.
        width: of the first level.
        multipliers: the width of each level, in units of `width`; each next level has half the
            height and width.
        blocks: residual blocks a level on the way down; there is one more on the way up.
        attention: which levels attend, counted from 0, the finest.
        heads: of each attention; must divide the widths of the levels that attend.
        head_width: channels of each head, in place of `heads`; must divide those widths too.
        middle_attention: whether the lowest level attends between its two middle blocks.
        fold: pixels of `fold` x `fold` become channels of one position before the first level
            and are unfolded after the last: less work at full size, for small processors.
        dropout: within the blocks, 0..1.
        modulate: whether the codes scale and shift (True), or are only added (Ho et al.).
        group_channels: at least so many share the mean and variance of a norm.
        norm_groups: just so many groups in every norm, in place of that.
        norm_epsilon: what a norm adds to the variance.
        downsample_padding: see `layers.Downsample`.
        resample_blocks: whether sizes are halved and doubled within residual blocks of their own
            (see `layers.ResidualBlock`), in place of `Downsample` and `Upsample`.
        cosine_first: see `layers.TimeCode`.
        reaches_last: see `layers.TimeCode`.
        classes: how many labels there are; 0 for none.
        no_label: whether there is one code more, for "no label".
        augmentations: how many numbers say how an image was changed; 0 for none.
        given: channels of another image that is shown beside x; 0 for none.
        variance: whether it answers twice x's channels: what it predicts, then, for each value,
            where the variance of a step lies between its bounds.

    Raises:
        ValueError: widths can't be divided into such heads, or into so many groups.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        multipliers: Sequence[int],
        blocks: int,
        attention: Sequence[int] = (),
        heads: int = 1,
        head_width: int | None = None,
        middle_attention: bool = True,
        fold: int = 1,
        dropout: float = 0.0,
        modulate: bool = True,
        group_channels: int = 4,
        norm_groups: int | None = None,
        norm_epsilon: float = 1e-6,
        downsample_padding: DownsamplePadding = "around",
        resample_blocks: bool = False,
        cosine_first: bool = False,
        reaches_last: bool = True,
        classes: int = 0,
        no_label: bool = True,
        augmentations: int = 0,
        given: int = 0,
        variance: bool = False,
    ) -> None:
        super().__init__()
        self.fold = fold
        self.halvings = len(multipliers) - 1
        self.classes = classes
        self.no_label = no_label
        self.augmentations = augmentations
        self.given = given
        self.variance = variance
        widths = [width * multiplier for multiplier in multipliers]
        code = 4 * width
        norm = NormRule(group_channels, norm_groups, norm_epsilon)

        def block(inputs: int, outputs: int, resample: Resample | None = None) -> ResidualBlock:
            return ResidualBlock(
                inputs,
                outputs,
                code,
                dropout=dropout,
                modulate=modulate,
                norm=norm,
                resample=resample,
            )

        def attention_of(wide: int) -> Attention:
            return Attention(wide, wide // head_width if head_width else heads, norm)

        def attend(level: int) -> nn.Module:
            return attention_of(widths[level]) if level in attention else nn.Identity()

        self.time = TimeCode(width, code, cosine_first=cosine_first, reaches_last=reaches_last)
        self.label = nn.Embedding(classes + int(no_label), code) if classes else None
        self.first = nn.Conv2d((channels + given) * fold**2, width, 3, padding=1)

        # Every map on the way down is kept, and joined to one block on the way up.
        self.down = nn.ModuleList()
        kept, current = [width], width
        for level, wide in enumerate(widths):
            stage = _Stage()
            for _ in range(blocks):
                stage.add(block(current, wide), attend(level))
                current = wide
                kept.append(current)
            if level < self.halvings:
                stage.resample = (
                    block(current, current, "half")
                    if resample_blocks
                    else Downsample(current, current, downsample_padding)
                )
                kept.append(current)
            self.down.append(stage)

        self.middle = nn.ModuleList([block(current, current), block(current, current)])
        self.middle_attention = attention_of(current) if middle_attention else nn.Identity()

        self.up = nn.ModuleList()
        for level, wide in reversed(list(enumerate(widths))):
            stage = _Stage()
            for _ in range(blocks + 1):
                stage.add(block(current + kept.pop(), wide), attend(level))
                current = wide
            if level > 0:
                stage.resample = (
                    block(current, current, "double")
                    if resample_blocks
                    else Upsample(current, current)
                )
            self.up.append(stage)

        self.last_norm = group_norm(current, norm)
        answers = channels * (2 if variance else 1)
        self.last = zeroed(nn.Conv2d(current, answers * fold**2, 3, padding=1))

        # Without a bias, so that 0 is no change; and last, so that the weights above are the same
        # with and without it. From zero it would be learnt late: a tiny network then still drew
        # half of its images turned where, from random weights as a label's, it drew none.
        self.augmentation = nn.Linear(augmentations, code, bias=False) if augmentations else None
        if self.augmentation is not None:
            nn.init.normal_(self.augmentation.weight)

    def forward(
        self,
        x: Float[Tensor, "n c h w"],
        condition: Shaped[Tensor, " n"],
        label: Int[Tensor, " n"] | None = None,
        augmentation: Float[Tensor, "n parameters"] | None = None,
        given: Float[Tensor, "n k h w"] | None = None,
    ) -> Float[Tensor, "n answers h w"]:
        """The same shape out, or twice the channels.

        Args:
            x: noisy images of any size; see `networks/sizes.py`.
            condition: the time of each image.
            label: 0..classes-1, or `classes` for "no label"; None means that of all.
            augmentation: how each image was changed, all 0 for one that was not (augment.py);
                None means that none was.
            given: the other image; None means one that is 0 everywhere.

        Raises:
            LoangError: no label, for a network that was built without one for that.
            ValueError: a label, an augmentation or another image, for a network that knows none.
        """
        code = self.time(condition)
        if self.label is not None:
            if label is None and not self.no_label:
                raise LoangError(
                    "This model has never seen an image without a label, and was given none.",
                    f"Give each image a label, from 0 to {self.classes - 1}.",
                )
            if label is None:
                label = torch.full_like(condition, self.classes, dtype=torch.long)
            code = code + self.label(label)
        elif label is not None:
            raise ValueError("a label for a network that was built without classes")
        if augmentation is not None:
            if self.augmentation is None:
                raise ValueError("an augmentation for a network that was built without")
            code = code + self.augmentation(augmentation)
        code = functional.silu(code)

        if self.given:
            if given is None:
                given = x.new_zeros(len(x), self.given, *x.shape[2:])
            x = torch.cat((x, given.to(x.dtype)), dim=1)
        elif given is not None:
            raise ValueError("another image for a network that was built without")
        height, width = x.shape[2:]
        x = padded(x, self.fold * 2**self.halvings)
        h = self.first(functional.pixel_unshuffle(x, self.fold))
        kept = [h]
        for stage in self._stages(self.down):
            for block, attention in stage:
                h = attention(block(h, code))
                kept.append(h)
            if stage.resample is not None:
                h = stage.resampled(h, code)
                kept.append(h)

        h = self.middle[1](self.middle_attention(self.middle[0](h, code)), code)

        for stage in self._stages(self.up):
            for block, attention in stage:
                h = attention(block(torch.cat((h, kept.pop()), dim=1), code))
            if stage.resample is not None:
                h = stage.resampled(h, code)

        out = self.last(functional.silu(self.last_norm(h)))
        return cropped(functional.pixel_shuffle(out, self.fold), height, width)

    @staticmethod
    def _stages(modules: nn.ModuleList) -> Iterator["_Stage"]:
        return (cast(_Stage, module) for module in modules)


class _Stage(nn.Module):
    """The blocks of one level, the attention (or none) after each, and the way to the next."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        self.attentions = nn.ModuleList()
        self.resample: nn.Module | None = None

    def add(self, block: nn.Module, attention: nn.Module) -> None:
        self.blocks.append(block)
        self.attentions.append(attention)

    def resampled(self, h: Float[Tensor, "n c h w"], code: Float[Tensor, "n d"]) -> Tensor:
        """On the way to the next level, which there must be."""
        part = cast(nn.Module, self.resample)
        return cast(Tensor, part(h, code) if isinstance(part, ResidualBlock) else part(h))

    def __iter__(self) -> Iterator[tuple[nn.Module, nn.Module]]:
        return zip(self.blocks, self.attentions, strict=True)
