"""What the article's own code saved: the same function, the same step, and every weight accounted.

The fixtures are that code's, its widths divided by 32 (scripts/make_keras_fixtures.py).
"""

import io
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from keras_reference import output_error, step_errors
from typer.testing import CliRunner

import keras_files
from loang.api.training import start
from loang.cli.app import app
from loang.data import open_dataset
from loang.data.scaling import to_model, to_pixels
from loang.errors import LoangError
from loang.interop.keras import dialects, read
from loang.interop.keras.bundle import Bundle
from loang.interop.keras.going_on import leave
from loang.interop.keras.names import article_weights, torch_name
from loang.model import Model
from loang.pictures import to_display

FILES = [
    *("keras2/checkpoints", "keras2/checkpoints/ckpt-7", "keras2/with-optimizer"),
    *("keras2/net.h5", "keras2/net.weights.h5"),
    *("keras3/checkpoints", "keras3/with-optimizer", "keras3/net.weights.h5", "keras3/net.keras"),
]
WITH_SLOTS = ["keras2/with-optimizer", "keras3/with-optimizer", "keras3/net.keras"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return keras_files.unpack(tmp_path_factory.mktemp("keras"))


@pytest.fixture(scope="module")
def references(files):
    found = {}
    for kind in ("keras2", "keras3"):
        with np.load(files / kind / "reference.npz") as content:
            found[kind] = {name: content[name] for name in content.files}
    return found


@pytest.mark.parametrize("name", FILES)
def test_the_network_computes_what_the_articles_code_computed(files, references, name):
    found = read(files / name)
    assert output_error(found, references[name.partition("/")[0]]) < 1e-4


@pytest.mark.parametrize("name", WITH_SLOTS)
def test_one_step_from_the_imported_slots_is_keras_s_step(files, references, name):
    found = read(files / name)
    assert found.moments.steps == 2
    share, most = step_errors(found, references[name.partition("/")[0]])
    assert share < 1e-3
    assert most < 1e-2  # of a learning rate: gradients of rounding alone are among them


def test_the_schedule_is_the_articles_to_the_last_trained_time(files, references):
    schedule = read(files / "keras2/net.h5").model.denoiser.schedule
    theirs = references["keras2"]["alpha_bar"]
    assert schedule.T == 499
    np.testing.assert_allclose(schedule.alpha_bar.numpy(), theirs[:500], rtol=1e-13)


def test_who_has_mended_the_times_and_the_range_says_so(files):
    model = read(files / "keras2/net.h5", times="paper", values="-1..1").model
    beta = torch.linspace(1e-4, 0.02, 500, dtype=torch.float64)
    torch.testing.assert_close(model.denoiser.schedule.alpha_bar[1:], (1 - beta).cumprod(0))
    assert (model.spec.low, model.spec.high) == (0, 255)
    assert model.settings.data.range == "auto"


def test_the_network_s_0_is_black_and_its_1_is_white(files):
    spec = read(files / "keras2/net.h5").model.spec
    x = torch.tensor([-1.0, -0.1, 0.0, 0.5, 1.0]).reshape(1, 1, 1, 5)
    assert to_pixels(x, spec).ravel().tolist() == [0, 0, 0, 128, 255]
    grey = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    seen = to_model(grey, spec)
    torch.testing.assert_close(seen.flatten(), torch.arange(256) / 255)
    np.testing.assert_array_equal(to_pixels(seen, spec), grey)
    np.testing.assert_array_equal(to_display(grey, spec.low, spec.high), grey)


def test_images_are_scaled_to_the_unit_range_where_that_is_asked_for(tmp_path):
    np.save(tmp_path / "images.npy", np.arange(20 * 16).reshape(20, 4, 4).astype(np.uint8))
    spec = open_dataset(tmp_path / "images.npy", range="unit").spec
    assert (spec.low, spec.high) == (-255, 255)
    np.save(tmp_path / "below.npy", np.linspace(-1, 1, 20 * 16, dtype="f4").reshape(20, 4, 4))
    with pytest.raises(LoangError, match="none below 0"):
        open_dataset(tmp_path / "below.npy", range="unit")


def test_formats_of_one_network_hold_the_same_weights(files):
    first, *others = (
        read(files / name).model.denoiser.network.state_dict()
        for name in FILES
        if name.startswith("keras2")
    )
    for other in others:
        assert all(torch.equal(first[name], other[name]) for name in first)


def test_the_newest_checkpoint_is_taken_or_the_one_that_is_named(stored, tmp_path):
    arrays = {name: value for name, value in stored.items() if name.startswith("net/")}
    arrays = {name: value for name, value in arrays.items() if "OPTIMIZER" not in name}
    name = "net/outc/bias/.ATTRIBUTES/VARIABLE_VALUE"
    for number in (9, 10):
        arrays[name] = np.full(1, number, np.float32)
        keras_files.write_bundle(tmp_path / f"ckpt-{number}", arrays)

    def bias(path):
        return read(path).model.denoiser.network.outc.bias.item()

    assert (bias(tmp_path), bias(tmp_path / "ckpt-9")) == (10, 9)
    assert bias(tmp_path / "ckpt-9.index") == 9
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "/elsewhere/ckpt-9"\n')
    assert bias(tmp_path) == 9


@pytest.fixture(scope="module")
def stored(files):
    """All that is in the checkpoint with an optimizer."""
    old = Bundle(files / "keras2/with-optimizer/ckpt-7")
    return {name: old.read(name) for name in old.shapes()}


def changed_checkpoint(stored, tmp_path, change):
    arrays = dict(stored)
    change(arrays)
    keras_files.write_bundle(tmp_path / "ckpt-1", arrays, shards=3)
    return tmp_path / "ckpt-1"


def without(name):
    return lambda arrays: arrays.pop(name)


def with_one(name, value):
    return lambda arrays: arrays.update({name: value})


END = "/.ATTRIBUTES/VARIABLE_VALUE"


def of_another_shape(arrays):
    for slot in ("", "/.OPTIMIZER_SLOT/opt/m", "/.OPTIMIZER_SLOT/opt/v"):
        arrays[f"net/outc/kernel{slot}{END}"] = np.ones((1, 1, 2, 3), np.float32)


ODD = {
    "missing": (without(f"net/sa1/ln/gamma{END}"), "sa1/ln/gamma is missing"),
    "one too many": (
        with_one(f"net/sa9/ln/gamma{END}", np.ones(4, np.float32)),
        "has net/sa9/ln/gamma",
    ),
    "another shape": (of_another_shape, r"net/outc/kernel.* is of the shape \(1, 1, 2, 3\)"),
    "no number": (
        with_one(f"net/outc/bias{END}", np.full(1, np.nan, np.float32)),
        "values that are no numbers",
    ),
    "whole numbers": (with_one(f"net/outc/bias{END}", np.ones(1, np.int32)), "no real numbers"),
    "a moment missing": (
        without(f"net/outc/bias/.OPTIMIZER_SLOT/opt/v{END}"),
        "optimizer's net/outc/bias/.OPTIMIZER_SLOT/opt/v",
    ),
    "a moment of another shape": (
        with_one(f"net/outc/bias/.OPTIMIZER_SLOT/opt/m{END}", np.ones(2, np.float32)),
        "of another shape",
    ),
    "a square below 0": (
        with_one(f"net/outc/bias/.OPTIMIZER_SLOT/opt/v{END}", -np.ones(1, np.float32)),
        "below 0",
    ),
    "no steps": (without(f"opt/iter{END}"), "how many steps"),
    "steps below 0": (with_one(f"opt/iter{END}", np.array(-1)), "-1 steps"),
    "two networks": (with_one(f"ema/outc/kernel{END}", np.ones(1, np.float32)), "several networks"),
    "no network": (lambda arrays: arrays.clear(), "no layer `outc`"),
}


@pytest.mark.parametrize("case", ODD)
def test_what_is_odd_in_a_checkpoint_is_named(stored, tmp_path, case):
    change, words = ODD[case]
    with pytest.raises(LoangError, match=words):
        read(changed_checkpoint(stored, tmp_path, change))


def counted(arrays):
    """As the optimizers of TensorFlow 2.11 to 2.15 are saved."""
    names = read_names(arrays)
    for number, name in enumerate(names):
        for at, slot in enumerate(("m", "v"), 1):
            moment = arrays.pop(f"{name}/.OPTIMIZER_SLOT/opt/{slot}{END}")
            arrays[f"opt/_variables/{2 * number + at}{END}"] = moment
    arrays[f"opt/_iterations{END}"] = arrays.pop(f"opt/iter{END}")
    arrays[f"opt/_learning_rate{END}"] = arrays.pop(f"opt/learning_rate{END}")
    for name in ("beta_1", "beta_2", "decay", "weight_decay"):
        del arrays[f"opt/{name}{END}"]


def read_names(arrays):
    layout = dialects.of_checkpoint({name: value.shape for name, value in arrays.items()})
    return [name.removesuffix(END) for name in layout.weights.values()]


def test_an_optimizer_that_is_counted_brings_the_same_moments(stored, files, tmp_path):
    slots = read(files / "keras2/with-optimizer").moments
    found = read(changed_checkpoint(stored, tmp_path, counted)).moments
    assert (found.steps, found.learning_rate, found.weight_decay) == (2, 1e-3, 1e-4)
    for mine, theirs in ((found.first, slots.first), (found.second, slots.second)):
        assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


def test_another_optimizer_is_left_aside_in_words(stored, tmp_path):
    def with_momentum(arrays):
        for name in list(arrays):
            if name.endswith(f"/m{END}"):
                arrays[name.replace("/m/", "/momentum/")] = arrays.pop(name)
            elif name.endswith(f"/v{END}"):
                del arrays[name]

    found = read(changed_checkpoint(stored, tmp_path, with_momentum))
    assert found.moments is None
    assert any("Only its weights are taken" in notice for notice in found.notices)


def test_a_checkpoint_in_several_files_is_one(stored, tmp_path, references):
    found = read(changed_checkpoint(stored, tmp_path, lambda arrays: None))
    assert output_error(found, references["keras2"]) < 1e-4


def test_a_bit_that_changed_is_found(files, tmp_path):
    shutil.copytree(files / "keras2/checkpoints", tmp_path / "c")
    path = tmp_path / "c/ckpt-7.data-00000-of-00001"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(LoangError, match="checksum is another"):
        read(tmp_path / "c")


def archive(files, members, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(files / "keras3/net.keras") as sound:
        content = {name: sound.read(name) for name in sound.namelist()} | members
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as target:
        for name, member in content.items():
            if member is not None:
                target.writestr(name, member)
    return made.getvalue()


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"model.weights.h5": None}, "no model.weights.h5"),
        ({"model.weights.h5": b"x" * 100}, "no HDF5"),
        ({"config.json": b"[" * 5000}, "nested deeper"),
        ({"config.json": b"[1]"}, "no object"),
    ],
)
def test_an_archive_without_what_it_needs_is_refused(files, tmp_path, members, words):
    (tmp_path / "x.keras").write_bytes(archive(files, members))
    with pytest.raises(LoangError, match=words):
        read(tmp_path / "x.keras")


