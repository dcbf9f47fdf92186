"""What a run takes over from the model whose weights it starts from: settings, weights, labels."""

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any, Unpack

import torch
from jaxtyping import Float
from torch import Tensor, nn

from loang.config import DataSettings, Settings, TrainingSettings
from loang.data.spec import ImageSpec
from loang.errors import LoangError
from loang.model import Model
from loang.networks.unet import UNet
from loang.presets import GUIDING, PRESETS, preset
from loang.training.asked import Asked, resolve
from loang.training.plan import Plan

ALIKE = "network", "schedule", "denoiser"
"""Sections of settings that say what the weights mean."""
FREE = {"dropout"}
"""Keys of these that a person may change all the same."""
CHANGES = "flips", "rotations", "shifts", "told"
"""Of images, which the network may have been told."""
LABELS, CODE = "label.weight", "time.mlp.2.bias"
"""Weights of a UNet: a row for each label, and what is added to any row and the time's code."""
OF_THE_MACHINE = "budget", "device", "precision", "micro_batch", "recompute", "shard"
"""How long and where the other model was trained says nothing of where this one will be."""


def settings_of(model: Model, data: str | None = None, **asked: Unpack[Asked]) -> Settings:
    """The settings of a run that starts from a model's weights: the model's, but for what is asked.

    Images are brought to the size and channels that it knows. What its run measured for the images
    that it had, how strongly labels guide, is as in its preset again.

    Args:
        model: whose weights they are.
        data: images to learn; None takes those that it learned from.
        **asked: as of `loang.train`.

    Raises:
        LoangError: a mistake in any of these; the model is distilled; or the weights would mean
            nothing in the network that is asked for.
    """
    own = model.settings
    if own.distilled:
        raise LoangError(
            "This model is distilled: it leaps, and has no walk that could be learnt anew.",
            "Start from the model that it was distilled from, and distil what comes of it.",
        )
    if asked.get("preset") is not None:
        raise LoangError(
            "A preset has a network of its own, and weights of another model are of theirs.",
            "Leave --preset away: the settings are the model's.",
        )
    settings = resolve(data, base=_base(own, model.spec, anew=data is not None), **asked)
    _check_alike(own, settings)
    if settings.data.channels not in (None, model.spec.channels):
        raise LoangError(
            f"The model knows images of {model.spec.described}, and {settings.data.channels}"
            " channels are asked for.",
            "Leave --channels away: the images are brought to those that the model knows.",
        )
    return settings


def inherited(model: Model, plan: Plan) -> tuple[dict[str, Tensor], list[str]]:
    """The weights that a run starts from, and a line or two that tell of them.

    Raises:
        LoangError: as `weights_of`.
    """
    spec, denoiser = plan.dataset.spec, plan.denoiser
    weights = weights_of(model, denoiser.network, spec)
    return weights, told(model, spec, spec.class_names if denoiser.classes else ())


def weights_of(model: Model, network: nn.Module, spec: ImageSpec) -> dict[str, Tensor]:
    """A model's weights, for a network that is to learn other images.

    A class that the model knows by the same name keeps what was learnt of it. New ones begin in the
    midst of those that it knows, as far apart from one another as these are; or as in a fresh
    network, where it knows none. Where all begin alike, they are not told apart for very long
    (docs/going-on.md). Where labels are hidden, or the images have none, the network says what the
    model says of an image whose label is hidden.

    Args:
        model: whose weights they are.
        network: of the settings of `settings_of`, fresh.
        spec: of its images.

    Raises:
        LoangError: the weights are of other shapes.
    """
    weights = dict(model.denoiser.network.state_dict())
    if isinstance(network, UNet):
        weights = _told_labels(weights, model, network, spec)
    expected = {name: tuple(weight.shape) for name, weight in network.state_dict().items()}
    found = {name: tuple(weight.shape) for name, weight in weights.items()}
    odd = sorted(name for name in expected | found if expected.get(name) != found.get(name))
    if odd:
        raise LoangError(
            f"The weights of the model don't fit the network that is asked for: {odd[0]} differs.",
            "Leave --set away for what the network is told, or how it is built.",
        )
    return weights


