"""Models of improved-diffusion and guided-diffusion: the same function, all weights accounted for.

`openai_unet.py` states their network anew.
"""

import functools
import math
from pathlib import Path

import pytest
import torch
from openai_unet import Published
from safetensors.torch import save_file
from typer.testing import CliRunner

from loang import build, process
from loang.cli.app import app
from loang.config import SamplingSettings
from loang.errors import LoangError
from loang.interop.guided_diffusion import Unseen, described, read, regrouped
from loang.model import Model

TINY = {
    "unconditional": (
        Published(32, (1, 2), 1, (1,), modulate=False),
        Unseen((8, 8)),
    ),
    "by class, told in thousands": (
        Published(32, (1, 1), 2, (1,), heads=2, classes=5),
        Unseen((8, 8), heads=2, steps=4000, schedule="cosine", in_thousands=True),
    ),
    "learnt variance, sizes within blocks, new order": (
        Published(
            *(32, (1, 2), 1, (0, 1)),
            head_width=16,
            new_order=True,
            resample_blocks=True,
            learn_sigma=True,
        ),
        Unseen((8, 8), head_width=16, new_order=True),
    ),
    "sizes within blocks, old order, grey": (
        Published(32, (2, 1), 1, (), resample_blocks=True, channels=1),
        Unseen((8, 8)),
    ),
}

RELEASED = {
    # name: flags, parameters; the README of each repository has the flags
    "improved, CIFAR-10": (Published(128, (1, 2, 2, 2), 3, (1, 2), learn_sigma=True), 52_546_438),
    "improved, ImageNet 64": (
        Published(128, (1, 2, 3, 4), 3, (2, 3), learn_sigma=True),
        121_063_942,
    ),
    "improved, ImageNet 64 by class": (
        Published(192, (1, 2, 3, 4), 3, (2, 3), learn_sigma=True, classes=1000),
        273_049_350,
    ),
    "improved, LSUN bedrooms": (
        Published(*(128, (1, 1, 2, 2, 4, 4), 2, (4,)), heads=1, modulate=False, learn_sigma=True),
        113_676_678,
    ),
    "guided, ImageNet 64": (
        Published(
            *(192, (1, 2, 3, 4), 3, (1, 2, 3)),
            head_width=64,
            new_order=True,
            resample_blocks=True,
            learn_sigma=True,
            classes=1000,
        ),
        295_904_454,
    ),
    "guided, ImageNet 128": (
        Published(
            *(256, (1, 1, 2, 3, 4), 2, (2, 3, 4)),
            resample_blocks=True,
            learn_sigma=True,
            classes=1000,
        ),
        421_529_606,
    ),
    "guided, ImageNet 256": (
        Published(
            *(256, (1, 1, 2, 2, 4, 4), 2, (3, 4, 5)),
            head_width=64,
            resample_blocks=True,
            learn_sigma=True,
            classes=1000,
        ),
        553_838_086,
    ),
    "guided, LSUN": (
        Published(
            *(256, (1, 1, 2, 2, 4, 4), 2, (3, 4, 5)),
            head_width=64,
            resample_blocks=True,
            learn_sigma=True,
        ),
        552_814_086,
    ),
}


@functools.cache
def weights_of(published):
    return published.weights()


def saved(folder, published, name="ema.pt"):
    torch.save(weights_of(published), folder / name)
    return folder / name


@pytest.fixture(scope="module")
def brought(tmp_path_factory):
    """The model of a case, read once."""
    folder = tmp_path_factory.mktemp("brought")

    @functools.cache
    def read_once(case):
        published, unseen = TINY[case]
        return read(saved(folder, published), unseen)

    return read_once


@pytest.mark.parametrize("case", TINY)
def test_the_network_answers_as_the_published_one(brought, case):
    published, unseen = TINY[case]
    model = brought(case)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, published.channels, 8, 8, generator=generator)
    label = torch.tensor([0, published.classes - 1]) if published.classes else None
    index = torch.tensor([0, 733])  # as they count, from 0
    told = index * 1000 / unseen.steps if unseen.in_thousands else index.float()
    with torch.no_grad():
        expected = published.answer(weights_of(published), x, told, label)
        condition = model.denoiser.schedule.condition(index + 1)
        y = model.denoiser.network.eval()(x, condition, label)
    assert expected.std() > 0.1
    assert ((y - expected).abs().max() / expected.abs().max()).item() < 1e-5
    assert model.denoiser.learns_variance is published.learn_sigma