def test_an_archive_that_would_fill_memory_is_refused(files, tmp_path):
    bomb = archive(files, {"model.weights.h5": bytes(10**8)}, zipfile.ZIP_DEFLATED)
    assert len(bomb) < 10**6
    (tmp_path / "x.keras").write_bytes(bomb)
    with pytest.raises(LoangError, match="which can't be"):
        read(tmp_path / "x.keras")


def compiled(files, tmp_path, **optimizer):
    """What is read of an archive whose optimizer was compiled so."""
    with zipfile.ZipFile(files / "keras3/net.keras") as sound:
        config = json.loads(sound.read("config.json"))
    config["class_name"] = "os.system"
    config["compile_config"]["optimizer"]["config"] |= optimizer
    (tmp_path / "x.keras").write_bytes(archive(files, {"config.json": json.dumps(config)}))
    return read(tmp_path / "x.keras")


@pytest.mark.parametrize(("said", "meant"), [(0.25, 0.25), (None, 0.0)])
def test_the_config_decides_the_weight_decay_and_nothing_else(files, tmp_path, said, meant):
    assert compiled(files, tmp_path, weight_decay=said).moments.weight_decay == meant


def test_of_a_model_whose_rate_followed_a_schedule_the_weights_are_brought(files, tmp_path):
    """A file may tell the rate as a number besides; then that is the rate."""
    schedule = {"class_name": "CosineDecay", "config": {"initial_learning_rate": 1e-3}}
    found = compiled(files, tmp_path, learning_rate=schedule)
    one, other = (m.denoiser.state_dict() for m in (found.model, read(tmp_path / "x.keras").model))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert found.moments is None or found.moments.learning_rate == 1e-3


