"""What diffusers' own UNet2DModel and schedulers can't say of a model of loang's."""

from torch import nn

from loang.config import Settings, UNetSettings
from loang.data.spec import ImageSpec
from loang.errors import LoangError
from loang.interop.diffusers.network import head_width
from loang.interop.diffusers.scheduler import PREDICTS
from loang.networks.unet import UNet


def check(settings: Settings, spec: ImageSpec, network: nn.Module) -> tuple[UNet, int]:
    """The network, which diffusers can say, and the groups of its norms.

    Raises:
        LoangError: it can't be said; says which part.
    """
    try:
        return _checked(settings, spec, network)
    except ValueError as error:
        raise LoangError(
            f"diffusers' own classes can't say this model: {error}.",
            "Add --custom: it writes a pipeline for diffusers that asks loang for the images.",
        ) from error


def _checked(settings: Settings, spec: ImageSpec, network: nn.Module) -> tuple[UNet, int]:
    chosen, schedule = settings.network, settings.schedule
    if not isinstance(network, UNet) or not isinstance(chosen, UNetSettings):
        raise ValueError(f"its network, {chosen.kind}, is none of theirs")
    if schedule.kind in ("edm", "flow"):
        raise ValueError(f"its schedule, {schedule.kind}, has no steps")
    if settings.denoiser.predicts not in PREDICTS.values():
        raise ValueError(f"it predicts {settings.denoiser.predicts}")
    if settings.distilled:
        raise ValueError("it was distilled, and has learnt one walk alone")
    if schedule.told_in_thousands and schedule.steps != 1000:
        raise ValueError(f"its {schedule.steps} steps are told to the network as if they were 1000")
    if network.fold > 1:
        raise ValueError(f"pixels are folded, {network.fold} x {network.fold} to a position")
    if network.given:
        raise ValueError("its network is shown its last estimate (self-conditioning)")
    if network.augmentations:
        raise ValueError("its network is told how training changed the images (data.told)")
    if chosen.multipliers[0] != 1:
        raise ValueError("its first level is wider than its first convolution")
    if chosen.width % 2:
        raise ValueError(f"its width, {chosen.width}, is odd")
    multiple = 2**network.halvings
    if spec.height % multiple or spec.width % multiple:
        raise ValueError(
            f"images of {spec.height}x{spec.width} can't be halved {network.halvings} times, and"
            " loang pads them within the network"
        )
    groups = {part.num_groups for part in network.modules() if isinstance(part, nn.GroupNorm)}
    if len(groups) > 1:
        raise ValueError(
            f"its norms have {', '.join(map(str, sorted(groups)))} groups, and theirs one number"
        )
    head_width(chosen)
    return network, groups.pop()
