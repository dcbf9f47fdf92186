"""How `loang sample` and `loang evaluate` are told to sample: what they do, say and refuse."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest

import loang
from in_steps import IN_STEPS
from loang import build, cli, drawing, presets, sampling
from loang.config import SamplingSettings, changed
from loang.data import ImageSpec
from loang.errors import LoangError
from loang.evaluation import drawn
from loang.model import Model
from loang.samplers import METHODS
from loang.walking import described, levels_of

TINY = (
    *("network.width=8", "network.multipliers=1,1", "network.heads=1", "network.attention=[]"),
    *("network.blocks=1", "schedule.steps=100", "sampling.steps=4", "training.precision=float32"),
    *IN_STEPS,
)
LABELLED = ImageSpec(8, 8, 1, class_names=("dark", "bright"))
PLAIN = ImageSpec(8, 8, 1)


def made(spec=LABELLED, seed=0, changes=()):
    settings = changed(presets.quick(), [*TINY, f"training.seed={seed}", *changes])
    model = Model(build.build_denoiser(settings, spec), spec, settings, {})
    for number, weight in enumerate(model.denoiser.parameters()):  # a fresh one answers 0
        weight.data += 0.05 * np.cos(number + seed)
    return model


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Model files: with labels, another such, without labels, one of another schedule."""
    folder = tmp_path_factory.mktemp("models")
    made().save(folder / "labelled.safetensors")
    made(seed=1).save(folder / "worse.safetensors")
    made(PLAIN).save(folder / "plain.safetensors")
    made(PLAIN, seed=1).save(folder / "plain-worse.safetensors")
    made(changes=["schedule.steps=50"]).save(folder / "other.safetensors")
    made(ImageSpec(8, 12, 1)).save(folder / "wide.safetensors")
    return folder


@pytest.fixture
def run(monkeypatch, capsys, tmp_path, place):
    """Samples with a model of `place`; returns exit status, what was said, and the samples."""

    def call(model, *arguments):
        out = tmp_path / "samples.npy"
        out.unlink(missing_ok=True)
        told = [str(a).format(place=place) for a in arguments]
        line = ["loang", "sample", place / f"{model}.safetensors", "-n", 4, "--out", out, *told]
        monkeypatch.setattr(sys, "argv", [str(each) for each in line])
        try:
            cli.main()
            status = 0
        except SystemExit as leave:
            status = leave.code or 0
        said = capsys.readouterr()
        return status, said.out + said.err, np.load(out) if out.exists() else None

    return call


def test_every_option_changes_what_is_drawn(run):
    seen = [run("labelled")[2]]
    for options in (
        ("--sampler", "heun"),
        ("--sampler", "heun", "--churn", 20),
        ("--sampler", "ode", "--tolerance", 1.0),
        ("--sampler", "ode", "--tolerance", 0.1),
        ("--sampler", "ddpm"),
        ("--sampler", "ddpm", "--variance", "fixed-large"),
        ("--eta", 0.7),
        ("--steps", 7),
        ("--spacing", "karras"),
        ("--levels", "100,60,20"),
        ("--guidance", 2.5),
        ("--guidance", 2.5, "--guidance-interval", "0.2:5"),
        ("--guidance", 2.5, "--guidance-rescale", 0.7),
        ("--guidance", 2.5, "--guide", "{place}/worse.safetensors"),
    ):
        status, said, pixels = run("labelled", *options)
        assert status == 0, said
        assert all((pixels != other).any() for other in seen), options
        seen.append(pixels)


def test_a_model_without_labels_is_guided_by_a_worse_one(run):
    plain = run("plain")[2]
    guided = run("plain", "--guidance", 3, "--guide", "{place}/plain-worse.safetensors")
    assert guided[0] == 0
    assert (guided[2] != plain).any()


@pytest.mark.parametrize("sampler", [name for name in sampling.SAMPLERS if name in METHODS])
def test_every_sampler_draws_by_its_name_to_the_end(run, sampler):
    options = ("--tolerance", 1) if sampler == "ode" else ()
    status, said, pixels = run(
        "labelled", "--sampler", sampler, "--steps", 3, "--guidance", 1.5, *options
    )
    assert status == 0, said
    assert pixels.shape == (4, 8, 8, 1)


