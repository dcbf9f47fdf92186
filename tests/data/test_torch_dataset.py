"""A torch Dataset is a source like any other: the same images, however its items are made."""

import gc
import random

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset

import loang
from in_steps import IN_STEPS
from loang.data import open_dataset
from loang.data.places import given
from loang.data.places.given import named
from loang.data.wishes import Wishes
from loang.errors import LoangError

TINY = (
    "network.width=8",
    "network.multipliers=1,1",
    "network.heads=1",
    "training.batch=8",
    "training.reports=1",
    "sampling.steps=2",
    *IN_STEPS,
)
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 6, 9, 3), np.uint8)


class Pairs(Dataset):
    """Items of one form."""

    def __init__(self, image, label=lambda number: number % 3):
        self.image = image
        self.label = label

    def __len__(self):
        return len(PIXELS)

    def __getitem__(self, index):
        return self.image(PIXELS[index]), self.label(index)


class Stream(IterableDataset):
    """One that can't be asked for its third image."""

    def __iter__(self):
        return iter(PIXELS)


FORMS = {
    "tensor": lambda pixels: torch.from_numpy(pixels).movedim(-1, 0),
    "picture": Image.fromarray,
    "array": lambda pixels: pixels,
    "channels first": lambda pixels: pixels.transpose(2, 0, 1),
}


@pytest.mark.parametrize("form", FORMS)
def test_items_of_each_form_are_the_same_images(form, tmp_path):
    np.savez(tmp_path / "same.npz", images=PIXELS, labels=np.arange(40) % 3)
    expected = open_dataset(tmp_path / "same.npz")
    found = open_dataset(Pairs(FORMS[form]))
    assert found.fingerprint == expected.fingerprint
    assert found.spec == expected.spec
    assert len(found.validation) == len(expected.validation) > 0


def test_labels_are_named_by_the_datasets_classes():
    data = Pairs(FORMS["array"], lambda number: torch.tensor(number % 3))
    data.classes = ["boot", "bag", "coat", "shirt"]
    found = open_dataset(data)
    assert found.spec.class_names == ("boot", "bag", "coat", "shirt")
    assert open_dataset(data, labels=False).spec.class_names == ()
    assert open_dataset(Pairs(FORMS["array"], lambda number: {"box": 1})).train.labels is None


@pytest.mark.parametrize(
    ("label", "names"),
    [
        (lambda number: float(number % 2), ("0", "1")),
        (lambda number: torch.tensor(number % 2, dtype=torch.float64), ("0", "1")),
        (lambda number: number % 3 - 1, ("0", "1")),
        (lambda number: number % 2 * 2 - 1, ("-1", "1")),
        (lambda number: torch.eye(3)[number % 3], ()),
        (lambda number: number / 7 + 0.01, ()),
    ],
)
def test_labels_are_whole_numbers_however_they_are_stored_or_it_is_told(label, names):
    found = open_dataset(Pairs(FORMS["array"], label), unreadable=0.5)
    assert found.spec.class_names == names
    assert any("say no class" in notice for notice in found.notices) == (not names)


def test_other_values_are_another_data_set():
    one = open_dataset(Pairs(FORMS["array"])).fingerprint
    other = open_dataset(Pairs(lambda pixels: 255 - pixels)).fingerprint
    assert one != other
    assert open_dataset(Pairs(FORMS["array"])).fingerprint == one


def test_real_numbers_keep_their_range():
    found = open_dataset(Pairs(lambda pixels: torch.from_numpy(pixels).movedim(-1, 0) / 255))
    assert found.spec.depth == "float32"
    assert (found.spec.low, found.spec.high) == (0, 1)


def test_random_transforms_are_refused():
    draw = random.Random(0)

    def changed(pixels):
        return np.roll(pixels, draw.randrange(1, 6), axis=0)

    with pytest.raises(LoangError, match=r"another each time .* without random transforms"):
        open_dataset(Pairs(changed))


def forget():
    """As in a process that was given nothing yet."""
    given._given.clear()
    given._latest.clear()


def test_what_has_no_items_is_refused():
    with pytest.raises(LoangError, match="no length or no items"):
        named(Stream())
    with pytest.raises(LoangError, match="no PIL image, array or tensor"):
        open_dataset(Pairs(lambda pixels: "a picture"))


