"""A program of torch.export: the same function, in a file that needs no loang."""

import errno
import json
import os
import subprocess
import sys
import zipfile

import pytest
import torch

from in_steps import IN_STEPS
from loang import build, cli, files, presets
from loang.config import changed
from loang.data.spec import ImageSpec
from loang.errors import LoangError
from loang.interop import torch_program
from loang.interop.bare_network import BareNetwork, difference
from loang.interop.departure import destination, place_of, put_script
from loang.model import Model

CLASSES = ("boot", "bag")
SMALL = ("network.width=8", "network.heads=1")
MODELS = {
    "padded, labels": (
        ImageSpec(28, 28, 1, class_names=CLASSES),
        (*SMALL, "network.multipliers=1,1,1,1", "network.fold=1"),
    ),
    "folded, learnt variance": (
        ImageSpec(32, 32, 3),
        (*SMALL, *IN_STEPS, "network.fold=4", "denoiser.learn_variance=true"),
    ),
    "tutorial": (ImageSpec(24, 40, 1), (*IN_STEPS, "network.width=8")),
    "self-conditioned": (
        ImageSpec(17, 33, 2, class_names=CLASSES),
        (*SMALL, "network.self_conditioning=true"),
    ),
}
SIMPLE = "self-conditioned"


def model_of(name):
    spec, changes = MODELS[name]
    preset = presets.tutorial() if name == "tutorial" else presets.quick()
    settings = changed(preset, changes)
    denoiser = build.build_denoiser(settings, spec)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():  # a fresh network answers 0 everywhere
        for parameter in denoiser.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return Model(denoiser.eval(), spec, settings)


def answers_of(model, program, count, bound=1e-4):
    """The network's own, and the program's, on random inputs."""
    generator = torch.Generator().manual_seed(count)
    x = torch.randn(count, *model.spec.shape, generator=generator)
    condition = 1000 * torch.rand(count, generator=generator)
    label = torch.arange(count) % len(CLASSES) if model.knows_labels else None
    given = torch.rand(x.shape, generator=generator) if model.denoiser.self_conditioned else None
    told = {} if given is None else {"given": given}
    with torch.no_grad():
        wanted = model.denoiser.network(x, condition, label, **told)
        inputs = [each for each in (x, condition, label, given) if each is not None]
        answers = program(*inputs)
    if model.denoiser.learns_variance:
        wanted, variance = wanted.chunk(2, dim=1)
        variance = (variance + 1) / 2
        assert (answers[1] - variance).abs().max() < bound * variance.abs().max()
    return answers[0], wanted


@pytest.fixture(scope="module")
def simple(tmp_path_factory):
    """A model, what was exported of it, and that loaded; both take seconds."""
    model = model_of(SIMPLE)
    made = torch_program.export(model, tmp_path_factory.mktemp("simple") / "model.pt2")
    return model, made, torch.export.load(made.path)


def check(model, made, program):
    program = program.module()
    for count in (1, 16):
        answer, wanted = answers_of(model, program, count)
        assert (answer - wanted).abs().max() < 1e-4 * wanted.abs().max()
    assert made.difference < 1e-4


def test_the_program_answers_as_the_model_does(simple):
    check(*simple)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in MODELS if name != SIMPLE])
def test_so_do_programs_of_other_networks_and_sizes(name, tmp_path):
    model = model_of(name)
    made = torch_program.export(model, tmp_path / "model.pt2")
    check(model, made, torch.export.load(made.path))


def test_it_is_one_file_that_tells_nothing_of_this_machine(simple):
    _, made, _ = simple
    assert [path.name for path in made.path.parent.iterdir()] == ["model.pt2"]
    with zipfile.ZipFile(made.path) as archive:
        assert all(b".py" not in archive.read(part) for part in archive.namelist())