def test_the_wrong_order_or_number_of_heads_is_another_function(tmp_path):
    """So that the agreement above says something of them."""
    published, _ = TINY["unconditional"]
    path = saved(tmp_path, published)
    x, t = torch.randn(1, 3, 8, 8), torch.tensor([500])
    with torch.no_grad():
        answers = [
            read(path, unseen).denoiser.network.eval()(x, t)
            for unseen in (
                Unseen((8, 8)),
                Unseen((8, 8), new_order=True),
                Unseen((8, 8), heads=2),
            )
        ]
    assert (answers[0] - answers[1]).abs().max() > 1e-3
    assert (answers[0] - answers[2]).abs().max() > 1e-3


def test_regrouped_channels_are_those_of_the_formula():
    heads, wide = 3, 4
    theirs = [(head, part, n) for head in range(heads) for part in "qkv" for n in range(wide)]
    ours = [(head, part, n) for part in "qkv" for head in range(heads) for n in range(wide)]
    where = regrouped(torch.arange(len(theirs)).float(), heads)
    assert [theirs[int(index)] for index in where.tolist()] == ours


@pytest.mark.parametrize("name", RELEASED)
def test_the_released_networks_have_these_weights_and_no_others(name):
    published, parameters = RELEASED[name]
    shapes = published.shapes()
    assert sum(map(math.prod, shapes.values())) == parameters
    unseen = Unseen((64, 64), heads=published.heads, head_width=published.head_width)
    settings, spec, own = described(Path("x.pt"), shapes, unseen)
    found = build.weight_shapes(settings, spec)
    assert sorted(own.values()) == sorted(found)
    for theirs, ours in own.items():
        assert math.prod(shapes[theirs]) == math.prod(found[ours])
        assert shapes[theirs] == found[ours][: len(shapes[theirs])]
    network = settings.network
    assert (network.multipliers, network.blocks) == (published.multipliers, published.blocks)
    assert (network.attention, network.modulate) == (published.attention, published.modulate)
    assert network.resample_blocks is published.resample_blocks
    assert len(spec.class_names) == published.classes


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
@pytest.mark.parametrize("steps", [100, 4000])
def test_the_schedule_is_theirs(tmp_path, schedule, steps):
    """Their betas, from the papers: Ho et al.'s for any number of steps; eq. 17, at most 0.999."""
    published, _ = TINY["unconditional"]
    unseen = Unseen((8, 8), steps=steps, schedule=schedule)
    made = read(saved(tmp_path, published), unseen).denoiser.schedule
    if schedule == "linear":
        beta = torch.linspace(0.1 / steps, 20 / steps, steps, dtype=torch.float64)
    else:
        u = torch.arange(steps + 1, dtype=torch.float64) / steps
        curve = ((u + 0.008) / 1.008 * math.pi / 2).cos().square()
        beta = (1 - curve[1:] / curve[:-1]).clamp(max=0.999)
    torch.testing.assert_close(made.beta[1:], beta, rtol=1e-9, atol=1e-12)


def test_the_learnt_variance_lies_where_theirs_does(brought):
    """v of -1 is the posterior's variance and v of 1 is beta (their code; the paper's is 0..1)."""
    case = "learnt variance, sizes within blocks, new order"
    published, model = TINY[case][0], brought(case)
    schedule, t = model.denoiser.schedule, torch.tensor([400])
    x = torch.randn(1, 3, 8, 8)
    with torch.no_grad():
        estimate = model.denoiser.eval()(x, t)
        raw = published.answer(weights_of(published), x, t.float() - 1)[:, 3:]
    beta = schedule.beta[t]
    small = beta * (1 - schedule.alpha_bar[t - 1]) / (1 - schedule.alpha_bar[t])
    share = (raw.double() + 1) / 2
    expected = share * beta.log() + (1 - share) * small.log()
    found = process.learned_log_variance(schedule, t, t - 1, estimate.variance)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)
    assert model.settings.sampling.variance == "learned"


