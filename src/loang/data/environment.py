"""What the environment says about data: where it lies, and whether the network may be used."""

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """Where downloads are kept: `LOANG_CACHE`, or the system's folder for caches. May not exist."""
    named = os.environ.get("LOANG_CACHE")
    return Path(named).expanduser() if named else platformdirs.user_cache_path("loang")


def data_folder() -> Path | None:
    """The folder that `LOANG_DATA` names, or None where it names none."""
    named = os.environ.get("LOANG_DATA")
    return Path(named).expanduser() if named else None


def offline() -> bool:
    """Whether `LOANG_OFFLINE` or `HF_HUB_OFFLINE` forbids the network."""
    names = ("LOANG_OFFLINE", "HF_HUB_OFFLINE")
    return any(os.environ.get(name, "").lower() in {"1", "true", "yes", "on"} for name in names)
