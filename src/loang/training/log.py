"""log.jsonl: a line of JSON for each measurement, kept in memory while the disk refuses it."""

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loang import files

MOST_WAITING = 10_000  # lines that wait for the disk, the oldest of which are given up first


class Log:
    """A run's log.

    Args:
        path: of the file; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._waiting: list[str] = []

    def append(self, record: Mapping[str, Any]) -> None:
        """One line more, and those that could not be written before.

        Raises:
            LoangError: the disk refuses; the line waits for the next call.
        """
        self._waiting = [*self._waiting[-MOST_WAITING:], json.dumps(record) + "\n"]
        content = "".join(self._waiting).encode("utf-8")
        with files.writing(self.path), self.path.open("ab", buffering=0) as log:
            end = log.tell()
            try:
                while content:  # the system may take less than it is given
                    content = content[log.write(content) :]
            except OSError:
                with contextlib.suppress(OSError):  # half a line would spoil the next one
                    os.ftruncate(log.fileno(), end)
                raise
        self._waiting = []

    def read(self) -> list[Mapping[str, Any]]:
        """The lines; one that was cut by a crash is left out."""
        if not self.path.exists():
            return []
        found: list[Mapping[str, Any]] = []
        for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError, RecursionError):
                record = json.loads(line)
                if isinstance(record, dict):
                    found.append(record)
        return found

    def cut(self, images: int) -> None:
        """Forget what was logged after so many images: the run goes on from there.

        Raises:
            LoangError: the file can't be written.
        """
        kept = [record for record in self.read() if _images(record) <= images]
        self._waiting = [line for line in self._waiting if _images(json.loads(line)) <= images]
        files.write_text(self.path, "".join(json.dumps(record) + "\n" for record in kept))


def _images(record: Mapping[str, Any]) -> int:
    images = record.get("images", 0)
    return images if isinstance(images, int) else 0
