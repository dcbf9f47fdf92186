import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from loang.data.open import open_dataset
from loang.data.spec import ImageSpec
from loang.errors import LoangError

SPEC = ImageSpec(8, 12, 3, "uint16", 0.0, 4095.0, ("boot", "túi", "👢"))


@pytest.mark.parametrize("spec", [SPEC, ImageSpec(1, 1, 7, "float32", -1e30, 1.0)])
def test_comes_back_from_json(spec: ImageSpec) -> None:
    assert ImageSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_whole_numbers_do_for_the_range() -> None:
    values = {"height": 1, "width": 2, "channels": 3, "low": 0, "high": 1, "depth": "float32"}
    assert ImageSpec.from_dict(values) == ImageSpec(1, 2, 3, "float32", 0.0, 1.0)


@pytest.mark.parametrize(
    "change",
    [
        {"height": "8"},
        {"height": True},
        {"height": 8.0},
        {"height": 0},
        {"width": -12},
        {"channels": None},
        {"height": 2**14, "width": 2**14},
        {"height": 10**18},
        {"depth": "int8"},
        {"depth": ["uint8"]},
        {"low": float("nan")},
        {"high": float("inf")},
        {"high": "4095"},
        {"low": False},
        {"low": 4095.0},
        {"low": -65536.0},
        {"high": 65536.0},
        {"depth": "uint8"},
        {"depth": "float32", "high": 3e38},
        {"depth": "float32", "high": 5e-324},
        {"class_names": "boot"},
        {"class_names": {"boot": 1}},
        {"class_names": ["boot", 1]},
        {"class_names": ["boot"] * (2**16 + 1)},
        {"class_names": ["x" * (2**20 + 1)]},
        {"class_names": ["\x1b[2J"]},
        {"class_names": ["a\nb"]},
        {"more": 1},
    ],
    ids=lambda change: f"{change}"[:40],
)
def test_what_comes_from_a_file_is_of_the_right_type_and_range(change: dict) -> None:
    with pytest.raises(ValueError, match=r"."):
        ImageSpec.from_dict({**SPEC.to_dict(), **change})


@pytest.mark.parametrize("key", ["height", "low", "depth", "class_names"])
def test_a_message_repeats_little_of_a_foreign_value(key: str) -> None:
    """Found by fuzzing."""
    with pytest.raises(ValueError, match="its") as caught:
        ImageSpec.from_dict({**SPEC.to_dict(), key: [[1] * 1000]})
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("values", [None, [], "x", 3])
def test_what_is_no_table_is_refused(values: object) -> None:
    with pytest.raises(ValueError, match="keys"):
        ImageSpec.from_dict(values)


def test_each_key_of_the_size_is_needed() -> None:
    for key in ("height", "width", "channels"):
        values = {k: v for k, v in dataclasses.asdict(SPEC).items() if k != key}
        with pytest.raises(ValueError, match="size"):
            ImageSpec.from_dict(values)


def test_data_that_no_model_file_could_describe_are_refused_before_they_are_learned(
    tmp_path: Path,
) -> None:
    images = np.arange(60, dtype=np.uint8)[:, None, None] + np.zeros((60, 4, 4), np.uint8)
    path = tmp_path / "images.npz"
    np.savez(path, images=images, labels=np.array(["a", "b\x1b[2J"] * 30))
    with pytest.raises(LoangError, match="holds a control character"):
        open_dataset(path)
    assert open_dataset(path, labels=False).spec.class_names == ()


def test_a_size_that_memory_cannot_hold_is_refused_before_images_are_scaled(
    tmp_path: Path,
) -> None:
    np.save(tmp_path / "images.npy", np.zeros((20_000, 1, 1), np.uint8))
    Image.new("L", (4, 4)).save(tmp_path / "picture.png")
    with pytest.raises(LoangError, match="memory"):
        open_dataset(tmp_path / "images.npy", size=(16_000, 16_000))
    with pytest.raises(LoangError, match="more than 268,435,456 values"):
        open_dataset(tmp_path / "images.npy", size=(10**9, 10**9))
