"""Models of the hub: their one file, brought to huggingface_hub's own cache.

It comes from anybody: nothing else of a repository is fetched, and the file is read as any other.
"""

import warnings
from pathlib import Path
from typing import Any

import psutil

from loang.data.environment import offline
from loang.errors import LoangError, LoangWarning
from loang.extras import require
from loang.files import MODEL, amount, free_space
from loang.hub.address import Address, parse
from loang.hub.trouble import endpoint, is_network_trouble, told

LARGEST_FILE = 2**40
"""Bytes, 1 TiB: as much as a file of tensors may have."""
_TO_READ = 2
"""Times its size, that memory must have: for its bytes, and the tensors that are made of them."""


def fetched(named: str | Path) -> Path:
    """The file of a model of the hub, downloaded where it is not there yet, or is older.

    `HF_ENDPOINT`, `HF_TOKEN`, `HF_HOME` and the like mean what they mean to huggingface_hub.
    Switched off, the network is not asked, and the file that was kept is taken; it is too where the
    network fails, with a warning.

    Args:
        named: `hub:owner/name`, `@revision` after it for another branch, a tag or a commit.

    Returns:
        A path in huggingface_hub's cache: a file for reading alone.

    Raises:
        LoangError: huggingface_hub is missing; there is no such model, it is not open to all, the
            network fails, it has no file of loang's, or that does not fit on the disk or in memory.
    """
    address = parse(named)
    hub = require("huggingface_hub", extra="hub", purpose="for models of the hub")
    kept = _kept(hub, address, address.revision or "main")
    if offline():
        if kept is None:
            raise LoangError(
                f"{address} is not in the cache, and the network is switched off.",
                "Run this once without LOANG_OFFLINE and HF_HUB_OFFLINE.",
            )
        return kept
    with told(address, "model"):
        try:
            about = _announced(hub, address)
        except Exception as error:
            if kept is None or isinstance(error, LoangError) or not is_network_trouble(error):
                raise
            warnings.warn(
                f"The hub can't be reached: {address} is as it was kept before.",
                LoangWarning,
                stacklevel=2,
            )
            return kept
        if about.commit_hash and (there := _kept(hub, address, about.commit_hash)) is not None:
            return there
        _check_room(address, about.size)
        found = hub.hf_hub_download(
            address.repo, MODEL, revision=address.revision, endpoint=endpoint()
        )
    return Path(found)


def _announced(hub: Any, address: Address) -> Any:
    """The hub's answer on the file: its size, and the commit that it is of."""
    url = hub.hf_hub_url(address.repo, MODEL, revision=address.revision, endpoint=endpoint())
    from huggingface_hub.errors import EntryNotFoundError

    try:
        return hub.get_hf_file_metadata(url)
    except EntryNotFoundError as error:
        raise LoangError(
            f"{address} has no {MODEL}: it is no model that loang has made.",
            "Name another, or see `loang import` for models of other tools.",
        ) from error


def _check_room(address: Address, size: int | None) -> None:
    """Before anything is downloaded: whether the disk and the memory have room for it."""
    from huggingface_hub import constants

    if size is None or size > LARGEST_FILE:
        raise LoangError(
            f"The hub says that the {MODEL} of {address} has {size or 'an unknown number of'}"
            f" bytes, and {LARGEST_FILE:,} are the most that is read.",
            "Name another model.",
        )
    for place, needed, free, remedy in (
        (
            "the disk",
            size,
            free_space(Path(constants.HF_HUB_CACHE)),
            "Free some space, or name a folder on another disk by HF_HOME.",
        ),
        (
            "memory",
            _TO_READ * size,
            psutil.virtual_memory().available,
            "Close other programs, or take a machine with more.",
        ),
    ):
        if needed > free:
            raise LoangError(
                f"{address} takes {amount(needed)} of {place}, and {amount(free)} are free.", remedy
            )


def _kept(hub: Any, address: Address, revision: str) -> Path | None:
    """Where its file lies in the cache, if it does."""
    found = hub.try_to_load_from_cache(address.repo, MODEL, revision=revision)
    return Path(found) if isinstance(found, str) else None
