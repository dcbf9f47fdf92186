"""`loang edit` and `loang sample --start-from`: files in, files out, and what is said."""

from dataclasses import replace

import numpy as np
import pytest
from editing_models import DEEP, GREY, REAL, model_of, pixels_of, student_of
from PIL import Image

from loang import cli
from loang.config import DataSettings
from loang.data import ImageSpec
from loang.data.encoded.picture import read_picture
from loang.editing.picture import read, read_with_holes
from loang.errors import LoangError
from loang.pictures.single import save_single

DATA = DataSettings()


@pytest.fixture
def run(monkeypatch, capsys):
    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["loang", *map(str, arguments)])
        try:
            cli.main()
            status = 0
        except SystemExit as leave:
            status = leave.code or 0
        said = capsys.readouterr()
        return status, said.out + said.err

    return call


@pytest.fixture
def place(tmp_path):
    """A model, a grey picture, and the same with a hole."""
    model_of(GREY).save(tmp_path / "model.safetensors")
    pixels = pixels_of(GREY)[..., 0]
    Image.fromarray(pixels).save(tmp_path / "whole.png")
    alpha = np.full((8, 8), 255, np.uint8)
    alpha[2:5, 1:4] = 0
    Image.fromarray(np.dstack([pixels, alpha]), "LA").save(tmp_path / "hole.png")
    Image.fromarray(255 - alpha).save(tmp_path / "mask.png")
    return tmp_path


@pytest.mark.parametrize("holes", [("hole.png",), ("whole.png", "--mask", "mask.png")])
def test_a_filled_picture_keeps_its_known_pixels_in_the_file(run, place, holes):
    named = [place / each if each.endswith(".png") else each for each in holes]
    out, few = place / "out.png", ("-n", 1, "--steps", 3, "--resample", 2)
    status, said = run("edit", "inpaint", place / "model.safetensors", *named, "--out", out, *few)
    assert status == 0, said
    whole, filled = read_picture(place / "whole.png"), read_picture(out)
    known = np.ones((8, 8), bool)
    known[2:5, 1:4] = False
    assert np.array_equal(filled[known], whole[known])
    assert not np.array_equal(filled, whole)


def test_seeds_pictures_noise_and_strength(run, place):
    model, one, other = (place / n for n in ("model.safetensors", "whole.png", "mask.png"))
    gif, clean, like = (place / n for n in ("b.gif", "clean.png", "like.npy"))
    asked = ("--out", gif, "--frames", 4, "--evaluations", 8)
    assert run("edit", "interpolate", model, one, other, *asked)[0] == 0
    with Image.open(gif) as animation:
        assert animation.n_frames == 4
    status, said = run("edit", "denoise", model, one, "--out", clean)
    assert status == 0
    assert "is estimated at" in said
    assert read_picture(clean).shape == (8, 8, 1)
    asked = ("--start-from", one, "--strength", 0, "-n", 2, "--out", like)
    assert run("sample", model, *asked)[0] == 0
    kept = np.frombuffer(like.read_bytes()[-128:], np.uint8).reshape(2, 8, 8, 1)
    assert np.array_equal(kept, np.stack([read_picture(one)] * 2))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("inpaint", "whole.png"), "nothing in it is transparent"),
        (("inpaint", "none.png"), "There is no picture"),
        (("inpaint", "hole.png", "--guidance", "2"), "Add --label"),
        (("inpaint", "hole.png", "--label", "hat"), "no class is called"),
        (("interpolate", "whole.png"), "two ends"),
        (("denoise", "whole.png", "--noise", "-1"), "can't be"),
        (("inpaint", "hole.png", "--sampler", "heun"), "Give --resample 1 for heun's own walk"),
        (("inpaint", "hole.png", "--resample", "1", "--jump", "3"), "--jump does nothing"),
        (("interpolate", "whole.png", "mask.png", "--steps", "9"), "pictures, --steps does"),
        (("interpolate", "whole.png", "mask.png", "--guidance", "2"), "--guidance does nothing"),
        (("interpolate", "--seeds", "1", "2", "--evaluations", "9"), "--evaluations does nothing"),
        (("denoise", "whole.png", "--sampler", "ddpm"), "Without --walk, --sampler does"),
        (("denoise", "whole.png", "--seed", "0"), "Without --walk, --seed does nothing"),
        (("denoise", "model.safetensors"), "can't be read as a picture"),
    ],
)
def test_slips_are_told_in_words(run, place, arguments, said):
    verb, *others = (place / a if "." in a else a for a in arguments)
    status, told = run("edit", verb, place / "model.safetensors", *others)
    assert status == 2
    assert said in " ".join(told.split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--strength", 0.3), "Without --start-from, --strength does nothing"),
        (("--every", 2), "Without --gif, --every does nothing"),
        (("--start-from", "none.png", "--gif"), "--gif goes with samples from noise alone"),
    ],
)
def test_slips_in_sampling_are_told_before_any_model_is_read(run, arguments, said):
    status, told = run("sample", "no model", *arguments)
    assert status == 2
    assert said in " ".join(told.split())


@pytest.mark.parametrize(
    ("arguments", "out"),
    [
        (("edit", "inpaint", "MODEL", "hole.png"), "hole.png"),
        (("edit", "inpaint", "MODEL", "whole.png", "--mask", "mask.png"), "mask.png"),
        (("edit", "inpaint", "MODEL", "folder/3.png", "--mask", "mask.png"), "folder"),
        (("edit", "interpolate", "MODEL", "whole.png", "mask.png"), "mask.png"),
        (("edit", "denoise", "MODEL", "whole.png"), "folder/../whole.png"),
        (("sample", "MODEL", "--start-from", "whole.png"), "whole.png"),
    ],
)
def test_no_edit_writes_over_what_it_reads(run, place, monkeypatch, arguments, out):
    monkeypatch.chdir(place)
    (place / "folder").mkdir()
    (place / "folder" / "3.png").write_bytes((place / "whole.png").read_bytes())
    before = {each: each.read_bytes() for each in place.rglob("*.png")}
    named = ["model.safetensors" if each == "MODEL" else each for each in arguments]
    status, told = run(*named, "--out", out)
    assert status == 2
    assert "would be written over" in " ".join(told.split())
    assert before == {each: each.read_bytes() for each in place.rglob("*.png")}


