"""Zips whose list of members is long: it is measured before it is read."""

import tracemalloc
import zipfile

import pytest

from loang import zipped
from loang.errors import LoangError
from loang.interop.keras import archive, back
from loang.interop.keras.write import MEMBER


@pytest.fixture(scope="module")
def crowded(tmp_path_factory):
    """A file that has what loang asks for, and thirty thousand members beside."""
    path = tmp_path_factory.mktemp("zips") / "crowded.keras"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(MEMBER, "{}")
        for number in range(30_000):
            file.writestr(zipfile.ZipInfo(str(number)), b"")
    return path


def test_a_long_list_is_refused_before_it_is_read(crowded):
    tracemalloc.start()
    try:
        assert not back.is_own(crowded)
        with pytest.raises(LoangError, match="list of members is too long"):
            back.read(crowded)
        with pytest.raises(ValueError, match="list of members is too long"):
            archive.contents(crowded)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 2**20


def test_the_limit_is_the_lists_and_not_the_members(tmp_path):
    path = tmp_path / "x.zip"
    content = bytes(range(256)) * 100
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("long", content)
    with zipped.opened(path, most=200) as file:
        assert file.read("long") == content
    with pytest.raises(ValueError, match="too long"), zipped.opened(path, most=20):
        pass
