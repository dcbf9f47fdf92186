"""The measured tables of the docs are what their data say: `benchmarks/tables.py --check`."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TABLES = ROOT / "benchmarks" / "tables.py"
pytestmark = pytest.mark.skipif(not TABLES.exists(), reason="the benchmarks are not here")


@pytest.fixture
def docs(tmp_path):
    """The pages and their data, to be spoilt."""
    shutil.copytree(ROOT / "docs" / "measured", tmp_path / "measured")
    for page in (ROOT / "docs").glob("*.md"):
        shutil.copy(page, tmp_path)
    return tmp_path


def tables(*arguments):
    """Whether all is well, and what is said."""
    ended = subprocess.run(
        [sys.executable, str(TABLES), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert not ended.stderr
    return ended.returncode == 0, ended.stdout


def change(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_each_table_is_what_its_data_say():
    well, said = tables("--check")
    assert well, said


@pytest.mark.parametrize(
    ("page", "old", "new", "table"),
    [
        ("benchmarks.md", "| **0.062 ± 0.006** |", "| **0.061 ± 0.006** |", "walks"),
        ("benchmarks.md", "| **97.2 %** |", "| 97.2 % |", "guidance"),
        ("neighbours.md", "onnxruntime 1.32.0, loang", "onnxruntime 1.31.0, loang", "onnx-speed"),
    ],
)
def test_a_changed_number_is_found_and_put_right(docs, page, old, new, table):
    right = (docs / page).read_bytes()
    change(docs / page, old, new)
    wrong = (docs / page).read_bytes()
    assert tables("--check", "--docs", docs) == (
        False,
        f"{page}: table {table} is not what its data say.\n",
    )
    assert (docs / page).read_bytes() == wrong
    well, said = tables("--docs", docs)
    assert well, said
    assert (docs / page).read_bytes() == right


def test_a_changed_row_is_found_in_each_table_of_it(docs):
    change(docs / "measured" / "distill.csv", ",0.0621,0.0055,", ",0.0631,0.0055,")
    well, said = tables("--check", "--docs", docs)
    assert not well
    assert said.split("\n")[:-1] == [
        "benchmarks.md: table walks is not what its data say.",
        "distill.md: table student is not what its data say.",
    ]
    assert tables("--docs", docs)[0]
    assert "| **0.063 ± 0.006** |" in (docs / "benchmarks.md").read_text(encoding="utf-8")


def test_a_missing_file_is_found_and_its_table_stays(docs):
    (docs / "measured" / "recipe.csv").unlink()
    page = (docs / "benchmarks.md").read_bytes()
    for check in (["--check"], []):
        well, said = tables(*check, "--docs", docs)
        assert not well
        assert re.fullmatch(r"Table recipe: recipe.csv is missing in .*\n", said)
    assert (docs / "benchmarks.md").read_bytes() == page


def test_a_missing_row_is_found(docs):
    change(docs / "measured" / "recipe.csv", "width 32,", "width 33,")
    well, said = tables("--check", "--docs", docs)
    assert not well
    assert "Table recipe can't be made of its data: 0 rows have {'recipe': 'width 32'}" in said


@pytest.mark.parametrize("gone", ["<!-- table: onnx-speed -->\n", "<!-- end -->\n"])
def test_a_missing_marker_is_found(docs, gone):
    change(docs / "neighbours.md", gone, "")
    well, said = tables("--check", "--docs", docs)
    assert not well
    assert said.startswith("Table onnx-speed: no page has")


def test_a_place_that_is_not_closed_takes_nothing_of_the_next_one(docs):
    page = docs / "distill.md"
    first, end, rest = page.read_text(encoding="utf-8").partition("<!-- end -->\n")
    assert end
    page.write_text(first + rest, encoding="utf-8")
    for check in (["--check"], []):
        well, said = tables(*check, "--docs", docs)
        assert not well
        assert said.startswith("Table student: no page has")
        assert said.count("\n") == 1
    assert page.read_text(encoding="utf-8") == first + rest


def test_a_name_that_no_table_has_is_found(docs):
    change(docs / "scaling.md", "<!-- table: processes -->", "<!-- table: proceses -->")
    well, said = tables("--check", "--docs", docs)
    assert not well
    assert "scaling.md: no table is called proceses." in said