def test_a_picture_may_lie_beside_what_is_written(run, place, monkeypatch):
    monkeypatch.chdir(place)
    assert run("edit", "denoise", "model.safetensors", "whole.png", "--out", ".")[0] == 0
    assert (place / "00000.png").is_file()


@pytest.mark.parametrize(
    "arguments",
    [
        ("edit", "inpaint", "hole.png"),
        ("edit", "interpolate", "whole.png", "mask.png"),
        ("edit", "interpolate", "--seeds", 1, 2),
        ("edit", "denoise", "whole.png"),
        ("sample", "--start-from", "whole.png"),
    ],
)
def test_a_model_that_was_always_told_classes_is_not_asked_for_none(
    run, place, monkeypatch, arguments
):
    monkeypatch.chdir(place)
    model_of(GREY, "cosine", "training.label_dropout=0").save(place / "told.safetensors")
    where = 2 if arguments[0] == "edit" else 1
    named = [*arguments[:where], "told.safetensors", *arguments[where:]]
    status, said = run(*named, "--out", "out.npy")
    assert status == 2
    assert "Add --label. There are boot, bag." in " ".join(said.split())
    assert run(*named, "--out", "out.npy", "--label", "bag")[0] == 0


def test_a_mask_of_another_size_is_refused(place):
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(place / "small.png")
    with pytest.raises(LoangError, match="is 4x4, and the picture 8x8"):
        read_with_holes(place / "whole.png", GREY, DATA, place / "small.png")
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(place / "black.png")
    with pytest.raises(LoangError, match="nothing to fill"):
        read_with_holes(place / "whole.png", GREY, DATA, place / "black.png")


def test_a_picture_of_every_depth_comes_in_as_it_is(tmp_path):
    for spec, name in ((GREY, "a.png"), (DEEP, "b.png"), (REAL, "c.tif")):
        pixels = pixels_of(spec)
        save_single(pixels, tmp_path / name)
        assert np.array_equal(read(tmp_path / name, spec, DATA).pixels, pixels)
    with pytest.raises(LoangError, match="whole numbers"):
        read(tmp_path / "a.png", replace(REAL, channels=1), DATA)


def test_another_size_and_depth_are_told(tmp_path):
    Image.fromarray(np.full((16, 16), 255, np.uint8)).save(tmp_path / "white.png")
    found = read(tmp_path / "white.png", DEEP, DATA)
    assert found.pixels.shape == (6, 10, 3)
    assert bool((found.pixels == 4095).all())
    assert any("8 bits" in said for said in found.notices)
    assert any("16x16" in said for said in found.notices)


def test_what_lies_in_a_hole_does_not_bleed_into_a_smaller_picture(tmp_path):
    pixels, alpha = np.full((32, 32), 200, np.uint8), np.full((32, 32), 255, np.uint8)
    pixels[:, 12:], alpha[:, 12:] = 0, 0
    Image.fromarray(np.dstack([pixels, alpha]), "LA").save(tmp_path / "a.png")
    found, known = read_with_holes(tmp_path / "a.png", GREY, DATA)
    assert bool((found.pixels[known] == 200).all())
    assert 2 <= known[0].sum() <= 3


def test_between_seeds_a_model_that_is_sampled_with_noise_goes_by_ddim(run, tmp_path):
    model_of(GREY, "flow", "sampling.sampler=ddpm").save(tmp_path / "noisy.safetensors")
    for sampler in ("none", "ddim", "ddpm"):
        told = [] if sampler == "none" else ["--sampler", sampler]
        told += ["--steps", 6, "--frames", 3, "--out", tmp_path / f"{sampler}.npy"]
        status, said = run(
            "edit", "interpolate", tmp_path / "noisy.safetensors", "--seeds", 3, 7, *told
        )
        assert (status == 0) == (sampler != "ddpm"), said
    np.testing.assert_array_equal(np.load(tmp_path / "none.npy"), np.load(tmp_path / "ddim.npy"))
    assert "nothing lies between" in " ".join(said.split())


def test_stretches_that_a_student_does_not_repeat_are_refused(run, tmp_path):
    student_of("leaps").save(tmp_path / "student.safetensors")
    Image.new("LA", (8, 8), (100, 0)).save(tmp_path / "hole.png")
    asked = ("edit", "inpaint", tmp_path / "student.safetensors", tmp_path / "hole.png")
    status, said = run(*asked, "--jump", 3, "--out", tmp_path / "out.png")
    assert status != 0
    assert "--jump does nothing" in said


def test_other_channels_are_told(tmp_path):
    Image.fromarray(np.full((8, 8, 4), 128, np.uint8)).save(tmp_path / "torn.png")
    data = DataSettings(background="black")
    grey = read(tmp_path / "torn.png", ImageSpec(8, 8, 1), data)
    assert grey.notices == (
        f"{tmp_path / 'torn.png'} has 4 channels, and this model's images 1: it is converted, and"
        " laid on black.",
    )
    assert read(tmp_path / "torn.png", ImageSpec(8, 8, 4), data).notices == ()
    colour, _ = read_with_holes(tmp_path / "torn.png", ImageSpec(8, 8, 3), data)
    assert colour.notices == ()  # what is transparent is a hole there
