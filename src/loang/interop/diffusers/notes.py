"""What loang itself knows of a model that it has written for diffusers, so that nothing is lost."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from loang import model_file
from loang.build import build_network
from loang.config import Settings, UNetSettings
from loang.data.spec import ImageSpec
from loang.errors import LoangError
from loang.interop.diffusers import limits, network, scheduler
from loang.interop.diffusers.folder import NOTES, Pipeline


@dataclass(frozen=True)
class Notes:
    """A model but for its weights.

    Args:
        settings: that it was trained with.
        spec: of its images.
        facts: on where it comes from.
    """

    settings: Settings
    spec: ImageSpec
    facts: dict[str, Any]


def read(pipeline: Pipeline) -> Notes | None:
    """The notes in a folder, if they are still those of the network and schedule there.

    Somebody may have put another network into the folder since, or trained it with another
    schedule: then what diffusers reads counts, and not what loang had known.
    """
    if pipeline.notes is None:
        return None
    try:
        settings, spec, facts = model_file.understand(pipeline.notes, pipeline.folder / NOTES)
        with torch.device("meta"):
            made = build_network(settings, spec)
        unet, groups = limits.check(settings, spec, made)
    except (LoangError, ValueError, RuntimeError, OverflowError):
        return None
    assert isinstance(settings.network, UNetSettings)
    same = _holds(pipeline.network, network.write(unet, settings.network, spec, groups)) and _holds(
        pipeline.scheduler, scheduler.write(settings)
    )
    return Notes(settings, spec, facts) if same else None


def _holds(found: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
    return all(key in found and found[key] == value for key, value in expected.items())
