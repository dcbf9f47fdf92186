import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loang.data.split import content_digest, split_rows


def as_array(contents: list[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(contents), np.uint8).reshape(-1, 32)


def digests(count: int) -> np.ndarray:
    return as_array([hashlib.sha256(str(number).encode()).digest() for number in range(count)])


def test_about_a_tenth_is_held_out() -> None:
    train, held_out = split_rows(digests(10_000))
    assert 900 < len(held_out) < 1100
    assert sorted([*train, *held_out]) == list(range(10_000))


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=40))
def test_both_sides_hold_something_and_copies_stay_together(contents: list[bytes]) -> None:
    train, held_out = split_rows(as_array(contents))
    assert len(train)
    assert len(held_out)
    assert {*train.tolist(), *held_out.tolist()} == set(range(len(contents)))
    if len({content[:8] for content in contents}) > 1:
        assert not {contents[row] for row in train} & {contents[row] for row in held_out}
    else:
        assert np.array_equal(train, held_out)


@pytest.mark.parametrize("first", [b"\x00", b"\xff"])
def test_where_one_side_would_be_empty(first: bytes) -> None:
    contents = [first + bytes([number]) * 31 for number in range(5)]
    train, held_out = split_rows(as_array(contents))
    assert (len(train), len(held_out)) == ((1, 4) if first == b"\x00" else (4, 1))


def test_more_images_move_none() -> None:
    _, before = split_rows(digests(500))
    _, after = split_rows(digests(900))
    assert set(before) == {row for row in after if row < 500}


def test_a_digest_tells_shape_depth_and_values() -> None:
    picture = np.arange(24, dtype=np.uint8).reshape(4, 6, 1)
    others = [
        picture,
        picture.reshape(6, 4, 1),
        picture.astype(np.uint16),
        picture + 1,
        picture.reshape(4, 2, 3),
    ]
    assert len({content_digest(other) for other in others}) == len(others)
    assert content_digest(np.repeat(picture, 3, axis=-1)) == content_digest(picture)
    assert content_digest(picture[:, ::-1][:, ::-1]) == content_digest(picture)
