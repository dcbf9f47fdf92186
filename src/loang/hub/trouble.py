"""What goes wrong between here and the Hugging Face hub, in two sentences."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from loang.errors import LoangError
from loang.untrusted import shown

Noun = Literal["data set", "model"]
LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"


def endpoint() -> str | None:
    """The hub's address where `HF_ENDPOINT` gives another."""
    return os.environ.get("HF_ENDPOINT") or None


def site() -> str:
    """Where its pages are."""
    return endpoint() or "https://huggingface.co"


@contextmanager
def told(address: Any, noun: Noun = "data set") -> Iterator[None]:
    """Whatever huggingface_hub raises within becomes a `LoangError`.

    Args:
        address: what is fetched, as a person writes it; its `repo` and `revision`.
        noun: what it is.
    """
    from huggingface_hub.errors import (
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    page = f"{site()}/{address.repo}" if noun == "model" else f"{site()}/datasets/{address.repo}"
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
            f"There is no {noun} {address.repo} on the hub, or it is private.",
            f"{_nearest(address.repo, noun)}If it is yours, {LOG_IN}.",
        ) from error
    except RevisionNotFoundError as error:
        raise LoangError(
            f"{address.repo} has no revision {shown(address.revision)}.", f"See {page}/commits."
        ) from error
    except Exception as error:
        status = status_of(error)
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
    status = status_of(error)
    return status is None or status == 429 or status >= 500


def status_of(error: BaseException) -> int | None:
    """Of the hub's answer, as HTTP counts; None where there was none."""
    return getattr(getattr(error, "response", None), "status_code", None)


def _nearest(repo: str, noun: Noun) -> str:
    """Those with such a name, as a question; nothing where the hub knows none."""
    from huggingface_hub import HfApi

    try:
        name = repo.partition("/")[2]
        api = HfApi(endpoint=endpoint())
        search = api.list_models if noun == "model" else api.list_datasets
        found = [each.id for each in search(search=name, limit=3)]
    except Exception:  # that the first answer was no is enough
        return ""
    return f"Did you mean hub:{' or hub:'.join(map(shown, found))}? " if found else ""
