"""ONNX: the same function in onnxruntime, the same images by the sampler without torch."""

import hashlib
import json
import os
import runpy
import subprocess
import sys

import jaxtyping
import numpy as np
import pytest
import torch

from in_steps import IN_STEPS
from loang import build, cli, drawing, presets, samplers
from loang.config import changed
from loang.data.scaling import to_pixels
from loang.data.spec import ImageSpec
from loang.errors import LoangError
from loang.interop.bare_network import BareNetwork, difference
from loang.interop.onnx import export, graph
from loang.model import Model

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

GRAPHS = {}
CLASSES = ("boot", "bag", "coat")
SMALL = ("network.width=8", "network.heads=1", "network.multipliers=1,1")
DISCRETE = (*IN_STEPS, "sampling.steps=5")
MODELS = {
    # size, channels, classes, settings
    "labels, padded for three halvings": (
        ImageSpec(28, 28, 1, class_names=CLASSES),
        (*SMALL, "network.multipliers=1,1,1,1", "network.fold=1"),
    ),
    "folded, learnt variance, in steps": (
        ImageSpec(32, 32, 3),
        (*SMALL, *DISCRETE, "network.fold=4", "denoiser.learn_variance=true"),
    ),
    "tutorial": (
        ImageSpec(24, 40, 1),
        (*DISCRETE, "network.kind=tutorial", "network.width=8", "denoiser.predicts=eps"),
    ),
    "self-conditioned, labels, edm": (
        ImageSpec(17, 33, 2, "uint16", 0.0, 255.0, CLASSES),
        (
            *(*SMALL, "network.self_conditioning=true", "network.fold=2"),
            *("schedule.kind=edm", "denoiser.predicts=edm", "training.levels=log-normal"),
        ),
    ),
}
PLAIN = "plain"
OTHERS = {
    PLAIN: (ImageSpec(8, 6, 1, class_names=CLASSES), SMALL),
    "denoising-diffusion": (
        ImageSpec(9, 13, 3),
        ("network.kind=denoising-diffusion", "network.width=8", "network.multipliers=1,2"),
    ),
    "its relatives' options": (
        ImageSpec(8, 8, 3, class_names=CLASSES),
        (
            *(*SMALL, *DISCRETE, "network.downsample_padding=after", "network.cosine_first=true"),
            *("network.no_label=false", "training.label_dropout=0", "network.modulate=false"),
            *("schedule.counted_from=0", "schedule.told_in_thousands=true", "schedule.steps=50"),
        ),
    ),
}


@pytest.fixture(autouse=True)
def _sizes_may_be_tensors(monkeypatch):
    """As they are while a network is traced, which is no case for the checks of signatures."""
    traced = graph._traced

    def unchecked(*arguments):
        jaxtyping.config.update("jaxtyping_disable", True)
        try:
            return traced(*arguments)
        finally:
            jaxtyping.config.update("jaxtyping_disable", False)

    monkeypatch.setattr(graph, "_traced", unchecked)


@pytest.fixture(autouse=True)
def _written_once(monkeypatch):
    """Of the same weights in the same network the same graph: it takes a second to be made."""

    def remembered(network, inputs, opset, exporter=None):
        digest = hashlib.sha256(repr((network, inputs[0].shape, opset, exporter)).encode())
        for weight in network.state_dict().values():
            digest.update(weight.numpy().tobytes())
        key = digest.digest()
        if key not in GRAPHS:
            GRAPHS[key] = graph.graph(network, inputs, opset, exporter).SerializeToString()
        return onnx.load_model_from_string(GRAPHS[key])

    monkeypatch.setattr(export, "graph", remembered)


def model_of(spec, changes):
    settings = presets.quick()
    kind = [change for change in changes if change.startswith("network.kind=")]
    if kind:  # with its own settings, not those of the preset's
        plain = {"network": {"kind": kind[0].partition("=")[2]}}
        settings = type(settings)(**{**settings.to_dict(), **plain})
    settings = changed(settings, [change for change in changes if change not in kind])
    denoiser = build.build_denoiser(settings, spec)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():  # a fresh network answers 0 everywhere
        for parameter in denoiser.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return Model(denoiser.eval(), spec, settings)


def inputs_of(model, names, count):
    generator = torch.Generator().manual_seed(count)
    condition = 1000 * torch.rand(count, generator=generator)
    every = {
        "x": torch.randn(count, *model.spec.shape, generator=generator),
        "condition": condition,
        "label": torch.arange(count) % len(CLASSES),
        "given": torch.rand(count, *model.spec.shape, generator=generator),
    }
    return {name: every[name] for name in names}


