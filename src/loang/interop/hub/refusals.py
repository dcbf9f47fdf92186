"""What goes wrong while a model is sent to the hub, in two sentences."""

from collections.abc import Iterator
from contextlib import contextmanager

from loang.errors import LoangError
from loang.hub.address import Address
from loang.hub.trouble import LOG_IN, site, status_of
from loang.untrusted import shown

AGAIN = "run this again: what has arrived is kept, and is not sent twice"


@contextmanager
def told(address: Address) -> Iterator[None]:
    """Whatever huggingface_hub raises within becomes a `LoangError`."""
    try:
        yield
    except LoangError:
        raise
    except Exception as error:
        cause = _answer(error) or error
        raise _said(address, cause, status_of(cause)) from error


def _answer(error: BaseException) -> Exception | None:
    """The hub's answer, or what failed on the way there; huggingface_hub may have wrapped it."""
    found, seen = error, 0
    while found.__cause__ is not None and status_of(found) is None and seen < 8:
        found, seen = found.__cause__, seen + 1
    return found if isinstance(found, Exception) else None


def _said(address: Address, error: Exception, status: int | None) -> LoangError:
    reason = shown(_reason(error), 300).rstrip(".")
    if status == 401:
        return LoangError(f"The hub does not take the token (HTTP 401): {reason}.", f"{LOG_IN}.")
    if status == 403:
        return LoangError(
            f"You may not write to {address.repo} (HTTP 403): {reason}.",
            "Name a repository of your own, with a token that may write to it"
            f" ({site()}/settings/tokens).",
        )
    if status == 404:
        return LoangError(
            f"There is no {address} on the hub, or you may not see it (HTTP 404): {reason}.",
            "Name a repository of your own.",
        )
    if status in (409, 412):
        return LoangError(
            f"{address.repo} was changed on the hub meanwhile, or belongs to another (HTTP"
            f" {status}): {reason}.",
            "If it is yours, run this again; else name another.",
        )
    if status is not None and (status == 429 or status >= 500):
        return LoangError(
            f"The hub has trouble of its own (HTTP {status}): {reason}.",
            f"Wait a little, and {AGAIN}.",
        )
    if status == 413:
        return LoangError(f"The hub takes no file of that size: {reason}.", f"See {site()}/docs.")
    if status == 400 or isinstance(error, ValueError):
        return LoangError(
            f"The hub does not take what is sent: {reason}.",
            "Correct it, a licence's name perhaps, and run this again.",
        )
    return LoangError(
        f"{address.repo} could not be sent: {reason}.", f"Check the network, and {AGAIN}."
    )


def _reason(error: Exception) -> str:
    """What it says, in one line."""
    said = getattr(error, "server_message", None) or str(error)
    lines = [line.strip(" -") for line in str(said).splitlines() if line.strip(" -")]
    return " ".join(lines) or type(error).__name__
