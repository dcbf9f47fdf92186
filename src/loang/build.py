"""From settings to the things they describe: network, schedule, denoiser."""

import torch

from loang import augment, random, schedule
from loang.config import ScheduleSettings, Settings, TutorialSettings, UNetSettings
from loang.data.spec import ImageSpec
from loang.denoiser import Denoiser
from loang.errors import LoangError
from loang.networks.denoising_diffusion import DenoisingDiffusionUNet
from loang.networks.sizes import enough_fold
from loang.networks.tutorial import TutorialUNet
from loang.networks.unet import UNet
from loang.schedule import Schedule


def build_denoiser(settings: Settings, spec: ImageSpec) -> Denoiser:
    """A fresh denoiser for images of that kind; its weights depend on the seed alone.

    Raises:
        LoangError: settings contradict one another.
    """
    # torch's layers draw their first weights from the global generator: it is lent, and put back.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(random.key(settings.training.seed, "weights")[0])
        network = build_network(settings, spec)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    chosen = settings.denoiser
    return Denoiser(
        network,
        build_schedule(settings.schedule),
        chosen.predicts,
        chosen.clip,
        chosen.deviation,
    )


def build_network(
    settings: Settings, spec: ImageSpec
) -> UNet | TutorialUNet | DenoisingDiffusionUNet:
    """The network of the settings; it learns labels if it can, the images have them, and it may.

    Raises:
        LoangError: a network other than `unet` is to be told how images were changed, or the
            tutorial's to learn a variance.
    """
    chosen = settings.network
    told = augment.parameters(settings.data, spec)
    if told and not isinstance(chosen, UNetSettings):
        raise LoangError(
            f"A network of the kind {chosen.kind} can't be told how images were changed.",
            "Set data.told=false, or take network.kind=unet.",
        )
    if isinstance(chosen, TutorialSettings):
        if settings.denoiser.learn_variance:
            raise LoangError(
                "The tutorial's network has no room for a variance.",
                "Set denoiser.learn_variance=false, or take network.kind=unet.",
            )
        return TutorialUNet(spec.channels, width=chosen.width)
    given = spec.channels if chosen.self_conditioning else 0
    variance = settings.denoiser.learn_variance
    of_settings = chosen.model_dump(exclude={"kind", "fold", "self_conditioning"})
    if not isinstance(chosen, UNetSettings):
        return DenoisingDiffusionUNet(spec.channels, given=given, variance=variance, **of_settings)
    return UNet(
        spec.channels,
        fold=chosen.fold or enough_fold(spec.height, spec.width),
        classes=len(spec.class_names) if settings.data.labels else 0,
        augmentations=told,
        given=given,
        variance=variance,
        **of_settings,
    )


def weight_shapes(settings: Settings, spec: ImageSpec) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the weights of that network; no memory is asked for them.

    Raises:
        ValueError: there can be no such network.
    """
    try:
        with torch.device("meta"):
            network = build_network(settings, spec)
    except (RuntimeError, OverflowError) as error:  # more bytes than a number can count
        raise ValueError(str(error).partition("\n")[0]) from error
    return {name: tuple(weight.shape) for name, weight in network.state_dict().items()}


def build_schedule(settings: ScheduleSettings) -> Schedule:
    """The schedule of the settings.

    Raises:
        LoangError: so many steps of such betas leave nothing of the image before the last.
    """
    try:
        return _schedule(settings)
    except ValueError as error:
        raise LoangError(
            f"A {settings.kind} schedule of {settings.steps:,} steps can't be: {error}.",
            "Choose fewer schedule.steps, or other values of schedule.beta_start and beta_end.",
        ) from error


def _schedule(settings: ScheduleSettings) -> Schedule:
    steps = settings.steps
    if settings.kind == "edm":
        return schedule.Edm(settings.sigma_min, settings.sigma_max)
    if settings.kind == "flow":
        return schedule.Flow()
    if settings.kind in ("linear", "scaled-linear"):
        ends = {"beta_start": settings.beta_start, "beta_end": settings.beta_end}
        given = {name: beta for name, beta in ends.items() if beta is not None}
        make = schedule.linear if settings.kind == "linear" else schedule.scaled_linear
        made = make(steps, **given)
    else:
        made = schedule.cosine(steps) if settings.kind == "cosine" else schedule.sigmoid(steps)
    if settings.zero_terminal_snr:
        made = made.with_zero_terminal_snr()
    return made.told(settings.counted_from, in_thousands=settings.told_in_thousands)
