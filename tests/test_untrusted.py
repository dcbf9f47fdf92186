"""JSON from anybody: what loang writes is read, what would hurt is refused with a reason."""

import json
import os
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loang import untrusted
from loang.untrusted import parse_json, read_bytes, read_json, shown

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=30,
)


@settings(max_examples=40)
@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), PLAIN), st.booleans())
def test_what_python_writes_comes_back(content, escaped):
    assert parse_json(json.dumps(content, ensure_ascii=escaped)) == content


REFUSED = {
    "cut": ('{"a": 1', "delimiter"),
    "nothing": ("", "Expecting value"),
    "a list": ("[1]", "no object"),
    "a number": ("3", "no object"),
    "deep": ('{"a":' * 33 + "1" + "}" * 33, "nested deeper than 32"),
    "very deep": ("[" * 10**6, "nested deeper"),
    "deep after a text": ('{"a": "' + r"\\\"" + '", "b": ' + "[" * 40, "nested deeper"),
    "twice": ('{"a": {"b": 1, "b": 2}}', "the key 'b' twice"),
    "NaN": ('{"a": NaN}', "no number"),
    "infinity": ('{"a": [-Infinity]}', "no number"),
    "a large float": ('{"a": 1e999}', "float64"),
    "65 bits": ('{"a": 18446744073709551616}', "64 bits"),
    "a long integer": ('{"a": -' + "9" * 10**6 + "}", "64 bits"),
    "half a pair": (r'{"a": "\ud83d"}', "surrogate"),
    "half a pair, in a key": (r'{"\uDE00": 1}', "surrogate"),
    "many parts": ('{"a": [' + "[]," * 400_000 + "[]]}", "more than 1,048,576 parts"),
    "many texts": ('{"a": [' + '"",' * 600_000 + '""]}', "parts"),
    "long": ('{"a": "' + "x" * 2**24 + '"}', "longer than"),
    "open text": ('{"a": "' + r"\"" * 2**22, "Unterminated"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_hurt_is_refused_at_once_and_with_a_reason(name):
    text, reason = REFUSED[name]
    before = time.process_time()
    with pytest.raises(ValueError, match=reason) as caught:
        parse_json(text)
    assert time.process_time() - before < 3
    assert len(str(caught.value)) < 300


def test_brackets_in_texts_do_not_count():
    content = {"a": "[{" * 100, "b": '"]}' * 100, "c\\": "\\" * 33}
    assert parse_json(json.dumps(content)) == content


def test_a_whole_pair_of_escapes_is_a_sign():
    assert parse_json(r'{"a": "\ud83d\ude00"}') == {"a": "😀"}


def test_a_file_must_be_plain_of_utf8_and_not_too_large(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b'{"a": "\xff"}')
    with pytest.raises(ValueError, match="utf-8"):
        read_json(path)
    with path.open("wb") as file:
        file.truncate(2**40)  # sparse: it takes no place
    with pytest.raises(ValueError, match="1,099,511,627,776 bytes, more than 16,777,216"):
        read_json(path)
    with pytest.raises(ValueError, match="no plain file"):
        read_json(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "none")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="no plain file"):
        read_bytes(tmp_path / "pipe", largest=10)


def test_foreign_text_is_shown_in_one_short_line():
    assert shown("plain") == "plain"
    assert shown("a\x1b[31m\n" + "b" * 1000) == "a?[31m?" + "b" * 70 + "..."
    assert len(shown("b" * 1000)) == untrusted.SHOWN
    assert shown(["x"]) == "['x']"
