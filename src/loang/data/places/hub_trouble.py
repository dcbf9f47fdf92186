"""What goes wrong between here and the Hugging Face hub, in two sentences."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from loang.errors import LoangError
from loang.untrusted import shown

LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"


def endpoint() -> str | None:
    """The hub's address where `HF_ENDPOINT` gives another."""
    return os.environ.get("HF_ENDPOINT") or None


@contextmanager
def told(address: Any) -> Iterator[None]:
    """Whatever huggingface_hub raises within becomes a `LoangError` on that data set."""
    from huggingface_hub.errors import (
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    page = f"{endpoint() or 'https://huggingface.co'}/datasets/{address.repo}"
    try:
        yield
    except LoangError:
        raise
    except GatedRepoError as error:
        raise LoangError(
            f"{address} is open only to those who accept its conditions.",
            f"Accept them at {page}, then {LOG_IN}.",
        ) from error
    except RepositoryNotFoundError as error:
        raise LoangError(
            f"There is no data set {address.repo} on the hub, or it is private.",
            f"{_nearest(address.repo)}If it is yours, {LOG_IN}.",
        ) from error
    except RevisionNotFoundError as error:
        raise LoangError(
            f"{address.repo} has no revision {shown(address.revision)}.", f"See {page}/commits."
        ) from error
    except Exception as error:
        status = _status(error)
        if status in (401, 403):
            raise LoangError(
                f"The hub refuses access to {address} (HTTP {status}).", f"Check it: {LOG_IN}."
            ) from error
        reason = shown(str(error).strip().partition("\n")[0] or type(error).__name__, 200)
        raise LoangError(
            f"{address} could not be fetched: {reason.rstrip('.')}.",
            "Check the network and the disk's free space, and run this again: what has arrived is"
            " kept.",
        ) from error


def is_network_trouble(error: BaseException) -> bool:
    """Whether the hub gave no answer, or one of its own troubles (HTTP 5xx, too many requests)."""
    status = _status(error)
    return status is None or status == 429 or status >= 500


def _status(error: BaseException) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def _nearest(repo: str) -> str:
    """Data sets with such a name, as a question; nothing where the hub knows none."""
    from huggingface_hub import HfApi

    try:
        name = repo.partition("/")[2]
        found = [each.id for each in HfApi(endpoint=endpoint()).list_datasets(search=name, limit=3)]
    except Exception:  # that the first answer was no is enough
        return ""
    return f"Did you mean hub:{' or hub:'.join(map(shown, found))}? " if found else ""
