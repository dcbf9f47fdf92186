"""Texts that leave this machine tell of nobody's folders, however a place is written."""

import os
import time
from pathlib import Path

import pytest

from loang.interop.hub.private import Private, last


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("of ../nest/alice smith/imgs.npy", "of imgs.npy"),
        ("of ./alice/imgs.npy and 3 more", "of imgs.npy and 3 more"),
        ("1/2 of ../imgs.npy", "1/2 of ../imgs.npy"),
        ("'/home/al ice/My Photos/x'", "'x'"),
        ("in /mnt/al ice/My Photos/imgs.npy, there", "in imgs.npy, there"),
        ("/home/O'Alice/pics/x and 'more'", "x and 'more'"),
        (r"/home/al\ ice/pics/x", "x"),
        (r"from \\server\alice\pics.", "from pics."),
        (r"'\\\\server\\al ice\\pics'", "'pics'"),
        (r"C:\Users\al ice\My Photos\x.npy", "x.npy"),
        (r"..\alice\x", "x"),
        (r"~\alice\my pics\y", "y"),
        ("word:/srv/alice/pics", "word:pics"),
        ("file:///srv/alice/pics", "pics"),
        ("//server/alice/pics", "pics"),
        ("~alice/my pics/x", "x"),
        ("--out=/home/alice/x", "--out=x"),
        ("`/home/alice/x` | /srv/alice/y | T-shirt/top", "`x` | y | T-shirt/top"),
        ("/srv/alice/x and /srv/alice/y", "x and y"),
        ("see https://a.b/c/d or hub:me/x", "see https://a.b/c/d or hub:me/x"),
        (
            "ends \\\n  --set a=b, x / y, \\alpha \\| b",
            "ends \\\n  --set a=b, x / y, \\alpha \\| b",
        ),
    ],
)
def test_unknown_places(said: str, left: str) -> None:
    assert Private().text(said) == left


def test_what_lies_here_and_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here := tmp_path / "w").mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(tmp_path / "al ice"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "al ice"))
    private = Private([".."])  # a folder above this one is no reason to name this one
    assert private.text(f"{here}/al ice/My Photos/imgs.npy") == "imgs.npy"
    assert private.text(f"in {here}, {here}/x and {tmp_path}/al ice") == "in ., x and ~"
    assert private.text(f"{tmp_path}/al ice/pics of/x y") == "x y"


def test_a_known_place_in_all_its_forms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    typed = "nest/../alice smith/my imgs.npy"
    private = Private([typed])
    for form in (
        typed,
        "alice smith/my imgs.npy",
        os.path.abspath("alice smith/my imgs.npy"),  # noqa: PTH100
    ):
        assert private.text(f"real images: {form}, 8x8") == "real images: my imgs.npy, 8x8"
    assert Private(["a\0b/c"]).text("a\0b/c") == "c"


def test_a_command_keeps_its_words_and_no_folder() -> None:
    command = (
        "loang evaluate 'runs of/alice/x' 'alice smith/my imgs.npy' --features pixels -n 12"
        " --set 'data.source=nest/alice/y' --out=a/alice hub:me/x --levels 1,0.5"
    )
    clean = (
        "loang evaluate x 'my imgs.npy' --features pixels -n 12"
        " --set data.source=y --out=alice hub:me/x --levels 1,0.5"
    )
    private = Private(command=command)
    assert private.text(f"- `{command}`") == f"- `{clean}`"
    assert private.value({"command": command}) == {"command": clean}
    assert Private(command="loang x 'al/ice").text("`loang x 'al/ice`") == "`loang`"


def test_last_names() -> None:
    for place in ("file:///srv/al/x", r"\\server\al\x", "word:/srv/al/x", r"..\x"):
        assert last(place) == "x"
    assert last("s3://a/b") == "s3://a/b"


def test_a_long_text_takes_no_longer_than_its_length() -> None:
    start = time.monotonic()
    for piece in ("/a b", "/a /", "~/", "../", r"\\a", "'/a", "C:/a ", "word:/"):
        Private().text(piece * 20_000)
    assert time.monotonic() - start < 5