def test_whose_images_it_learned_from_no_file_tells(files, tmp_path):
    """So they are not taken for Fashion-MNIST: not on a card, nor to go on with."""
    found = read(files / "keras3/net.keras")
    run = tmp_path / "run"
    leave(found, run)
    assert found.model.settings.data.source is None
    assert json.loads((run / "config.json").read_text())["images"]["height"] == 32
    with pytest.raises(LoangError, match="no images of its own"):
        start(out=run, resume=True)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("absent", None, "nothing at"),
        ("empty", b"", "neither"),
        ("x.h5", b"\x89HDF\r\n\x1a\n" + bytes(200), "."),
        ("x.pkl", b"cos\nsystem\n(S'x'\ntR.", "neither"),
    ],
)
def test_what_is_none_of_them_is_refused_in_words(tmp_path, name, content, words):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(LoangError, match=words):
        read(tmp_path / name)


def test_an_empty_folder_holds_no_checkpoint(tmp_path):
    with pytest.raises(LoangError, match="no checkpoint in this folder"):
        read(tmp_path)


@pytest.fixture
def images(tmp_path):
    """Thirty, beginning at 0, in place of the article's."""
    path = tmp_path / "images.npy"
    np.save(path, np.arange(30 * 32 * 32).reshape(30, 32, 32).astype(np.uint8))
    return path


