"""The sections of the networks: one a kind, each with its defaults."""

from typing import Annotated, Literal

from pydantic import Field

from loang.config.sections import Section, Share, Whole


class UNetSettings(Section):
    """networks/unet.py."""

    kind: Literal["unet"] = "unet"
    width: Annotated[int, Field(ge=4, le=2**13)] = 64
    multipliers: tuple[Annotated[int, Field(ge=1, le=2**7)], ...] = Field(
        (1, 2, 2), min_length=1, max_length=12
    )
    blocks: Annotated[int, Field(ge=1, le=32)] = 2
    attention: tuple[Annotated[int, Field(ge=0)], ...] = Field((2,), max_length=12)
    heads: Whole = 4
    head_width: Whole | None = Field(None, description="channels of a head, in place of heads")
    middle_attention: bool = Field(True, description="between the two blocks in the middle")
    fold: Annotated[int, Field(ge=1, le=2**6)] | None = Field(
        1, description="None: what leaves the first level 16x16 positions or fewer"
    )
    dropout: Share = 0.0
    modulate: bool = True
    group_channels: Annotated[int, Field(ge=1, le=2**13)] = Field(
        4, description="at least so many share a norm's mean and variance; 16 is faster on a CPU"
    )
    norm_groups: Whole | None = Field(
        None, description="of every norm, in place of group_channels; must divide all widths"
    )
    norm_epsilon: Annotated[float, Field(gt=0, le=1)] = 1e-6
    downsample_padding: Literal["around", "after"] = Field(
        "around", description="zeros on all sides, or below and to the right (Ho et al.'s code)"
    )
    resample_blocks: bool = Field(
        False, description="halve and double sizes within residual blocks (Dhariwal and Nichol)"
    )
    cosine_first: bool = Field(False, description="in the code of the time, before sines")
    reaches_last: bool = Field(
        True, description="whether the time's lowest frequency is 1/10000, or one short of it"
    )
    no_label: bool = Field(True, description="whether there is a code for 'no label'")
    self_conditioning: bool = Field(
        False, description="show the network its last estimate of the image (Chen et al. 2023)"
    )


class TutorialSettings(Section):
    """networks/tutorial.py: the article's network."""

    kind: Literal["tutorial"] = "tutorial"
    width: Annotated[int, Field(ge=1, le=2**10)] = Field(
        64, description="channels of the first level; the article has 64"
    )


class DenoisingDiffusionSettings(Section):
    """networks/denoising_diffusion.py: that of the library denoising-diffusion-pytorch."""

    kind: Literal["denoising-diffusion"] = "denoising-diffusion"
    width: Annotated[int, Field(ge=4, le=2**13, multiple_of=2)] = 64
    multipliers: tuple[Annotated[int, Field(ge=1, le=2**7)], ...] = Field(
        (1, 2, 4, 8), min_length=1, max_length=12
    )
    first_width: Annotated[int, Field(ge=1, le=2**13)] | None = Field(
        None, description="of the first convolution; None: width"
    )
    full_attention: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(
        None, max_length=12, description="levels that attend in full; None: the last"
    )
    heads: Annotated[int, Field(ge=1, le=2**10)] = 4
    head_width: Annotated[int, Field(ge=1, le=2**10)] = 32
    norm_groups: Whole | None = Field(
        None, description="of the blocks' norms, as before its version 2; None: RMS"
    )
    dropout: Share = 0.0
    period: Annotated[float, Field(ge=2, le=1e9)] = Field(
        10_000.0, description="the longest of the time's code"
    )
    self_conditioning: bool = Field(
        False, description="show the network its last estimate of the image (Chen et al. 2023)"
    )


NETWORKS: dict[str, type[Section]] = {
    "unet": UNetSettings,
    "tutorial": TutorialSettings,
    "denoising-diffusion": DenoisingDiffusionSettings,
}
"""By their kind."""