def test_auto_says_what_it_takes_for_so_many_evaluations(run):
    status, said, pixels = run("labelled", "--sampler", "auto", "--steps", 9)
    assert status == 0
    settings = drawing.sampling(made(), sampler="auto", steps=9)
    assert f"auto takes {described(settings.model_dump())}." in " ".join(said.split())
    assert METHODS[settings.sampler].evaluations(settings.steps) <= 9
    named = ("--sampler", settings.sampler, "--steps", settings.steps)
    np.testing.assert_array_equal(pixels, run("labelled", *named, "--spacing", settings.spacing)[2])
    assert drawing.sampling(made(), sampler="auto", steps=9, spacing="karras").spacing == "karras"


def test_a_model_whose_own_way_is_auto_draws_as_auto_does(tmp_path):
    model = made(changes=["sampling.sampler=auto"])
    asked = drawing.sampling(model)
    assert asked.sampler != "auto"
    levels = [levels_of(way, model.denoiser.schedule) for way in (model.settings.sampling, asked)]
    assert levels[0] == levels[1]
    np.testing.assert_array_equal(model.sample(2), model.sample(2, sampling=asked))


@pytest.mark.parametrize(
    ("model", "options", "wanted"),
    [
        ("labelled", ("--sampler", "huen"), "Did you mean heun? There are auto, ddpm, ddim"),
        ("labelled", ("--spacing", "log"), "no spacing 'log'"),
        ("labelled", ("--sampler", "heun", "--eta", 0.5), "heun knows no --eta"),
        ("labelled", ("--sampler", "ddim", "--churn", 5), "take --sampler heun"),
        ("labelled", ("--tolerance", 0.1), "take --sampler ode"),
        ("labelled", ("--eta", 1.5), "--eta can't be 1.5"),
        ("labelled", ("--steps", 0), "can't be sampled in 0 steps"),
        ("labelled", ("--steps", 101), "choose --steps from 1 to 100"),
        ("labelled", ("--sampler", "auto", "--steps", 101), "choose --steps from 1 to 100"),
        ("labelled", ("--levels", "20,60"), "not falling times"),
        ("labelled", ("--levels", "200,60"), "go from 100 down to 0"),
        ("labelled", ("--levels", "100,many"), "as in --levels 1000,600,200"),
        ("labelled", ("--levels", "100,60", "--steps", 4), "go without steps"),
        ("labelled", ("--guidance", -1), "--guidance can't be -1"),
        ("labelled", ("--guidance", 2, "--guidance-interval", "5:0.2"), "0.2:5"),
        ("labelled", ("--guidance", 2, "--guidance-interval", "5"), "no interval"),
        ("labelled", ("--guidance", 2, "--guidance-interval", "a:b"), "no number"),
        ("labelled", ("--guidance-interval", "0.2:5"), "Without guidance --guidance-interval"),
        ("labelled", ("--guidance-rescale", 0.7), "Without guidance --guidance-rescale"),
        ("labelled", ("--guide", "{place}/worse.safetensors"), "Without guidance --guide"),
        ("labelled", ("--guidance", 2, "--guide", "nowhere"), "no model at nowhere"),
        ("plain", ("--guidance", 2), "knows no classes"),
        ("labelled", ("--guidance", 2, "--guide", "{place}/other.safetensors"), "schedule"),
        ("labelled", ("--guidance", 2, "--guide", "{place}/wide.safetensors"), "other images"),
    ],
)
def test_a_mistake_is_told_in_a_line(run, model, options, wanted):
    status, said, pixels = run(model, *options)
    assert status == 2
    assert pixels is None
    assert wanted in said
    assert "Traceback" not in said
    assert said.count("\n") == 1