def test_training_goes_on_where_the_articles_code_stopped(files, tmp_path, images):
    found = read(files / "keras2/with-optimizer")
    leave(found, tmp_path / "run")
    run = start(images, out=tmp_path / "run", resume=True, device="cpu")
    try:
        trainer = run.trainer
        assert any("Going on from step 2" in note for note in run.notes)
        assert trainer.progress.step == 2
        assert (run.plan.dataset.spec.low, run.plan.dataset.spec.high) == (-255, 255)
        names = [name for name, _ in trainer.denoiser.network.named_parameters()]
        for number, state in trainer.optimizer.state_dict()["state"].items():
            assert state["step"] == 2
            assert torch.equal(state["exp_avg"], found.moments.first[names[number]])
            assert torch.equal(state["exp_avg_sq"], found.moments.second[names[number]])
        theirs = found.model.denoiser.network.state_dict()
        assert all(torch.equal(trainer.ema.tensors[name], theirs[name]) for name in theirs)
        assert trainer.dtype is None  # no autocast: float32, as the article's
        (group,) = trainer.optimizer.param_groups
        assert (group["lr"], group["weight_decay"]) == (1e-3, 0.1)
    finally:
        run.lock.release()


@pytest.mark.parametrize(
    "option",
    [{"steps": 2}, {"steps": 10**6}, {"beta_end": 2.0}, {"budget": "soon"}, {"size": (10**6, 1)}],
)
def test_an_option_that_can_t_be_is_refused(files, option):
    with pytest.raises(LoangError):
        read(files / "keras2/net.h5", **option)


def test_the_command_brings_a_model_that_samples(files, tmp_path):
    done = CliRunner().invoke(
        app,
        ["import", "keras", str(files / "keras3/net.keras"), "--out", str(tmp_path / "run")],
    )
    assert done.exit_code == 0, done.output
    assert "2 steps" in done.output
    assert "loang train DATA --resume" in done.output
    model = Model.load(tmp_path / "run", on="cpu")
    assert model.settings.network.width == 2
    assert model.settings.sampling.steps == model.denoiser.schedule.T == 499
    sampling = model.settings.sampling.model_copy(update={"steps": 2})
    images = model.sample(2, sampling=sampling)
    assert images.shape == (2, 32, 32, 1)
    assert images.dtype == np.uint8


def test_the_command_takes_what_was_mended(files, tmp_path):
    options = ["--range", "-1..1", "--times", "paper", "--steps", "100", "--beta-end", "0.05"]
    options += ["--image-size", "16x24", "--budget", "3 epochs"]
    place = ["--out", str(tmp_path / "run")]
    done = CliRunner().invoke(
        app, ["import", "keras", str(files / "keras2/net.h5"), *options, *place]
    )
    assert done.exit_code == 0, done.output
    model = Model.load(tmp_path / "run", on="cpu")
    beta = torch.linspace(1e-4, 0.05, 100, dtype=torch.float64)
    torch.testing.assert_close(model.denoiser.schedule.alpha_bar[1:], (1 - beta).cumprod(0))
    assert (model.spec.height, model.spec.width, model.spec.low) == (16, 24, 0)
    assert model.settings.training.budget == "3 epochs"


def test_the_command_says_what_is_wrong(files, tmp_path):
    arguments = ["import", "keras", str(tmp_path / "nothing"), "--out", str(tmp_path / "run")]
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, LoangError | SystemExit)
    assert not Path(tmp_path / "run").exists()


def test_all_names_are_of_weights_that_torch_has(files):
    known = read(files / "keras2/net.h5").model.denoiser.network.state_dict()
    assert {torch_name(name) for name in article_weights()} == set(known)
