"""A disk that fails: it takes the place of `os` in `loang.files`, which writes all that matters.

    with faulty(monkeypatch, call=7, kind="short write") as disk: ...

The call of that number fails in that way, and, for a disk that is full or broken, all after it. A
disk that fails at no call counts them.
"""

import contextlib
import errno
import os

from loang import files

WRITES = ("open", "write", "fsync", "replace")
KINDS = {
    "full": errno.ENOSPC,
    "broken": errno.EIO,
    "short write": None,  # half is taken, and nothing more
    "cut write": errno.ENOSPC,  # half is taken, and then the disk is full
}


class Disk:
    """`os`, whose call number `fails` (0 for the first) is the first that fails."""

    def __init__(self, fails=None, kind="full"):
        self.fails, self.kind = fails, kind
        self.calls = []

    def __getattr__(self, name):
        return self._call(name) if name in WRITES else getattr(os, name)

    def _call(self, name):
        def call(*arguments, **more):
            number = len(self.calls)
            self.calls.append(name)
            if self.fails is None or number < self.fails:
                return getattr(os, name)(*arguments, **more)
            if self.kind in ("short write", "cut write"):
                if name == "write" and number == self.fails:
                    handle, content = arguments
                    return os.write(handle, content[: max(1, len(content) // 2)])
                if self.kind == "short write":
                    return getattr(os, name)(*arguments, **more)
            if name == "open" and arguments[1] == os.O_RDONLY:
                return os.open(*arguments, **more)  # reading still works
            raise OSError(KINDS[self.kind], os.strerror(KINDS[self.kind]))

        return call


class FullFor(Disk):
    """Full from the first write within one folder on, for so many calls."""

    def __init__(self, folder, calls):
        super().__init__(None, "full")
        self.folder, self.left = str(folder), calls

    def _call(self, name):
        whole = super()._call(name)

        def call(*arguments, **more):
            if name == "open" and self.folder in str(arguments[0]) and self.left:
                self.left -= 1
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return whole(*arguments, **more)

        return call


@contextlib.contextmanager
def faulty(monkeypatch, call=None, kind="full"):
    """Within it, `loang.files` writes to such a disk."""
    disk = Disk(call, kind)
    with monkeypatch.context() as patch:
        patch.setattr(files, "os", disk)
        yield disk