class Counted(Stream):
    """A stream that knows how many it will give."""

    def __len__(self):
        return len(PIXELS)


@pytest.mark.parametrize(
    ("data", "error"), [({"train": Pairs(FORMS["array"])}, "KeyError: 0"), (Counted(), "Not")]
)
def test_what_has_a_length_but_no_items_by_number_is_refused(data, error):
    with pytest.raises(LoangError, match=rf"Item 0 of .* can't be had \({error}.* by number"):
        open_dataset(data)


@pytest.mark.parametrize("error", [OSError, ValueError])
def test_an_item_that_cannot_be_read_is_left_out_by_name(error):
    class Damaged(Pairs):
        def __getitem__(self, index):
            if index == 7:
                raise error("truncated")
            return super().__getitem__(index)

    found = open_dataset(Damaged(FORMS["array"]))
    assert len(found.train) + len(found.validation) == 39
    assert any(f"item 7 ({error.__name__}: truncated)" in notice for notice in found.notices)


def first_of(picture):
    """The one image's header and values, as they are read of a Dataset."""
    collection = given.open_given(named([picture]), Wishes())
    values = collection.picture(0)
    assert collection.header(0).shape == values.shape
    assert collection.header(0).transparent == (values.shape[2] == 4)
    return values


@pytest.mark.parametrize("mode", ["I", "I;16", "I;16B"])
def test_deep_pictures_keep_their_values(mode):
    exact = np.array([[0, 255, 256], [1000, 40_000, 65_535]])
    kind = {"I": "<i4", "I;16": "<u2", "I;16B": ">u2"}[mode]
    found = first_of(Image.frombytes(mode, (3, 2), exact.astype(kind).tobytes()))
    np.testing.assert_array_equal(found[..., 0], exact)
    assert found.dtype == ("float32" if mode == "I" else "uint16")
    assert found.dtype.isnative


def test_transparency_is_kept_whatever_the_mode():
    grey, opacity = PIXELS[0, ..., 0], PIXELS[0, ..., 1]
    expected = np.stack([grey, grey, grey, opacity], axis=-1)
    pair = Image.fromarray(np.stack([grey, opacity], axis=-1), "LA")
    np.testing.assert_array_equal(first_of(pair), expected)
    palette = Image.fromarray(grey % 4).convert("P")
    assert first_of(palette).shape == (6, 9, 3)
    palette.info["transparency"] = 2
    np.testing.assert_array_equal(first_of(palette)[..., 3], np.where(grey % 4 == 2, 0, 255))
    palette.putalpha(Image.fromarray(opacity))
    assert palette.mode == "PA"
    np.testing.assert_array_equal(first_of(palette)[..., 3], opacity)


def test_a_mode_that_pillow_cant_convert_is_named():
    with pytest.raises(LoangError, match="can't convert its mode, La"):
        open_dataset(Pairs(lambda pixels: Image.new("La", (9, 6))))


def test_two_of_a_class_have_two_names_and_none_is_held_for_ever():
    one, other = Pairs(FORMS["array"]), Pairs(lambda pixels: 255 - pixels)
    names = named(one), named(other)
    assert names == (named(one), named(other))
    assert names[0] != names[1]
    assert open_dataset(names[0]).fingerprint == open_dataset(one).fingerprint
    assert open_dataset(names[0]).fingerprint != open_dataset(names[1]).fingerprint
    passing = named(Pairs(FORMS["picture"]))  # held by nobody, and opened all the same
    assert open_dataset(passing).fingerprint == open_dataset(one).fingerprint
    named(one)
    gc.collect()
    with pytest.raises(LoangError, match="which is not here"):
        open_dataset(passing)


def test_a_run_learns_from_it_and_is_gone_on_with_in_python_alone(tmp_path):
    forget()
    data, out = Pairs(FORMS["tensor"]), tmp_path / "run"
    model = loang.train(data, out=out, budget="16 images", changes=TINY)
    assert model.facts["data"] == "python:Pairs"
    loang.train(data, out=out, resume=True)
    with pytest.raises(LoangError, match="not those that this run learned from"):
        loang.train(Pairs(lambda pixels: 255 - pixels), out=out, resume=True)
    forget()
    with pytest.raises(LoangError, match="a Dataset in Python, Pairs, which is not here"):
        loang.train(out=out, resume=True)