def test_the_command_leaves_a_folder_that_is_sampled_from(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    published, _ = TINY["by class, told in thousands"]
    saved(tmp_path, published)
    command = ["import", "guided-diffusion", "ema.pt", "--image-size", "8", "--heads", "2"]
    more = ["--steps", "4000", "--noise-schedule", "cosine", "--rescale-timesteps"]
    result = CliRunner().invoke(app, command + more, catch_exceptions=False)
    assert result.exit_code == 0
    model = Model.load("runs/guided-diffusion-ema", on="cpu")
    assert model.settings.schedule.told_in_thousands
    assert model.spec.class_names == ("0", "1", "2", "3", "4")
    images = model.sample(2, label=3, sampling=SamplingSettings(steps=2))
    assert images.shape == (2, 8, 8, 3)
    with pytest.raises(LoangError, match="without a label"):
        model.sample(1, sampling=SamplingSettings(steps=2, guidance=2.0))


def test_ten_steps_of_ddim_draw_the_same_images(brought):
    """Song et al. 2021, eq. 12 with eta 0, the image clipped and the noise derived from it anew."""
    published, unseen = TINY["by class, told in thousands"]
    model = brought("by class, told in thousands")
    weights, labels = weights_of(published), torch.tensor([1, 4])
    noise = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    sampling = SamplingSettings(sampler="ddim", steps=10)
    walk = model.walk([0, 1], start=noise, labels=labels, sampling=sampling, precision="float32")
    images = list(model.frames(walk))[-1].astype(float)

    u = torch.arange(unseen.steps + 1, dtype=torch.float64) / unseen.steps
    curve = ((u + 0.008) / 1.008 * math.pi / 2).cos().square()
    alpha_bar = (1 - (1 - curve[1:] / curve[:-1]).clamp(max=0.999)).cumprod(0)
    x = noise
    for index in range(unseen.steps - 1, 0, -unseen.steps // 10):
        told = torch.full((2,), index * 1000 / unseen.steps)
        here = alpha_bar[index]
        before = index - unseen.steps // 10
        there = alpha_bar[before] if before >= 0 else torch.tensor(1.0)
        with torch.no_grad():
            eps = published.answer(weights, x, told, labels)
        x0 = ((x - (1 - here).sqrt() * eps) / here.sqrt()).clamp(-1, 1)
        eps = (x - here.sqrt() * x0) / (1 - here).sqrt()
        x = (there.sqrt() * x0 + (1 - there).sqrt() * eps).float()
    expected = ((x + 1) * 127.5).round().clamp(0, 255).permute(0, 2, 3, 1).numpy()
    assert expected.std() > 20
    assert abs(images - expected).max() <= 1


def test_weights_of_half_precision_are_computed_with_in_float32(tmp_path):
    published, unseen = TINY["unconditional"]
    halves = {name: value.half() for name, value in weights_of(published).items()}
    torch.save(halves, tmp_path / "x.pt")
    weights = read(tmp_path / "x.pt", unseen).denoiser.network.state_dict()
    assert {value.dtype for value in weights.values()} == {torch.float32}
    assert torch.equal(weights["first.weight"], halves["input_blocks.0.0.weight"].float())


def test_safetensors_hold_the_same(tmp_path):
    published, unseen = TINY["unconditional"]
    save_file(weights_of(published), tmp_path / "ema.safetensors")
    one, other = (
        read(path, unseen).denoiser.network.state_dict()
        for path in (saved(tmp_path, published), tmp_path / "ema.safetensors")
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


def refused(tmp_path, change, words, case="unconditional"):
    published, unseen = TINY[case]
    weights = {name: value.clone() for name, value in weights_of(published).items()}
    change(weights)
    torch.save(weights, tmp_path / "x.pt")
    with pytest.raises(LoangError, match=words):
        read(tmp_path / "x.pt", unseen)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: w.pop("middle_block.1.norm.bias"), "lacks middle_attention.norm.bias"),
        (lambda w: w.update({"input_blocks.9.0.op.weight": torch.ones(1)}), "input_blocks.9.0.op"),
        (lambda w: w.update({"first.weight": torch.ones(1)}), "have one place"),
        (lambda w: w.update({"out.0.bias": torch.ones(3)}), r"out.0.bias is of the shape \(3,\)"),
        (lambda w: w["out.0.bias"].fill_(torch.inf), "not all numbers"),
        (lambda w: w.update({"input_blocks.0.0.weight": torch.ones(32, 6, 3, 3)}), "larger"),
        (lambda w: [w.pop(k) for k in list(w) if k.startswith("output")], "a classifier"),
        (lambda w: w.pop("time_embed.0.weight"), "holds no network of guided-diffusion"),
        (
            lambda w: w.update({"time_embed.0.weight": torch.ones(128, 48)}),
            "multiples of its first",
        ),
    ],
)
def test_what_is_no_such_network_is_named(tmp_path, change, words):
    refused(tmp_path, change, words)


def test_a_first_level_of_another_width_is_refused(tmp_path):
    """As guided-diffusion's for 512x512, whose first multiplier is 0.5."""
    published = Published(64, (1, 2), 1, (), channels=1)
    weights = published.weights()
    narrow = torch.ones(32, 1, 3, 3)
    torch.save({**weights, "input_blocks.0.0.weight": narrow}, tmp_path / "x.pt")
    with pytest.raises(LoangError, match="multiples of its first"):
        read(tmp_path / "x.pt", Unseen((8, 8)))


@pytest.mark.parametrize(
    ("unseen", "words"),
    [
        (Unseen((8, 8), heads=3), "does not divide"),
        (Unseen((8, 8), head_width=48), "does not divide"),
        (Unseen((8, 8), steps=10), "beta_end"),
    ],
)
def test_what_can_not_have_been_is_refused(tmp_path, unseen, words):
    published, _ = TINY["unconditional"]
    with pytest.raises(LoangError, match=words):
        read(saved(tmp_path, published), unseen)