def apart(answer, wanted):
    return float(abs(answer - wanted).max() / abs(wanted).max())


def session_of(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def compare(model, path, bound):
    session = session_of(path)
    names = [each.name for each in session.get_inputs()]
    assert all(each.shape[0] == "n" for each in (*session.get_inputs(), *session.get_outputs()))
    network = model.denoiser.network
    for count in (1, 16):
        inputs = inputs_of(model, names, count)
        with torch.no_grad():
            told = {"given": inputs["given"]} if "given" in inputs else {}
            wanted = network(inputs["x"], inputs["condition"], inputs.get("label"), **told)
        answers = session.run(None, {name: each.numpy() for name, each in inputs.items()})
        assert apart(answers[0], wanted.numpy()[:, : model.spec.channels]) < bound
        if model.denoiser.learns_variance:
            variance = (wanted.numpy()[:, model.spec.channels :] + 1) / 2
            assert apart(answers[1], variance) < bound


@pytest.mark.parametrize("name", [*MODELS, *OTHERS])
def test_onnxruntime_answers_as_torch_does(name, tmp_path):
    model = model_of(*(MODELS | OTHERS)[name])
    made = export.export(model, tmp_path / "model.onnx")
    compare(model, made.path, 1e-4)
    assert made.difference < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", [*MODELS, *OTHERS])
def test_so_it_does_by_the_exporter_that_will_outlive_the_other(name, tmp_path):
    pytest.importorskip("onnxscript")
    model = model_of(*(MODELS | OTHERS)[name])
    made = export.export(model, tmp_path / "model.onnx", exporter="dynamo")
    compare(model, made.path, 1e-4)
    assert [path.name for path in tmp_path.iterdir() if path != made.script] == ["model.onnx"]
    assert b".py" not in made.path.read_bytes()  # no place in this machine


@pytest.mark.parametrize(
    "name",
    [
        PLAIN,
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("denoising-diffusion", *MODELS)),
    ],
)
def test_in_float16_it_is_half_the_size_and_nearly_the_same(name, tmp_path):
    model = model_of(*(MODELS | OTHERS)[name])
    made = export.export(model, tmp_path / "half.onnx", precision="float16")
    compare(model, made.path, 1e-2)
    assert 1e-6 < made.half_difference < 1e-2
    held = {
        weight.name: weight.data_type
        for weight in onnx.load(made.path).graph.initializer
        if weight.name.endswith("weight") and len(weight.dims) == 4
    }
    assert held
    assert set(held.values()) == {onnx.TensorProto.FLOAT16}


def sampled(path, folder, monkeypatch, *options):
    """What the sampler beside a file draws, run as a script."""
    out = folder / "drawn.npy"
    monkeypatch.setattr(sys, "argv", ["sample", str(path), "--out", str(out), *map(str, options)])
    runpy.run_path(str(path.parent / export.SCRIPT), run_name="__main__")
    return np.load(out)


WALKS = {
    "guided within an interval, rescaled": (
        PLAIN,
        (
            *("sampling.guidance=3", "sampling.guidance_interval=0.2,5", "sampling.steps=8"),
            "sampling.guidance_rescale=0.7",
        ),
    ),
    "in steps": ("folded, learnt variance, in steps", ()),
    "its own levels": ("tutorial", ("sampling.levels=1000,700,300,20",)),
    "shown its estimates, guided, edm": (
        "self-conditioned, labels, edm",
        ("sampling.guidance=2", "sampling.guidance_interval=null"),
    ),
    "not clipped, zero terminal SNR": (
        "folded, learnt variance, in steps",
        ("denoiser.clip=false", "schedule.zero_terminal_snr=true"),
    ),
    "edm's mixture in steps": (
        "folded, learnt variance, in steps",
        ("denoiser.predicts=edm", "sampling.spacing=karras"),
    ),
}


