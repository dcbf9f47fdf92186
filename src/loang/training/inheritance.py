"""What a run takes over from the model whose weights it starts from: settings, weights, labels."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Unpack

import torch
from jaxtyping import Float
from torch import Tensor, nn

from loang.config import DataSettings, Settings, TrainingSettings, UNetSettings
from loang.data.spec import FULL_RANGE, ImageSpec
from loang.errors import LoangError
from loang.model import Model
from loang.networks.unet import UNet
from loang.presets import GUIDING, PRESETS, UNGUIDED, preset
from loang.training.asked import Asked, resolve
from loang.training.plan import Plan
from loang.untrusted import shown

ALIKE = "network", "schedule", "denoiser"
"""Sections of settings that say what the weights mean."""
FREE = {"dropout"}
"""Keys of these that a person may change all the same."""
OF_THE_NETWORK = "range", "flips", "rotations", "shifts", "told"
"""Of images: what its values mean to the network, and what it may have been told."""
LABELS, CODE = "label.weight", "time.mlp.2.bias"
"""Weights of a UNet: a row for each label, and what is added to any row and the time's code."""
OF_THE_MACHINE = "budget", "device", "precision", "micro_batch", "recompute", "shard"
"""How long and where the other model was trained says nothing of where this one will be."""


def settings_of(model: Model, data: str | None = None, **asked: Unpack[Asked]) -> Settings:
    """The settings of a run that starts from a model's weights: the model's, but for what is asked.

    Images are brought to the size and channels that it knows, and their values to its range. How
    strongly labels guide is the model's, until it is measured anew.

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
    base = _base(model, anew=data is not None)
    settings = resolve(data, base=base, **asked)
    _check_alike(base, settings)
    if settings.data.channels not in (None, model.spec.channels):
        raise LoangError(
            f"The model knows images of {model.spec.described}, and {settings.data.channels}"
            " channels are asked for.",
            "Leave --channels away: the images are brought to those that the model knows.",
        )
    return settings


def heir(plan: Plan, model: Model) -> Plan:
    """The plan of a run that starts from a model's weights, with what is to be told of that.

    Where the images have no labels that could guide, samples are not guided as the model's are.
    """
    settings, spec = plan.settings, plan.dataset.spec
    asked, own = settings.sampling, model.settings.sampling
    guided = asked.guidance != 1 and all(getattr(asked, k) == getattr(own, k) for k in GUIDING)
    if guided and not plan.denoiser.classes and model.knows_labels:
        alone = {key: getattr(UNGUIDED, key) for key in GUIDING}
        walk = asked.model_copy(update=alone)
        if settings.preset in PRESETS:
            as_preset = preset(settings.preset).sampling.model_copy(update=alone)
            walk = UNGUIDED if walk == as_preset else walk
        settings = settings.model_copy(update={"sampling": walk})
    classes = spec.class_names if plan.denoiser.classes else ()
    return replace(plan, settings=settings, notes=tuple(told(model, spec, classes)))


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
    known = sum(name in own for name in classes)
    if known:
        said.append(
            f"Of the {len(classes):,} classes {known:,} have names that it knows, and are taken for"
            " the same."
        )
    return said


def described(facts: Mapping[str, Any]) -> str:
    """A model by its facts, which may come from anybody: what it has learnt, and from how much.

    The place of its images is nobody's business: their own name stands for it.
    """
    data, images = facts.get("data"), facts.get("images")
    if not data or images is None:
        return "a model of which no more is known"
    parts = [part for part in re.split(r"[\\/]+", data) if part.strip(".~ ")]
    name = re.sub(r"[^\w .:@+-]", "?", shown(parts[-1])) if parts else "images"
    return f"a model of {name} ({images:,} images seen)"


def _base(model: Model, *, anew: bool) -> Settings:
    """The model's settings, without what is of its images and of its machine."""
    own, spec = model.settings, model.spec
    plain = preset(own.preset) if own.preset in PRESETS else Settings()
    lasting = plain.training if own.preset in PRESETS else TrainingSettings()
    training = own.training.model_copy(
        update={key: getattr(lasting, key) for key in OF_THE_MACHINE}
    )
    found: dict[str, Any] = {"training": training}
    if anew:
        shape = {"size": (spec.height, spec.width), "channels": spec.channels}
        kept = {key: getattr(own.data, key) for key in OF_THE_NETWORK}
        if spec.low < 0 and spec.depth in FULL_RANGE:  # as other tools' models have it
            kept["range"] = "unit"
        found["data"] = DataSettings().model_copy(update=shape | kept)
    if own.preset in PRESETS:
        found["evaluation"] = plain.evaluation
        if not model.knows_labels:  # and was not guided, as labelled images may be
            found["sampling"] = plain.sampling
    if isinstance(own.network, UNetSettings) and isinstance(model.denoiser.network, UNet):
        fold = {"fold": model.denoiser.network.fold}  # whatever the size of the new images
        found["network"] = own.network.model_copy(update=fold)
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
    apart = float((own - mean).square().mean().sqrt()) or 1.0
    known = dict(zip(model.spec.class_names, own, strict=False))
    rows = [
        known.get(name, mean + apart * start)
        for name, start in zip(spec.class_names, fresh, strict=False)
    ]
    return kept | {LABELS: torch.stack([*rows, *[_hidden(table, model)] * network.no_label])}


def _hidden(table: Float[Tensor, "rows code"], model: Model) -> Float[Tensor, " code"]:
    """What is said of an image whose label is not told; the mean, where that was never learnt."""
    return table[-1] if model.guides_itself else table[: len(model.spec.class_names)].mean(dim=0)
