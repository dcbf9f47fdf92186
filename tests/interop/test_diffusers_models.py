"""The same model in loang and in diffusers: answers, images, and every bit on the way back."""

import json

import numpy as np
import pytest
import torch
from pipelines import CIFAR10, OF_HO, diffusers, drawn, opened, random_unet, saved
from typer.testing import CliRunner

import loang
from loang import build, presets, random
from loang.cli.app import app
from loang.config import ScheduleSettings, Settings, changed
from loang.data.spec import ImageSpec
from loang.errors import LoangError
from loang.interop import diffusers as neighbour
from loang.interop.diffusers import names, network, scheduler
from loang.model import Model
from loang.networks.unet import UNet

RGB = ImageSpec(8, 8, 3)
NETWORKS = {
    "plain": {},
    "ddpm": OF_HO,
    "dropout, no attention": {
        "down_block_types": ("DownBlock2D",) * 2,
        "up_block_types": ("UpBlock2D",) * 2,
        "add_attention": False,
        "dropout": 0.1,
        "in_channels": 1,
        "out_channels": 1,
    },
    "scale and shift": {
        "resnet_time_scale_shift": "scale_shift",
        "attn_norm_num_groups": 4,
        "attention_head_dim": 16,
    },
    "resampling blocks": {
        "down_block_types": ("ResnetDownsampleBlock2D", "AttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("ResnetUpsampleBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        "block_out_channels": (16, 16, 32),
        "downsample_type": "resnet",
        "upsample_type": "resnet",
    },
    "labels": {"num_class_embeds": 5},
    "not square": {"sample_size": (4, 8), "block_out_channels": (16, 16), "layers_per_block": 2},
}
PLAIN = (
    *("network.width=16", "network.multipliers=[1,2]", "network.attention=[1]", "network.blocks=1"),
    *("network.norm_groups=4", "network.heads=1", "schedule.steps=10", "sampling.steps=10"),
    *("schedule.kind=cosine", "denoiser.predicts=v", "training.precision=float32"),
)
"""A small model as loang trains one, which diffusers can say."""


def model_of(*changes, spec=RGB, seed=0):
    settings = changed(Settings(), [*PLAIN, *changes])
    denoiser = build.build_denoiser(settings, spec)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in denoiser.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return Model(denoiser.eval(), spec, settings, {"data": "noise", "steps": 3})


def noises(model, count, steps, seed=0):
    """Those of loang's own walk: the first, and one a step."""
    return [
        random.normal(
            model.spec.shape, seed=seed, purpose="sample", step=step, indices=torch.arange(count)
        )
        for step in range(steps + 1)
    ]


def last_of(model, count, **sampling):
    """loang's images in [0, 1], (n, h, w, c)."""
    chosen = model.settings.sampling.model_copy(update=sampling)
    *_, last = model.walk(range(count), sampling=chosen, precision="float32")
    return (last.x / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy()


def apart(unet, model, counted_from=0):
    """The largest difference of two networks' answers, relative to the largest answer."""
    height, width = model.spec.height, model.spec.width
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(1)
        x = torch.randn(3, model.spec.channels, height, width)
        t = torch.tensor([1, model.denoiser.schedule.T // 2, model.denoiser.schedule.T])
        label = torch.tensor([0, 1, 1]) if model.knows_labels else None
        expected = unet(x, t - 1, class_labels=label).sample
        network = model.denoiser.network.eval()
        found = network(x, model.denoiser.schedule.condition(t), label)
    assert float(expected.std()) > 0.1
    return float((found - expected).abs().max() / expected.abs().max())


def same(one, other):
    """Weights, settings, images and facts, to the last bit."""
    ours, theirs = one.denoiser.state_dict(), other.denoiser.state_dict()
    assert ours.keys() == theirs.keys()
    return (
        all(torch.equal(ours[name], theirs[name]) for name in ours)
        and one.settings == other.settings
        and one.spec == other.spec
        and one.facts == other.facts
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_an_imported_network_answers_as_it_did(tmp_path, name):
    unet = random_unet(**NETWORKS[name])
    model, _ = neighbour.read(saved(tmp_path / "pipeline", unet), "pipeline")
    assert apart(unet, model) < 1e-5


@pytest.mark.slow
def test_the_network_of_ddpm_cifar10_answers_as_it_did(tmp_path):
    unet = random_unet(scale=0.01, **CIFAR10)
    model, _ = neighbour.read(saved(tmp_path / "pipeline", unet), "pipeline")
    assert sum(weight.numel() for weight in model.denoiser.parameters()) == 35_746_307
    assert apart(unet, model) < 1e-5


def test_the_network_of_ddpm_cifar10_is_that_of_loangs_preset():
    """Without its weights, as that is fast: each has its place, and loang's own names it so."""
    with torch.device("meta"):
        unet = diffusers.UNet2DModel(**CIFAR10)
        found = network.read(json.loads(json.dumps(dict(unet.config))))
        ours = UNet(3, **{key: value for key, value in found.settings.items() if key != "kind"})
        of_preset = build.build_network(presets.preset("ddpm-cifar10"), ImageSpec(32, 32, 3))
    shapes = {name: tuple(weight.shape) for name, weight in ours.state_dict().items()}
    assert shapes == {k: tuple(v.shape) for k, v in of_preset.state_dict().items()}
    pairs = {each: pair.shape for pair in names.pairs(shapes) for each in pair.theirs}
    assert pairs == {name: tuple(weight.shape) for name, weight in unet.state_dict().items()}


def middling(images):
    """The share of values that no limit has cut."""
    return float(((images > 0.01) & (images < 0.99)).mean())


@pytest.mark.parametrize(("predicts", "clip"), [("epsilon", True), ("v_prediction", False)])
def test_50_steps_of_ddim_draw_the_images_that_diffusers_draws(
    tmp_path, monkeypatch, predicts, clip
):
    scheduler = diffusers.DDIMScheduler(
        clip_sample=clip, timestep_spacing="trailing", prediction_type=predicts
    )
    folder = saved(tmp_path / "pipeline", random_unet(scale=0.02, **OF_HO), scheduler)
    model, notices = neighbour.read(folder, "pipeline")
    assert len(notices) == clip
    assert (model.settings.sampling.sampler, model.settings.sampling.steps) == ("ddim", 50)
    pipeline = diffusers.DDIMPipeline.from_pretrained(folder)
    options = {"num_inference_steps": 50, "use_clipped_model_output": clip}
    expected = drawn(pipeline, noises(model, 2, 0), monkeypatch, **options)
    assert expected.std() > 0.1
    assert middling(expected) > 0.5 or predicts == "epsilon"
    assert np.abs(last_of(model, 2) - expected).max() <= 1 / 255


@pytest.mark.parametrize("variance", ["fixed_small", "fixed_large", "learned_range"])
def test_a_walk_of_ddpm_draws_the_images_that_diffusers_draws(tmp_path, monkeypatch, variance):
    learned = {"out_channels": 6} if variance == "learned_range" else {}
    unet = random_unet(scale=0.02, **learned)
    scheduler = {"num_train_timesteps": 10, "beta_end": 0.5, "variance_type": variance}
    folder = saved(tmp_path / "pipeline", unet, **scheduler)
    model, notices = neighbour.read(folder, "pipeline")
    assert not notices
    pipeline = diffusers.DDPMPipeline.from_pretrained(folder)
    expected = drawn(pipeline, noises(model, 2, 10), monkeypatch, num_inference_steps=10)
    assert expected.std() > 0.1
    assert np.abs(last_of(model, 2) - expected).max() <= 1 / 255


@pytest.mark.parametrize(
    "theirs",
    [
        {},
        {"beta_schedule": "scaled_linear", "beta_end": 0.01},
        {"beta_schedule": "squaredcos_cap_v2"},
        {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"},
        {"prediction_type": "sample", "num_train_timesteps": 50},
    ],
    ids=str,
)
def test_an_imported_schedule_is_the_same(theirs):
    made = diffusers.DDPMScheduler(**theirs)
    found = scheduler.read(json.loads(json.dumps(dict(made.config))), learns_variance=False)
    schedule = build.build_schedule(ScheduleSettings(**found.schedule))
    expected = torch.cat((torch.ones(1), made.alphas_cumprod)).double()
    torch.testing.assert_close(schedule.alpha_bar, expected, rtol=2e-4, atol=1e-7)
    assert found.sampling["steps"] == schedule.T
    assert found.denoiser["predicts"] in ("eps", "v", "x0")


@pytest.mark.parametrize(
    "changes",
    [
        (),
        ("schedule.kind=linear", "denoiser.predicts=eps", "schedule.beta_end=0.5"),
        ("schedule.kind=scaled-linear", "denoiser.predicts=x0", "schedule.beta_end=0.5"),
        ("schedule.kind=sigmoid", "network.modulate=false"),
        ("schedule.zero_terminal_snr=true", "denoiser.clip=false"),
        ("network.cosine_first=true", "network.reaches_last=false", "network.head_width=8"),
        ("denoiser.learn_variance=true", "sampling.variance=learned"),
        ("schedule.counted_from=0", "network.downsample_padding=after"),
        ("network.resample_blocks=true", "network.multipliers=[1,1,2]"),
    ],
    ids=str,
)
def test_an_exported_model_draws_in_diffusers_what_it_draws_in_loang(
    tmp_path, monkeypatch, changes
):
    model = model_of(*changes)
    neighbour.write(model, tmp_path / "pipeline")
    pipeline = diffusers.DDPMPipeline.from_pretrained(tmp_path / "pipeline")
    assert apart(pipeline.unet, model) < 1e-5
    found = drawn(pipeline, noises(model, 2, 10), monkeypatch, num_inference_steps=10)
    expected = last_of(model, 2, sampler="ddpm")
    assert expected.std() > 0.1
    assert middling(expected) > 0.5 or model.denoiser.kind == "eps"
    assert np.abs(found - expected).max() <= 1 / 255
    back, notices = neighbour.read(tmp_path / "pipeline", "pipeline")
    assert not notices
    assert same(back, model)


def test_ddim_pipeline_opens_what_is_exported(tmp_path, monkeypatch):
    model = model_of("schedule.steps=1000")
    said = neighbour.write(model, tmp_path / "pipeline")
    assert any("use_clipped_model_output" in line for line in said)
    pipeline = diffusers.DDIMPipeline.from_pretrained(tmp_path / "pipeline")
    options = {"num_inference_steps": 10, "use_clipped_model_output": True}
    found = drawn(pipeline, noises(model, 2, 0), monkeypatch, **options)
    assert np.abs(found - last_of(model, 2, sampler="ddim")).max() <= 1 / 255


@pytest.mark.parametrize("no_label", ["true", "false"])
def test_labels_go_along(tmp_path, monkeypatch, no_label):
    spec = ImageSpec(8, 8, 3, class_names=("boot", "bag"))
    model = model_of(f"network.no_label={no_label}", "training.label_dropout=0", spec=spec)
    said = neighbour.write(model, tmp_path / "pipeline")
    assert any("class_labels from 0 to 1" in line for line in said)
    unet = diffusers.UNet2DModel.from_pretrained(tmp_path / "pipeline", subfolder="unet")
    assert unet.config.num_class_embeds == 2 + (no_label == "true")
    assert apart(unet.eval(), model) < 1e-5
    assert same(neighbour.read(tmp_path / "pipeline", "x")[0], model)
    pipeline = opened(tmp_path / "pipeline")
    left = noises(model, 2, 10)
    found = drawn(pipeline, left, monkeypatch, class_labels=[0, 1])
    assert np.abs(found - last_of(model, 2, sampler="ddpm")).max() <= 1 / 255
    other = drawn(pipeline, left, monkeypatch, class_labels=[0, 0])
    assert np.array_equal(other[0], found[0])
    assert np.abs(other[1] - found[1]).max() > 1 / 255


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # diffusers' own
@pytest.mark.parametrize(
    ("kind", "options", "closeness"),
    [
        ("EulerDiscreteScheduler", {"timestep_spacing": "leading"}, 1e-3),
        # It takes no generator, and ends at the first level instead of at none.
        (
            "DEISMultistepScheduler",
            {"solver_order": 1, "timestep_spacing": "trailing"},
            2e-2,
        ),
    ],
)
def test_a_labelled_pipeline_draws_the_same_by_each_scheduler_that_is_ddim(
    tmp_path, monkeypatch, kind, options, closeness
):
    """Euler's steps are those of DDIM for images that are scaled otherwise."""
    spec = ImageSpec(8, 8, 3, class_names=("boot", "bag"))
    plain = ("schedule.kind=linear", "schedule.beta_end=0.5", "denoiser.clip=false")
    model = model_of(*plain, spec=spec)
    neighbour.write(model, tmp_path / "pipeline")
    pipeline = opened(tmp_path / "pipeline")
    config = pipeline.scheduler.config
    start = noises(model, 2, 0)
    pipeline.scheduler = diffusers.DDIMScheduler.from_config(config)
    expected = drawn(pipeline, start, monkeypatch, class_labels=[0, 1])
    assert middling(expected) > 0.5
    pipeline.scheduler = getattr(diffusers, kind).from_config(config, **options)
    found = drawn(pipeline, start, monkeypatch, class_labels=[0, 1])
    print(np.abs(found - expected).max())
    assert np.abs(found - expected).max() < closeness


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # diffusers' own
@pytest.mark.parametrize("name", scheduler.SAMPLERS)
def test_what_a_configuration_leaves_out_is_what_diffusers_takes(name):
    whole = dict(getattr(diffusers, name)().config)
    read = scheduler.read({"_class_name": name}, learns_variance=False)
    assert read == scheduler.read({**whole, "_class_name": name}, learns_variance=False)


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_imported_goes_back_bit_by_bit(tmp_path, name):
    """diffusers' own configuration and weights too, so neither side loses anything."""
    unet = random_unet(**NETWORKS[name])
    folder = saved(tmp_path / "there", unet, clip_sample=False, timestep_spacing="trailing")
    model, _ = neighbour.read(folder, "there")
    neighbour.write(model, tmp_path / "back")
    pipeline = diffusers.DDPMPipeline.from_pretrained(tmp_path / "back")
    ours, theirs = pipeline.unet.state_dict(), unet.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    plain = json.loads(json.dumps(dict(unet.config)))
    for key, value in json.loads(json.dumps(dict(pipeline.unet.config))).items():
        same_level = key.endswith("block_types") and name == "resampling blocks"
        assert key.startswith("_") or same_level or value == plain[key], key
    again, _ = neighbour.read(tmp_path / "back", "back")
    assert same(again, model)


def test_a_model_that_was_trained_on_in_diffusers_is_read_as_it_is_now(tmp_path):
    model = model_of()
    neighbour.write(model, tmp_path / "out")
    pipeline = diffusers.DDPMPipeline.from_pretrained(tmp_path / "out")
    with torch.no_grad():
        for parameter in pipeline.unet.parameters():
            parameter += 0.01
    pipeline.save_pretrained(tmp_path / "out")
    back, notices = neighbour.read(tmp_path / "out", "out")
    assert not notices
    assert back.settings.schedule.counted_from == 0  # its first weights stay turned
    assert back.settings.data == model.settings.data
    assert apart(pipeline.unet.eval(), back) < 1e-5


def test_notes_on_another_network_are_not_believed(tmp_path):
    neighbour.write(model_of(), tmp_path / "out")
    unet = random_unet()
    saved(tmp_path / "out", unet)
    back, notices = neighbour.read(tmp_path / "out", "out")
    assert "loang.json" in notices[0]
    assert apart(unet, back) < 1e-5


def test_a_folder_is_brought_and_sampled_and_written_from_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    saved(tmp_path / "shoes", random_unet(), num_train_timesteps=4, beta_end=0.5)
    runner = CliRunner()
    brought = runner.invoke(app, ["import", "diffusers", "shoes"])
    assert brought.exit_code == 0, brought.output
    assert "loang sample runs/shoes" in brought.output
    images = loang.load("runs/shoes", device="cpu").sample(2)
    assert images.shape == (2, 8, 8, 3)
    assert images.std() > 10
    written = runner.invoke(app, ["export", "diffusers", "runs/shoes", "--out", "again"])
    assert written.exit_code == 0, written.output
    assert "DDPMPipeline.from_pretrained('again')" in written.output
    again = runner.invoke(app, ["import", "diffusers", "again", "--out", "runs/shoes"])
    assert isinstance(again.exception, LoangError)
