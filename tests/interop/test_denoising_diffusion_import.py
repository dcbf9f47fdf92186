"""Models of denoising-diffusion-pytorch: the same function, the same images, and nothing run.

The fixtures are the library's own (scripts/make_peer_fixtures.py).
"""

import functools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from loang.cli.app import app
from loang.config import SamplingSettings
from loang.errors import LoangError
from loang.interop.denoising_diffusion import read
from loang.model import Model

FIXTURES = Path(__file__).parents[1] / "fixtures" / "denoising_diffusion"
TRAINED = FIXTURES / "model-1.pt"
SHOWN, LEARNED = FIXTURES / "shown.safetensors", FIXTURES / "learned.safetensors"
CASES = {
    "trained": (TRAINED, {}),
    "raw": (TRAINED, {"raw": True}),
    "shown": (SHOWN, {"period": 500.0}),
    "learned": (LEARNED, {}),
}


@pytest.fixture(scope="module")
def answers():
    with np.load(FIXTURES / "answers.npz", allow_pickle=False) as content:
        return {name: torch.from_numpy(content[name]) for name in content.files}


@functools.cache
def brought(case, size=(8, 12)):
    path, options = CASES[case]
    return read(path, size, **options)


def difference(model, answers, case):
    """Of the network's answers from the library's, relative to the largest of these."""
    network, schedule = model.denoiser.network.eval(), model.denoiser.schedule
    told = {"given": answers[f"{case}/given"]} if f"{case}/given" in answers else {}
    with torch.no_grad():
        y = network(answers[f"{case}/x"], schedule.condition(answers[f"{case}/t"] + 1), **told)
    expected = answers[f"{case}/y"]
    return ((y - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize("case", CASES)
def test_the_network_answers_as_the_librarys(answers, case):
    assert difference(brought(case), answers, case) < 1e-5


def test_the_average_is_not_the_raw_weights_nor_one_period_another(answers):
    assert difference(brought("raw"), answers, "trained") > 1e-3
    assert difference(read(SHOWN, (8, 12)), answers, "shown") > 1e-3


def test_ten_steps_of_ddim_draw_the_librarys_images(answers):
    model = brought("trained", (8, 8))
    sampling = SamplingSettings(sampler="ddim", steps=10)
    walk = model.walk(
        [0, 1], start=answers["trained/noise"], sampling=sampling, precision="float32"
    )
    images = list(model.frames(walk))[-1][..., 0].astype(float)
    expected = np.rint(255 * answers["trained/images"][:, 0].numpy())
    assert expected.std() > 20
    assert abs(images - expected).max() <= 1


def test_what_the_file_does_not_say_in_words_is_found():
    for case, schedule, predicts, learnt, conditioned in (
        ("trained", "sigmoid", "v", False, False),
        ("shown", "linear", "eps", False, True),
        ("learned", "cosine", "x0", True, False),
    ):
        model = brought(case)
        settings = model.settings
        assert (settings.schedule.kind, settings.schedule.steps) == (schedule, 100)
        assert settings.denoiser.predicts == predicts
        assert model.denoiser.learns_variance is learnt
        assert model.denoiser.self_conditioned is conditioned
    network = brought("shown").settings.network
    assert (network.width, network.first_width, network.multipliers) == (4, 6, (1, 2))
    assert (network.heads, network.head_width, network.full_attention) == (2, 2, (0,))
    facts = brought("trained").facts
    assert "denoising-diffusion-pytorch 2.2.5" in facts["data"]
    assert (facts["steps"], facts["weights"]) == (0, "averaged")


def test_the_same_weights_as_safetensors_and_beside_an_optimizers_moments(tmp_path):
    content = torch.load(TRAINED, weights_only=True)
    flat = {
        f"{part}.{name}": value
        for part in ("model", "ema")
        for name, value in content[part].items()
    }
    save_file({name: value.clone() for name, value in flat.items()}, tmp_path / "m.safetensors")
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.Adam([parameter])
    parameter.sum().backward()
    optimizer.step()
    torch.save({**content, "opt": optimizer.state_dict(), "scaler": {}}, tmp_path / "m.pt")
    one = brought("trained").denoiser.network.state_dict()
    for name in ("m.safetensors", "m.pt"):
        other = read(tmp_path / name, (8, 8)).denoiser.network.state_dict()
        assert all(torch.equal(one[key], other[key]) for key in one)


def test_the_command_leaves_a_folder_that_is_sampled_from(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ["import", "denoising-diffusion", str(TRAINED), "--image-size", "8"]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0
    assert "loang sample runs/denoising-diffusion-model-1" in result.output
    model = Model.load("runs/denoising-diffusion-model-1", on="cpu")
    assert model.sample(2, sampling=SamplingSettings(steps=2)).shape == (2, 8, 8, 1)
    one, other = (m.denoiser.network.state_dict() for m in (model, brought("trained")))
    assert all(torch.equal(one[key], other[key]) for key in one)
    with pytest.raises(LoangError, match="something at runs/"):
        CliRunner().invoke(app, command, catch_exceptions=False)


def changed(tmp_path, change):
    """A file of `shown` after a change of its tensors."""
    weights = load_file(SHOWN)
    change(weights)
    save_file(weights, tmp_path / "changed.safetensors")
    return tmp_path / "changed.safetensors"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: w.pop("model.mid_attn.to_out.bias"), "lacks mid_attn.to_out.bias"),
        (lambda w: w.update({"model.more": torch.ones(1)}), "model.more, which it has not"),
        (lambda w: w.update(more=torch.ones(1)), "holds more, which no GaussianDiffusion"),
        (lambda w: w.update({"model.final_conv.bias": torch.ones(4)}), r"shape \(4,\)"),
        (lambda w: w["model.init_conv.bias"].fill_(torch.nan), "not all numbers"),
        (lambda w: w.update({"model.time_mlp.0.weights": torch.ones(8)}), "Fourier"),
        (lambda w: w.pop("model.mid_attn.mem_kv"), "before version 1.9"),
        (lambda w: w.update({"model.downs.0.0.block1.norm.weight": torch.ones(6)}), "norm_groups"),
        (lambda w: w.update(alphas_cumprod=w["alphas_cumprod"] ** 2), "schedule of its own"),
        (lambda w: w.update(loss_weight=w["loss_weight"] * 0.8), "weights of its own"),
        (lambda w: w.pop("betas"), "holds no GaussianDiffusion"),
    ],
)
def test_what_loang_can_not_say_is_named(tmp_path, change, words):
    with pytest.raises(LoangError, match=words):
        read(changed(tmp_path, change), (8, 12))


def test_raw_weights_that_are_not_there_are_asked_for(tmp_path):
    weights = load_file(SHOWN)
    save_file({f"ema_model.{k}": v for k, v in weights.items()}, tmp_path / "m.safetensors")
    assert read(tmp_path / "m.safetensors", (8, 12)).facts["weights"] == "averaged"
    with pytest.raises(LoangError, match="only averaged weights"):
        read(tmp_path / "m.safetensors", (8, 12), raw=True)


def test_the_settings_that_were_found_are_plain_ones():
    """What a model file holds as JSON describes the same network again."""
    settings = brought("shown").settings
    assert json.loads(json.dumps(settings.to_dict())) == settings.to_dict()
    assert settings.network.period == 500.0