def test_it_runs_without_loang_and_says_what_it_is(simple, tmp_path):
    model, made, _ = simple
    inputs = BareNetwork(model.denoiser).trial(model, 5)
    torch.save(list(inputs), tmp_path / "inputs.pt")
    code = (
        "import sys, torch; sys.modules['loang'] = None;"
        "extra = {'loang.json': ''};"
        "program = torch.export.load(sys.argv[1], extra_files=extra).module();"
        "torch.save(program(*torch.load('inputs.pt'))[0], 'answer.pt'); print(extra['loang.json'])"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, str(made.path)],
        cwd=tmp_path,
        check=True,
        env={**os.environ, "PYTHONPATH": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    about = json.loads(told.stdout)
    assert about["precision"] == "float32"
    assert about["network"]["inputs"] == ["x", "condition", "label", "given"]
    assert ImageSpec.from_dict(about["images"]) == model.spec
    with torch.no_grad():
        wanted = BareNetwork(model.denoiser)(*inputs)[0]
    assert (torch.load(tmp_path / "answer.pt") - wanted).abs().max() < 1e-4 * wanted.abs().max()


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_in_float16_it_is_smaller_and_nearly_the_same(name, tmp_path):
    model = model_of(name)
    made = torch_program.export(model, tmp_path / "half.pt2", precision="float16")
    assert 1e-6 < made.difference < 1e-2
    program = torch.export.load(made.path)
    sizes = [weight.nbytes for weight in program.state_dict.values()]
    whole = [weight.nbytes for weight in model.denoiser.network.state_dict().values()]
    assert sum(sizes) < 0.6 * sum(whole)
    answer, wanted = answers_of(model, program.module(), 16, 1e-2)
    assert (answer - wanted).abs().max() < 1e-2 * wanted.abs().max()


def test_a_program_that_answers_otherwise_is_not_written(simple, tmp_path, monkeypatch):
    model = model_of(SIMPLE)
    with torch.no_grad():
        model.denoiser.network.first.weight *= 1.01
    monkeypatch.setattr(torch_program, "_program", lambda *asked: simple[2])
    with pytest.raises(LoangError, match="nothing was written"):
        torch_program.export(model, tmp_path / "model.pt2")
    assert not any(tmp_path.iterdir())


def test_the_difference_that_is_told_is_the_largest_of_all_answers():
    model = model_of(SIMPLE)
    network = BareNetwork(model.denoiser)

    def off(by):
        def answer(inputs):
            (image,) = network(*inputs)
            image = image.clone()
            image[-1, -1, -1, -1] += by
            return (image,)

        return difference(answer, network, model)

    largest = max(network(*network.trial(model, n))[0].abs().max().item() for n in (1, 3))
    assert off(0.0) == 0
    assert off(0.5) == pytest.approx(0.5 / largest, rel=1e-4)
    assert off(float("nan")) == float("inf")


def test_the_command_says_how_it_is_used(simple, tmp_path, monkeypatch, capsys):
    place = tmp_path / "small.safetensors"
    simple[0].save(place)
    # The same, and made already.
    monkeypatch.setattr(torch_program, "_program", lambda *asked: simple[2])
    monkeypatch.setattr(sys, "argv", ["loang", "export", "torch", str(place)])
    with pytest.raises(SystemExit) as left:
        cli.main()
    said = capsys.readouterr().out
    assert not left.value.code
    assert f"torch.export.load('{tmp_path / 'small.pt2'}').module()(x, condition, label" in said
    assert "17x33" in said
    assert (tmp_path / "small.pt2").is_file()


def test_a_full_disk_is_told_and_nothing_is_left(simple, tmp_path, monkeypatch):
    def full(handle, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch_program, "_program", lambda *asked: simple[2])
    monkeypatch.setattr(files.os, "write", full)
    with pytest.raises(LoangError, match="No space left"):
        torch_program.export(simple[0], tmp_path / "model.pt2")
    assert not any(tmp_path.iterdir())


def test_mistakes_are_told(tmp_path):
    model = model_of(SIMPLE)
    with pytest.raises(LoangError, match=r"\.pt2"):
        torch_program.export(model, tmp_path / "model.bin")
    with pytest.raises(LoangError, match="float32 or float16"):
        torch_program.export(model, tmp_path / "model.pt2", precision="bfloat16")
    (tmp_path / "file").write_text("")
    with pytest.raises(LoangError, match="can't be a folder"):
        torch_program.export(model, tmp_path / "file" / "model.pt2")


def test_a_file_lies_beside_its_model(tmp_path):
    (tmp_path / "a.b.safetensors").write_text("")
    assert place_of(tmp_path, ".onnx") == tmp_path / "model.onnx"
    assert place_of(tmp_path / "a.b.safetensors", ".onnx") == tmp_path / "a.b.onnx"
    assert str(place_of(tmp_path.relative_to(tmp_path) / "built-in", ".pt2")) == "built-in.pt2"


def test_no_file_takes_the_place_of_its_own_model(tmp_path):
    model = tmp_path / "model.safetensors"
    model.write_text("")
    (tmp_path / "named.onnx").write_text("")
    for named, out in ((model, model), (tmp_path, model), (tmp_path / "named.onnx", None)):
        with pytest.raises(LoangError, match="is the model itself"):
            destination(named, out, ".onnx")
    assert destination(model, None, ".onnx") == tmp_path / "model.onnx"
    assert destination(tmp_path, tmp_path / "named.onnx", ".onnx") == tmp_path / "named.onnx"


@pytest.mark.parametrize("tool", ["onnx", "keras", "torch"])
def test_every_command_leaves_its_model_alone(tool, tmp_path, monkeypatch, capsys):
    place = tmp_path / f"model.{'pt2' if tool == 'torch' else tool}"
    place.write_bytes(b"weights")
    arguments = ["loang", "export", tool, str(place), "--out", str(place)]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code
    assert "is the model itself" in capsys.readouterr().err
    assert place.read_bytes() == b"weights"


def test_a_script_of_a_persons_own_is_left_to_them(tmp_path):
    script = tmp_path / "new" / "script.py"
    assert put_script(script, "loang's") == put_script(script, "loang's") == script
    script.write_text("mine")
    assert put_script(script, "loang's") is None
    assert script.read_text() == "mine"
