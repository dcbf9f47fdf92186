"""The command that makes a run with the same settings."""

import json
import shlex
from typing import Any

from loang import presets
from loang.config import Settings
from loang.config.networks import NETWORKS


def command(settings: Settings) -> str | None:
    """`loang train ...` with every setting that is not its preset's; None where there is no such.

    A distilled model is made from another one, of which its settings say nothing.
    """
    if settings.distilled or settings.preset not in presets.PRESETS:
        return None
    wanted, preset = settings.to_dict(), presets.preset(settings.preset).to_dict()
    source = wanted["data"].pop("source")
    preset["data"].pop("source")
    changes = []
    if wanted["network"]["kind"] != preset["network"]["kind"]:
        changes.append(f"network.kind={wanted['network']['kind']}")
        preset["network"] = NETWORKS[wanted["network"]["kind"]]().model_dump(mode="json")
    for section, values in wanted.items():
        if isinstance(values, dict):
            changes += [
                f"{section}.{key}={_text(value)}"
                for key, value in values.items()
                if value != preset[section][key]
            ]
    words = ["loang", "train", *([source] if source else []), "--preset", settings.preset]
    lines = [shlex.join(words), *(f"--set {shlex.quote(change)}" for change in changes)]
    return " \\\n  ".join(lines)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