def test_the_same_words_are_pythons(place):
    model = loang.load(place / "labelled.safetensors")
    settings = drawing.sampling(
        model, sampler="heun", steps=5, guidance=1.5, guidance_interval=(0.2, 5.0)
    )
    expected = SamplingSettings(sampler="heun", steps=5, guidance=1.5, guidance_interval=(0.2, 5.0))
    assert settings == expected
    of_levels = drawing.sampling(model, levels=[100.0, 50.0, 10.0])
    assert of_levels.steps == 3
    assert drawing.sampling(model).steps == 4
    own = model.settings.model_copy(update={"sampling": of_levels})
    again = Model(model.denoiser, model.spec, own)
    assert drawing.sampling(again).levels == (100.0, 50.0, 10.0)
    assert drawing.sampling(again, steps=9).levels is None


def test_what_can_not_guide_is_told_before_anything_is_drawn():
    with pytest.raises(LoangError, match="knows no classes"):
        drawing.sampling(made(PLAIN), guidance=2.0)
    wanted = "than the model: 8x12, 1 channel, uint8, and not 8x8, 1 channel, uint8"
    with pytest.raises(LoangError, match=f"other images {wanted}"):
        drawing.sampling(made(), guidance=2.0, guide=made(ImageSpec(8, 12, 1)))
    own = made().spec
    for spec, words in (
        (replace(own, high=200.0), "values of 0 to 200, and not 0 to 255"),
        (replace(own, class_names=("a", *own.class_names[1:])), "those of other classes"),
    ):
        with pytest.raises(LoangError, match=words):
            drawing.sampling(made(), guidance=2.0, guide=made(spec))


def test_levels_in_a_models_own_settings_that_do_not_fall_are_told():
    model = made(changes=["sampling.levels=[3.0, 50.0]"])
    with pytest.raises(LoangError, match="not falling times"):
        model.sample(1)


def test_progress_counts_the_steps_of_every_sampler(place):
    model = made()
    told: list[tuple[int, int]] = []
    ode = {"sampler": "ode", "steps": 5, "tolerance": 1.0}
    for asked in (ode, {"levels": [100, 40]}, {"steps": 3}):
        told.clear()
        settings = drawing.sampling(model, **asked)
        model.sample(3, sampling=settings, batch=2, on_step=lambda *each: told.append(each))
        done, total = zip(*told, strict=True)
        assert list(done) == sorted(done)
        assert set(total) == {done[-1]}


def test_samples_that_a_guide_decided_are_kept_apart(tmp_path):
    model, settings = made(), SamplingSettings(steps=2, guidance=3.0)
    guides = [None, made(seed=1), made(seed=2)]
    found = [
        drawn.draw(model, 3, tmp_path, seed=0, sampling=settings, guide=guide)[:]
        for guide in (*guides, *guides)
    ]
    assert len(list(tmp_path.iterdir())) == 3
    for first, again in zip(found[:3], found[3:], strict=True):
        np.testing.assert_array_equal(first, again)


def test_progress_of_parts_is_told_in_images(tmp_path, monkeypatch):
    monkeypatch.setattr(drawn, "PART", 4)
    model, told = made(), []
    asked = {"seed": 0, "sampling": SamplingSettings(steps=2)}
    drawn.draw(model, 2, tmp_path, **asked)
    drawn.draw(model, 10, tmp_path, **asked, on_step=lambda *each: told.append(each))
    done, total = zip(*told, strict=True)
    assert list(done) == sorted(done)
    assert (done[0], done[-1], set(total)) == (2, 10, {10})


def test_a_way_of_sampling_in_words():
    def words(**asked):
        return described(SamplingSettings(**asked).model_dump(mode="json"))

    assert words(steps=5) == "ddim, 5 steps, eta 0"
    assert words(sampler="ddpm", steps=5) == "ddpm, 5 steps, variance fixed-small"
    assert words(sampler="unipc", steps=8, spacing="log-snr") == "unipc, 8 steps spaced by log-snr"
    assert words(sampler="unipc", levels=(9, 4)) == "unipc, levels 9 4"
    guided = words(
        sampler="deis", steps=8, guidance=2, guidance_interval=(0.2, 5), guidance_rescale=0.7
    )
    assert guided == "deis, 8 steps, guidance 2 for noise 0.2 to 5, rescaled by 0.7"
    # Of a report that an older version wrote.
    old = {"sampler": "ddim", "steps": 50, "eta": 0.0, "variance": "fixed-small"}
    assert described(json.loads(json.dumps(old))) == "ddim, 50 steps, eta 0"
