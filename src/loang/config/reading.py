"""Settings from JSON, and with `section.key=value` applied; what is wrong in a person's words."""

import difflib
import json
from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from loang.config.networks import NETWORKS, UNetSettings
from loang.config.sections import Section
from loang.config.settings import Settings
from loang.errors import LoangError
from loang.untrusted import shown

LONGEST = 2**16
"""Characters of all settings as JSON, which have about 3,000."""


def load(values: Any) -> Settings:
    """The settings that `to_dict` wrote; or anything else, which is refused.

    Raises:
        LoangError: a key is unknown, or a value is of the wrong type or range.
    """
    try:
        text = json.dumps(values)
        if len(text) > LONGEST:
            raise ValueError(f"{len(text):,} characters, more than {LONGEST:,}")
        # Strict, and through JSON: true is no number, a list is a tuple, 1 is a float.
        return Settings.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise _readable(error) from None
    except (TypeError, ValueError, RecursionError) as error:
        raise LoangError(
            f"The settings can't be used: they are no short text of JSON ({shown(str(error))}).",
            "Correct them; `loang train --dry-run` shows every setting with its value.",
        ) from error


def changed(settings: Settings, assignments: Iterable[str]) -> Settings:
    """The settings with `section.key=value` applied, in order.

    A value is read as JSON where it is JSON, else as a text: 3, 0.5, true, null, [1,2,2], cosine.
    A new `network.kind` starts from that network's own defaults.

    Raises:
        LoangError: not an assignment, an unknown key (the nearest is named), or a wrong value.
    """
    values = settings.to_dict()
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals:
            raise LoangError(
                f"--set {assignment!r} has no value.", "Write it as section.key=value."
            )
        section, _, key = path.strip().partition(".")
        if path.strip() == "network.kind":
            values["network"] = {"kind": text.strip()}
            continue
        paths = _paths(values["network"]["kind"])
        if path.strip() not in paths:
            near = difflib.get_close_matches(path.strip(), paths, 1, 0.5)
            by_key = [p for p in paths if p.partition(".")[2] == (key or section)]
            best = next(iter(by_key + near), None)
            sections = ", ".join(dict.fromkeys(p.partition(".")[0] for p in paths))
            remedy = f"Did you mean {best}?" if best else f"The sections are {sections}."
            raise LoangError(f"There is no setting {path.strip()!r}.", remedy)
        values[section] = {**values[section], key: _value(text)}
    return load(values)


def _paths(network: str) -> list[str]:
    """Every `section.key` that there is, with a network of that kind."""
    sections: dict[str, type[Section]] = {
        name: field.annotation
        for name, field in Settings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
    }
    sections["network"] = NETWORKS.get(network, UNetSettings)
    return [f"{name}.{key}" for name, section in sections.items() for key in section.model_fields]


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        text = text.strip()
        # 1,2,2 is how a person writes a list.
        if "," in text:
            return [_value(part) for part in text.strip("[]").split(",")]
        return text


def _readable(error: ValidationError) -> LoangError:
    """The first thing that is wrong, in the person's words."""
    first = error.errors(include_url=False)[0]
    # Pydantic puts the union's tag into the path.
    place = shown(".".join(str(p) for p in first["loc"] if p not in NETWORKS))
    if first["type"] == "extra_forbidden":
        return LoangError(
            f"There is no setting {place!r}.", "Remove it, or look at `loang train --dry-run`."
        )
    message = shown(first["msg"].removeprefix("Value error, "), most=200)
    where = f"{place}: " if place else ""
    given = "" if first["type"] == "value_error" else f" (given: {shown(repr(first['input']))})"
    return LoangError(
        f"The settings can't be used: {where}{message}{given}.",
        "Correct it; `loang train --dry-run` shows every setting with its value.",
    )
