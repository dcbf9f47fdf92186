"""What a run notes in config.json of where its images come from, beside its settings."""

from collections.abc import Mapping
from typing import Any

import torch

import loang
from loang.training.places import PLACES, meant
from loang.training.plan import Plan


def about(plan: Plan, places: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Images, their fingerprint and places, versions; plain values for JSON.

    Args:
        plan: of the run.
        places: known from elsewhere: they go before what the settings mean in the present folder.
    """
    data = plan.dataset
    return {
        "images": data.spec.to_dict(),
        "data": {
            "name": data.name,
            "fingerprint": data.fingerprint,
            "train": len(data.train),
            "validation": len(data.validation),
        },
        PLACES: meant(plan.settings.data) | dict(places or {}),
        "versions": {"loang": loang.__version__, "torch": torch.__version__},
    }
