"""What a notebook shows: samples as a sheet, a walk's level, a model, and training as it goes."""

import base64
import copy
import io
import pickle
import re
import subprocess
import sys
import types

import numpy as np
import pytest
import torch
from PIL import Image

from in_steps import IN_STEPS
from loang import build, glance, presets
from loang.config import changed
from loang.data import ImageSpec
from loang.model import Model
from loang.sampled import Sampled
from loang.samplers import State
from loang.training import notebook_display
from loang.training.display import Display, Measurement
from loang.training.notebook_display import NotebookDisplay, in_notebook, of_python

SPECS = {
    "grey": ImageSpec(8, 8, 1),
    "classes": ImageSpec(8, 12, 3, class_names=("a", "b", "c")),
    "deep": ImageSpec(8, 8, 3, "uint16", 0.0, 4095.0),
    "real": ImageSpec(8, 6, 2, "float32", -3.0, 5.5),
}


def opened(content: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(content))
    picture.load()
    return picture


def model_of(spec, *changes):
    network = ("network.width=8", "network.multipliers=1,1", "network.heads=1", "sampling.steps=4")
    settings = changed(presets.quick(), [*network, *IN_STEPS, *changes])
    return Model(build.build_denoiser(settings, spec), spec, settings)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_samples_are_an_array_that_shows_a_sheet(spec):
    images = model_of(spec).sample(6)
    assert isinstance(images, np.ndarray)
    assert images.shape == (6, spec.height, spec.width, spec.channels)
    wide = spec.width * (2 if spec.channels == 2 else 1)
    for part, across, down in ((images, min(6, len(spec.class_names) or 8), 1), (images[4], 1, 1)):
        down = 2 if across == 3 else down
        shown = opened(part._repr_png_())
        scale = shown.width // (across * (wide + 2) - 2)
        assert shown.size == (
            scale * (across * (wide + 2) - 2),
            scale * (down * (spec.height + 2) - 2),
        )


def test_the_sheet_has_the_samples_own_values():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (1, 8, 8, 3), np.uint8)
    shown = np.asarray(opened(Sampled.of(pixels, ImageSpec(8, 8, 3))._repr_png_()))
    scale = shown.shape[0] // 8
    np.testing.assert_array_equal(shown[::scale, ::scale], pixels[0])


def test_of_many_samples_a_sheet_is_shown():
    spec = SPECS["grey"]
    many = Sampled.of(np.zeros((100_000, 8, 8, 1), np.uint8), spec)
    assert opened(many._repr_png_()).height < 3000


def test_what_holds_no_images_any_more_is_shown_as_numbers():
    images = Sampled.of(np.zeros((3, 8, 8, 3), np.uint8), ImageSpec(8, 8, 3))
    others = [images[0, 0], images[..., :2], images.astype(np.float32), images[:0], images[0, 0, 0]]
    for other in others:
        assert getattr(other, "_repr_png_", lambda: None)() is None


def test_arithmetic_gives_plain_arrays_and_numbers():
    images = Sampled.of(np.arange(48, dtype=np.uint8).reshape(1, 4, 4, 3), ImageSpec(4, 4, 3))
    plain = np.asarray(images)
    for result, wanted in (
        (images + 1, plain + 1),
        (images / 255, plain / 255),
        (images == images, plain == plain),
        (np.sqrt(images), np.sqrt(plain)),
        (images.mean(axis=0), plain.mean(axis=0)),
    ):
        assert type(result) is np.ndarray
        np.testing.assert_array_equal(result, wanted)
    for number in (images.mean(), images.sum(), images.max(), np.mean(images)):
        assert not isinstance(number, np.ndarray)
    assert isinstance(images[0, 0, 0, 0], np.uint8)
    images[0, 0, 0, 0] = 9
    assert images[0, 0, 0, 0] == 9
    images += 1
    assert images[0, 0, 0, 0] == 10
    assert images.spec is not None
    assert np.concatenate([images, images]).shape == (2, 4, 4, 3)
    assert torch.from_numpy(images).shape == (1, 4, 4, 3)
    assert Image.fromarray(images[0]).size == (4, 4)


