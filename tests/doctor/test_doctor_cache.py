"""`loang doctor --cache`: what lies there, and clearing it."""

import json
import sys

import numpy as np
import pytest

from loang import cli
from loang.data import open_dataset
from loang.data.cache import kept


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Runs a command in `tmp_path`; returns exit status, standard output and errors."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["loang", *map(str, arguments)])
        try:
            cli.main()
            status = 0
        except SystemExit as leave:
            status = leave.code or 0
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


@pytest.fixture
def packed(tmp_path):
    """A cache with the pack of 50 images, brought to 16x16."""
    images = np.random.default_rng(0).integers(0, 255, (50, 8, 8), np.uint8)
    np.save(tmp_path / "mine.npy", images)
    open_dataset(tmp_path / "mine.npy", size=(16, 16))
    assert kept()


@pytest.mark.usefixtures("packed")
def test_the_cache_is_listed_with_sizes_and_a_total(run):
    status, said, _ = run("doctor", "--cache")
    assert status == 0
    assert "50 images of" in said
    assert "mine.npy" in said
    assert "bytes" in said or "MB" in said
    assert "in all" in said
    assert "--clear" in said
    assert kept()  # listing deletes nothing


@pytest.mark.usefixtures("packed")
def test_the_list_is_json_too(run, tmp_path):
    status, said, _ = run("doctor", "--cache", "--json")
    read = json.loads(said)
    assert status == 0
    assert read["bytes"] == sum(each["bytes"] for each in read["kept"]) > 50 * 16 * 16
    assert read["folder"] == str(tmp_path / "cache")


@pytest.mark.usefixtures("packed")
def test_clearing_deletes_all_and_says_how_much(run):
    status, said, _ = run("doctor", "--cache", "--clear", "--yes")
    assert status == 0
    assert "were freed" in said
    assert not kept()
    status, said, _ = run("doctor", "--cache")
    assert status == 0
    assert "Nothing lies in the cache" in said


@pytest.mark.usefixtures("packed")
def test_clearing_tells_programs_how_much_it_freed(run):
    size = sum(each.bytes for each in kept())
    status, said, _ = run("doctor", "--cache", "--clear", "--yes", "--json")
    assert (status, json.loads(said)["freed"]) == (0, size)


@pytest.mark.usefixtures("packed")
def test_what_is_not_loangs_is_neither_listed_nor_deleted(run, tmp_path):
    cache, elsewhere = tmp_path / "cache", tmp_path / "elsewhere"
    elsewhere.mkdir()
    names = ("thesis.tex", "holiday/a.txt", "features/mine.safetensors", "packed/mine/about.json")
    theirs = [*(cache / name for name in names), elsewhere / "a.txt"]
    for path in theirs:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("theirs")
    (cache / "packed" / "-".join(["0123456789abcdef"] * 3)).symlink_to(elsewhere)
    (cache / "hub").mkdir()
    (cache / "hub" / "0123456789abcdef.json").write_text("ours")
    size = sum(each.bytes for each in kept())
    assert {each.path.name for each in kept()} >= {"hub"}
    assert len(kept()) == 2
    status, said, _ = run("doctor", "--cache", "--clear", "--yes", "--json")
    assert (status, json.loads(said)["freed"]) == (0, size)
    assert not kept()
    assert all(path.read_text() == "theirs" for path in theirs)
    assert not (cache / "hub").exists()


@pytest.mark.usefixtures("packed")
def test_only_what_is_gone_is_counted_as_freed(run, monkeypatch):
    monkeypatch.setattr("loang.data.pack.remove", lambda folder: None)  # as if it may not
    status, said, _ = run("doctor", "--cache", "--clear", "--yes")
    assert status == 0
    assert "0 bytes were freed" in said
    assert "can't be deleted" in said
    assert kept()


@pytest.mark.usefixtures("packed")
def test_without_a_terminal_nothing_is_deleted_unasked(run):
    status, _, errors = run("doctor", "--cache", "--clear")
    assert status == 2
    assert "--yes" in errors
    assert kept()


@pytest.mark.usefixtures("packed")
@pytest.mark.parametrize(("answer", "left"), [("n", True), ("", True), ("y", False)])
def test_on_a_terminal_a_person_is_asked(run, monkeypatch, answer, left):
    import io

    typed = io.StringIO(f"{answer}\n")
    typed.isatty = lambda: True
    monkeypatch.setattr(sys, "stdin", typed)
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda prompt="": answer)
    status, _, _ = run("doctor", "--cache", "--clear")
    assert status == 0
    assert bool(kept()) == left


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(("--clear",), "--cache"), (("mine.npy", "--cache"), "mine.npy"), (("--clear", "--yes"), "")],
)
@pytest.mark.usefixtures("packed")
def test_contradictions_delete_nothing(run, arguments, words):
    status, _, errors = run("doctor", *arguments)
    assert status == 2
    assert words in errors
    assert kept()
