"""Zips of strangers, whose list of members is limited before it is read."""

import contextlib
import io
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Careful(io.FileIO):
    """A file that gives at most so many bytes at once; `zipfile` reads the whole list at once.

    Args:
        path: of the file.
        most: bytes; None where there is no limit any more.
    """

    def __init__(self, path: Path, most: int | None) -> None:
        super().__init__(path)
        self.most = most

    def read(self, size: int | None = -1, /) -> Any:
        """So many bytes, or all that are left.

        Raises:
            ValueError: they are too many.
        """
        left = max(os.fstat(self.fileno()).st_size - self.tell(), 0)
        asked = left if size is None or size < 0 else min(size, left)
        if self.most is not None and asked > self.most:
            raise ValueError("its list of members is too long")
        return super().read(asked)


@contextlib.contextmanager
def opened(path: Path, *, most: int) -> Iterator[zipfile.ZipFile]:
    """A zip whose list of members has at most `most` bytes; the members may be longer.

    Raises:
        OSError: it can't be read.
        ValueError: its list is longer.
        zipfile.BadZipFile: it is no zip.
    """
    with Careful(path, most) as file, zipfile.ZipFile(file) as archive:
        file.most = None
        yield archive
