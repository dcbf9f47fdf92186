"""Places behind a folder that one may not enter: told in words, whatever is asked of them."""

import errno
import io
import os

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="Windows closes otherwise")


@pytest.fixture
def closed(tmp_path, monkeypatch):
    """A folder that this process may not enter; to root, the system's calls say so all the same."""
    folder = tmp_path / "closed"
    folder.mkdir()
    folder.chmod(0)
    if os.geteuid() == 0:
        for module, name in ((os, "stat"), (os, "mkdir"), (os, "open"), (io, "open")):
            monkeypatch.setattr(module, name, refusing(getattr(module, name), f"{folder}{os.sep}"))
    yield folder
    monkeypatch.undo()
    folder.chmod(0o700)


def refusing(call, closed):
    def refused(path, *more, **named):
        if str(path).startswith(closed):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return call(path, *more, **named)

    return refused


@pytest.mark.parametrize(
    "command",
    [
        "train fashion-mnist-sample --out {}/run",
        "train --resume --out {}/run",
        "train {}/images",
        "sample {}/run",
        "sample built-in --out {}/samples.png",
        "sample built-in --out {}/samples.npy",
        "bench sample built-in --out {}/speed.json",
        "doctor {}/run",
    ],
)
def test_a_place_behind_a_closed_folder_is_told_without_a_traceback(run, closed, command):
    status, _, errors = run(*command.format(closed).split())
    assert status == 2
    assert errors.startswith("loang: ")
    assert str(closed)[:60] in errors  # long names are shortened
    assert "Permission denied" in errors
    assert "ame " in errors  # what else to name
