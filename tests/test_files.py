import errno
import os

import pytest

from loang import files
from loang.errors import LoangError


def refusing(monkeypatch, error, *, folders):
    """The system refuses to flush folders, or files, in that way."""
    fsync = os.fsync

    def refuse(handle):
        if os.path.isdir(f"/proc/self/fd/{handle}") == folders:  # noqa: PTH112 (a handle's link)
            raise OSError(error, os.strerror(error))
        fsync(handle)

    monkeypatch.setattr(files.os, "fsync", refuse)


on_linux = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")  # noqa: PTH112


@on_linux
def test_a_file_system_that_flushes_no_folders_is_written_all_the_same(tmp_path, monkeypatch):
    refusing(monkeypatch, errno.EINVAL, folders=True)
    files.write_text(tmp_path / "a.txt", "whole")
    assert (tmp_path / "a.txt").read_text() == "whole"


@on_linux
@pytest.mark.parametrize(("error", "folders"), [(errno.EIO, True), (errno.EINVAL, False)])
def test_a_disk_that_fails_to_flush_is_told(tmp_path, monkeypatch, error, folders):
    refusing(monkeypatch, error, folders=folders)
    with pytest.raises(LoangError, match=f"can't be written: {os.strerror(error)}"):
        files.write_text(tmp_path / "a.txt", "whole")


def test_what_was_written_has_its_size_and_hash_whatever_its_parts(tmp_path):
    parts = [b"a" * 1000, b"", memoryview(b"b" * 5)]
    written = files.write(tmp_path / "a", parts)
    assert written.size == (tmp_path / "a").stat().st_size == 1005
    assert written.sha256 == files.sha256(tmp_path / "a")


def test_leftovers_of_dead_processes_are_removed_and_nothing_else(tmp_path):
    for name in (".model.safetensors.999999999.safetensors", ".writable.999999999"):
        (tmp_path / name).write_text("half")
    kept = [".gitignore", ".lock", f".a.json.{os.getpid()}.json", "b.999999999.json"]
    kept += [f".many.npy.0123456789abcdef.999999999.{end}" for end in ("part", "json")]
    for name in kept:
        (tmp_path / name).write_text("")
    files.remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)


def test_a_file_where_a_folder_should_be_is_told(tmp_path):
    (tmp_path / "model.txt").write_text("")
    for place in (tmp_path / "model.txt", tmp_path / "model.txt" / "run"):
        with pytest.raises(LoangError, match="can't be a folder: a file stands there"):
            files.check_folder(place)


@pytest.mark.parametrize(
    ("count", "said"),
    [(812, "812 bytes"), (34_100_000, "34.1 MB"), (1_203_000_000, "1.20 GB"), (-5, "-5 bytes")],
)
def test_amounts_are_for_people(count, said):
    assert files.amount(count) == said


def test_free_space_is_known_of_places_that_are_not_there_yet(tmp_path):
    assert files.free_space(tmp_path / "not" / "yet") > 0
    files.check_space(tmp_path / "not" / "yet", 1)
    with pytest.raises(LoangError, match=r"is full: .* are to be written, and .* are missing"):
        files.check_space(tmp_path / "not" / "yet", 2**70)