@pytest.mark.parametrize("walk", WALKS)
def test_the_sampler_that_needs_no_torch_draws_the_same_images(walk, tmp_path, monkeypatch):
    name, further = WALKS[walk]
    spec, changes = (MODELS | OTHERS)[name]
    model = model_of(spec, (*changes, *further))
    made = export.export(model, tmp_path / "model.onnx")
    noise = torch.randn(4, *spec.shape, generator=torch.Generator().manual_seed(1))
    np.save(tmp_path / "noise.npy", noise.numpy())
    images = sampled(made.path, tmp_path, monkeypatch, "--noise", tmp_path / "noise.npy")
    *_, last = model.walk(
        range(4),
        sampling=drawing.sampling(model, sampler="ddim"),
        start=noise * model.denoiser.schedule.start,
        precision="float32",
    )
    wanted = to_pixels(last.x, spec)
    assert images.shape == wanted.shape
    assert images.dtype == wanted.dtype
    assert abs(images.astype(float) - wanted.astype(float)).max() <= 1
    assert images.std() > 1  # of 255: not all one colour


def test_a_model_that_leaps_to_the_image_is_given_new_noise(tmp_path, monkeypatch):
    spec, changes = OTHERS[PLAIN]
    walk = ("sampling.sampler=consistency", "sampling.steps=3", "sampling.guidance=1")
    model = model_of(spec, (*changes, *walk))
    training = model.settings.training.model_copy(update={"objective": "consistency"})
    distillation = model.settings.distillation.model_copy(update={"method": "consistency"})
    found = {"training": training, "distillation": distillation}
    model.settings = model.settings.model_copy(update=found)
    made = export.export(model, tmp_path / "model.onnx")
    images = sampled(made.path, tmp_path, monkeypatch, "-n", 2, "--seed", 7, "--label", 1)

    normal = np.random.default_rng(7).standard_normal
    drawn = [torch.from_numpy(normal((2, *spec.shape)).astype(np.float32)) for _ in range(4)]
    levels = model.denoiser.schedule.levels(3)
    with torch.no_grad():
        *_, last = samplers.named("consistency")(
            model.denoiser, drawn[0], levels, lambda step: drawn[step + 1], torch.tensor([1, 1])
        )
    assert abs(images.astype(int) - to_pixels(last.x, spec).astype(int)).max() <= 1