def told(model: Model, spec: ImageSpec, classes: Sequence[str]) -> list[str]:
    """What a run that learns such images and classes has of the model, in a line or two."""
    said = [f"It starts from the weights of {described(model.facts)}."]
    if spec.shape == model.spec.shape:
        said = [f"{said[0][:-1]}, to whose size and channels the images are brought."]
    own = model.spec.class_names if model.knows_labels else ()
    fresh = sum(name not in own for name in classes)
    if not fresh:
        return said
    if fresh == len(classes):
        return [*said, "The classes are new to it."]
    return [*said, f"{fresh:,} of the {len(classes):,} classes are new to it."]


def described(facts: Mapping[str, Any]) -> str:
    """A model by its facts, which may come from anybody: what it has learnt, and from how much."""
    data, images = facts.get("data"), facts.get("images")
    if not data or not images:
        return "a model of which no more is known"
    return f"a model of {PurePath(data).name} ({images:,} images seen)"


def _base(own: Settings, spec: ImageSpec, *, anew: bool) -> Settings:
    """The model's settings, without what is of its images and of its machine."""
    plain = preset(own.preset) if own.preset in PRESETS else Settings()
    lasting = plain.training if own.preset in PRESETS else TrainingSettings()
    training = own.training.model_copy(
        update={key: getattr(lasting, key) for key in OF_THE_MACHINE}
    )
    found: dict[str, Any] = {"training": training}
    if anew:
        shape = {"size": (spec.height, spec.width), "channels": spec.channels}
        changes = {key: getattr(own.data, key) for key in CHANGES}
        found["data"] = DataSettings().model_copy(update=shape | changes)
    if own.preset in PRESETS:
        guiding = {key: getattr(plain.sampling, key) for key in GUIDING}
        found |= {
            "sampling": own.sampling.model_copy(update=guiding),
            "evaluation": plain.evaluation,
        }
    return own.model_copy(update=found)


def _check_alike(own: Settings, settings: Settings) -> None:
    """Whether weights of the one mean the same in a network of the other.

    Raises:
        LoangError: they do not.
    """
    for section in ALIKE:
        before, now = (getattr(each, section).model_dump(exclude=FREE) for each in (own, settings))
        differ = sorted(key for key in before | now if before.get(key) != now.get(key))
        if differ:
            raise LoangError(
                f"{section}.{differ[0]} of the model is {before.get(differ[0])!r}, not"
                f" {now.get(differ[0])!r}, and its weights would mean something else.",
                f"Leave --set {section}.{differ[0]} away, or train from the start without --from.",
            )


def _told_labels(
    weights: Mapping[str, Tensor], model: Model, network: UNet, spec: ImageSpec
) -> dict[str, Tensor]:
    """The weights with a row for each class of the images; without rows, where there are none."""
    kept = {name: weight for name, weight in weights.items() if name != LABELS}
    table = weights.get(LABELS)
    if network.label is None:
        if table is not None:
            kept[CODE] = kept[CODE] + _hidden(table, model)
        return kept
    fresh = network.label.weight.detach()
    if table is None:
        return kept | {LABELS: fresh.clone()}
    own = table[: len(model.spec.class_names)]
    mean = own.mean(dim=0)
    apart = (own - mean).square().mean().sqrt() if len(own) > 1 else 1.0
    known = dict(zip(model.spec.class_names, own, strict=False))
    rows = [
        known.get(name, mean + apart * start)
        for name, start in zip(spec.class_names, fresh, strict=False)
    ]
    return kept | {LABELS: torch.stack([*rows, *[_hidden(table, model)] * network.no_label])}


def _hidden(table: Float[Tensor, "rows code"], model: Model) -> Float[Tensor, " code"]:
    """What is said of an image whose label is not told; the mean, where that was never learnt."""
    return table[-1] if model.guides_itself else table[: len(model.spec.class_names)].mean(dim=0)
