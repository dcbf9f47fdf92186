"""ONNX: the same function in onnxruntime, in one file, or an error in words."""

import json
import sys

import pytest
import torch
from onnx_models import (  # noqa: F401 (fixtures that every test takes)
    CLASSES,
    EVERY,
    MODELS,
    OTHERS,
    PLAIN,
    model_of,
    sizes_may_be_tensors,
    written_once,
)

from loang import cli
from loang.data.spec import ImageSpec
from loang.errors import LoangError
from loang.interop.bare_network import BareNetwork, difference
from loang.interop.onnx import export, graph

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


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
    model = model_of(*EVERY[name])
    made = export.export(model, tmp_path / "model.onnx")
    compare(model, made.path, 1e-4)
    assert made.difference < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", [*MODELS, *OTHERS])
def test_so_it_does_by_the_exporter_that_will_outlive_the_other(name, tmp_path):
    pytest.importorskip("onnxscript")
    model = model_of(*EVERY[name])
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
    model = model_of(*EVERY[name])
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
    assert model.settings.sampling.sampler != "ddim"
    assert [level["t"] for level in about["walk"]["levels"]] == pytest.approx(
        model.denoiser.schedule.levels(50)
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
    with pytest.raises(LoangError, match=r"--out .*model\.onnx"):
        export.export(model, tmp_path / "model.safetensors")
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