def test_copies_pickles_and_files_hold_the_same_values(tmp_path):
    images = Sampled.of(np.arange(48, dtype=np.uint8).reshape(1, 4, 4, 3), ImageSpec(4, 4, 3))
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        content = pickle.dumps(images, protocol)
        assert b"loang" not in content  # it opens where there is no loang
        np.testing.assert_array_equal(pickle.loads(content), images)
    for same in (images.copy(), copy.copy(images), copy.deepcopy(images)):
        np.testing.assert_array_equal(same, images)
        assert not np.shares_memory(same, images)
    np.save(tmp_path / "x.npy", images, allow_pickle=False)
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), images)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_a_level_of_a_walk_shows_the_images_above_what_is_seen_in_them(channels):
    x0 = torch.rand(3, channels, 6, 6) * 2 - 1
    shown = opened(State(80.0, x0 + 80 * torch.randn(x0.shape), x0)._repr_png_())
    values = np.asarray(shown).astype(float)
    half = values.shape[0] // 2
    assert 20 < values[:half].std() < 110  # noise of any size is shown, and not cut to two values
    one = opened(State(1.0, x0[:1], x0[:1])._repr_png_())
    scale = one.width // (6 * (2 if channels == 2 else 1))
    pixels = np.asarray(one)[::scale, ::scale].astype(float)
    above, below = pixels[:6], pixels[-6:]
    np.testing.assert_array_equal(above, below)
    assert len(State(0.0, x0, x0)) == 3  # it is a tuple still


def test_many_images_of_a_level_are_cut_to_a_row():
    x = torch.zeros(1000, 1, 8, 8)
    assert opened(State(1.0, x, x)._repr_png_()).width < 3000


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_a_model_shows_samples_and_what_it_is(spec):
    model = model_of(spec)
    page = model._repr_html_()
    content = base64.b64decode(re.search(r"base64,([^\"]+)", page)[1])
    assert opened(content).width > spec.width
    assert "by ddim, 4 steps" in page
    assert spec.described in page


def test_a_slow_model_is_left_where_it_is():
    page = glance.page(model_of(SPECS["grey"], "sampling.steps=9"), seconds=0.0)
    assert "what it sees after 1 of 9 steps" in page
    assert "base64," in page


def test_a_model_that_can_not_draw_says_so():
    model = model_of(SPECS["grey"])
    with torch.no_grad():
        for parameter in model.denoiser.parameters():
            parameter.fill_(float("nan"))
    page = model._repr_html_()
    assert "not all numbers" in page
    assert "base64," not in page


class Shell:
    """What IPython has in the kernel of a notebook."""

    def __init__(self):
        self.outputs = []
        self.kernel = object()

    def install(self, monkeypatch):
        package = types.ModuleType("IPython")
        package.get_ipython = lambda: self
        shows = types.ModuleType("IPython.display")
        shows.HTML = str

        def display(page, display_id):
            assert display_id is True
            self.outputs.append([page])
            output = self.outputs[-1]
            return types.SimpleNamespace(update=output.append)

        shows.display = display
        package.display = shows
        monkeypatch.setitem(sys.modules, "IPython", package)
        monkeypatch.setitem(sys.modules, "IPython.display", shows)


def test_training_shows_one_bar_that_moves(monkeypatch):
    shell = Shell()
    shell.install(monkeypatch)
    assert in_notebook()
    display = of_python()
    assert isinstance(display, NotebookDisplay)
    with display:
        display.say("a <b> that stays")
        for share in (0.25, 0.5, 1.0):
            display.measure(Measurement(share, 0.125, 100.0, 60.0, 10**9))
    (pages,) = shell.outputs
    values = [float(re.search(r'value="([\d.]+)"', page)[1]) for page in pages]
    assert values == sorted(values)
    assert values[-1] == 1
    assert "a &lt;b&gt; that stays" in pages[-1]
    assert "loss 0.1250" in pages[-1]


def test_a_whole_training_is_shown_in_a_notebook(monkeypatch, tmp_path):
    import loang

    shell = Shell()
    shell.install(monkeypatch)
    monkeypatch.setenv("LOANG_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", rng.integers(0, 256, (60, 8, 8), np.uint8))
    tiny = ("network.width=8", "network.multipliers=1,1", "network.heads=1", "training.batch=8")
    changes = [*tiny, "training.reports=1", "sampling.steps=2"]
    loang.train(tmp_path / "x.npy", out=tmp_path / "run", budget="64 images", changes=changes)
    (pages,) = shell.outputs
    assert 'value="1.0000"' in pages[-1]


def test_elsewhere_nothing_is_shown(monkeypatch):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert not in_notebook()
    assert type(of_python()) is Display
    shell = Shell()
    shell.install(monkeypatch)
    shell.kernel = None  # IPython in a terminal
    assert not in_notebook()


def test_in_ipython_itself_all_of_them_are_shown_as_pictures():
    formatters = pytest.importorskip("IPython.core.formatters")
    shows = formatters.DisplayFormatter()
    shows.active_types = list(shows.format_types)
    model = model_of(SPECS["grey"])
    images, state = model.sample(2), next(model.walk(range(2)))
    for each, kind in ((images, "image/png"), (state, "image/png"), (model, "text/html")):
        assert kind in shows.format(each)[0]


def test_samplers_know_nothing_of_pictures():
    code = (
        "import sys, loang.samplers, loang.sampled;"
        "print([n for n in ('PIL', 'loang.pictures', 'IPython') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_module_of_displays_needs_no_ipython():
    assert "IPython" not in vars(notebook_display)