def test_the_sampler_needs_no_torch_and_draws_a_picture(tmp_path):
    made = export.export(model_of(*OTHERS[PLAIN]), tmp_path / "model.onnx")
    code = (
        "import sys, runpy; sys.modules['torch'] = sys.modules['loang'] = None;"
        "sys.argv = ['sample', 'model.onnx', '-n', '3'];"
        f"runpy.run_path({export.SCRIPT!r}, run_name='__main__')"
    )
    environment = {**os.environ, "PYTHONPATH": "", "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, env=environment)
    assert np.load(tmp_path / "samples.npy").shape == (3, 8, 6, 1)
    assert (tmp_path / "samples.png").stat().st_size > 100
    assert made.script == tmp_path / export.SCRIPT


def test_the_command_says_what_it_wrote(tmp_path, monkeypatch, capsys):
    place = tmp_path / "small.safetensors"
    model_of(*OTHERS[PLAIN]).save(place)
    arguments = ["loang", "export", "onnx", str(place), "--precision", "float16"]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as left:
        cli.main()
    said = capsys.readouterr().out
    assert not left.value.code
    assert "opset 18, float16" in said
    assert "8x6" in said
    assert str(tmp_path / "small.onnx") in said
    assert export.SCRIPT in said
    assert (tmp_path / "small.onnx").is_file()


def test_the_file_says_what_it_is(tmp_path):
    model = model_of(*MODELS["self-conditioned, labels, edm"])
    made = export.export(model, tmp_path / "model.onnx", opset=18)
    file = onnx.load(made.path)
    about = json.loads({each.key: each.value for each in file.metadata_props}["loang"])
    assert file.opset_import[0].version == about["opset"] == made.opset == 18
    assert about["settings"] == json.loads(json.dumps(model.settings.to_dict()))
    assert ImageSpec.from_dict(about["images"]) == model.spec
    assert about["network"]["inputs"] == ["x", "condition", "label", "given"]
    assert [level["t"] for level in about["walk"]["levels"]] == pytest.approx(
        model.denoiser.schedule.levels(model.settings.sampling.steps)
    )
    assert "opset 18" in made.sentences()[0]


def test_it_is_one_file_and_leaves_the_model_as_it_was(tmp_path):
    model = model_of(*OTHERS[PLAIN])
    before = {name: weight.clone() for name, weight in model.denoiser.state_dict().items()}
    made = export.export(model, tmp_path / "new" / "model.onnx", precision="float16")
    assert sorted(path.name for path in made.path.parent.iterdir()) == [
        "model.onnx",
        export.SCRIPT,
    ]
    assert all(torch.equal(before[name], w) for name, w in model.denoiser.state_dict().items())
    assert b".py" not in made.path.read_bytes()  # no place in this machine


def test_a_sampler_that_a_person_has_changed_is_left_to_them(tmp_path):
    (tmp_path / export.SCRIPT).write_text("mine")
    made = export.export(model_of(*OTHERS[PLAIN]), tmp_path / "model.onnx")
    assert made.script is None
    assert (tmp_path / export.SCRIPT).read_text() == "mine"
    assert any("left as it is" in line for line in made.sentences())


def test_values_beyond_float16_are_told_and_nothing_is_written(tmp_path):
    model = model_of(*OTHERS[PLAIN])
    with torch.no_grad():
        model.denoiser.network.first.weight *= 1e6  # a norm follows: float32 does not mind
    with pytest.raises(LoangError, match=r"float16.*65,504.*float32"):
        export.export(model, tmp_path / "model.onnx", precision="float16")
    assert not any(tmp_path.iterdir())
    inputs = inputs_of(model, ("x", "condition", "label"), 2)
    assert model.denoiser.network(*inputs.values()).isfinite().all()


def test_a_graph_that_answers_otherwise_is_not_written(tmp_path, monkeypatch):
    def wrong(*arguments):
        made = graph.graph(*arguments)
        weight = next(each for each in made.graph.initializer if each.name.endswith("first.weight"))
        weight.raw_data = bytes(bytearray(weight.raw_data)[::-1])
        return made

    monkeypatch.setattr(export, "graph", wrong)
    with pytest.raises(LoangError, match="onnxruntime"):
        export.export(model_of(*OTHERS[PLAIN]), tmp_path / "model.onnx")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("opset", [-1, 0, 9, 13, 10**6])
def test_an_opset_that_can_not_be_is_told(opset, tmp_path):
    with pytest.raises(LoangError, match=r"--opset \d+"):
        export.export(model_of(*OTHERS[PLAIN]), tmp_path / "model.onnx", opset=opset)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "opset",
    [14, pytest.param(20, marks=pytest.mark.slow), pytest.param(23, marks=pytest.mark.slow)],
)
def test_the_opset_may_be_older_or_newer(opset, tmp_path):
    if opset > graph.NEWEST_TRACED:
        pytest.importorskip("onnxscript")
    model = model_of(*OTHERS[PLAIN])
    made = export.export(model, tmp_path / "model.onnx", opset=opset)
    assert onnx.load(made.path).opset_import[0].version == opset
    compare(model, made.path, 1e-4)


def test_what_no_exporter_can_write_is_told_in_words(monkeypatch, capfd):
    model = model_of(*OTHERS[PLAIN])
    network = BareNetwork(model.denoiser)
    monkeypatch.setattr(graph, "OLDEST", 1)
    with pytest.raises(LoangError, match=r"opset 11.*scaled_dot_product_attention"):
        graph.graph(network, network.trial(model, 2), 11, "torchscript")
    captured = capfd.readouterr()
    assert not captured.out + captured.err  # not the graph that torch was at


@pytest.mark.slow
def test_where_the_one_exporter_fails_the_other_is_asked(tmp_path, monkeypatch):
    pytest.importorskip("onnxscript")

    def fails(*arguments):
        raise RuntimeError("dropped")

    monkeypatch.setattr(graph, "_traced", fails)
    model = model_of(*MODELS["tutorial"])
    network = BareNetwork(model.denoiser)
    made = graph.graph(network, network.trial(model, 2), graph.OPSET)
    assert difference(export.runtime(made.SerializeToString()), network, model) < 1e-4


def test_other_mistakes_are_told(tmp_path, monkeypatch):
    model = model_of(*OTHERS[PLAIN])
    with pytest.raises(LoangError, match="float32 or float16"):
        export.export(model, tmp_path / "model.onnx", precision="int8")
    (tmp_path / "file").write_text("")
    with pytest.raises(LoangError, match="can't be a folder"):
        export.export(model, tmp_path / "file" / "model.onnx")
    monkeypatch.setattr(graph, "LARGEST", 1000)
    network = BareNetwork(model.denoiser)
    with pytest.raises(LoangError, match="2 GB"):
        graph.graph(network, network.trial(model, 2), graph.OPSET)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(LoangError, match=r"loang\[onnx\]"):
        export.export(model, tmp_path / "model.onnx")
