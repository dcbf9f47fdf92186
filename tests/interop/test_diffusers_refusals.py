"""What loang can't say of diffusers' models, and they not of loang's; older files; the hub."""

import json
import shutil

import numpy as np
import pytest
import torch
from hub_server import serving
from pipelines import OF_HO, Gone, edited, opened, random_unet, saved
from safetensors.torch import load_file, save_file

from loang import build, presets
from loang.config import Settings, changed
from loang.data.spec import ImageSpec
from loang.errors import LoangError
from loang.interop import diffusers as neighbour
from loang.model import Model

WEIGHTS = "diffusion_pytorch_model.safetensors"
UNSAYABLE = [
    ("unet/config.json", {"time_embedding_type": "fourier"}, "time_embedding_type=fourier"),
    ("unet/config.json", {"mid_block_type": None}, "mid_block_type=None"),
    ("unet/config.json", {"act_fn": "mish"}, "act_fn=mish"),
    ("unet/config.json", {"downsample_type": "fir"}, "downsample_type=fir"),
    ("unet/config.json", {"upsample_type": "resnet"}, "down_block_types"),
    ("unet/config.json", {"mid_block_scale_factor": 2}, "mid_block_scale_factor=2"),
    ("unet/config.json", {"center_input_sample": True}, "center_input_sample=True"),
    ("unet/config.json", {"class_embed_type": "timestep"}, "class_embed_type=timestep"),
    ("unet/config.json", {"resnet_time_scale_shift": "spatial"}, "time_scale_shift=spatial"),
    ("unet/config.json", {"resnet_time_scale_shift": "scale_shift"}, "attn_norm_num_groups=None"),
    ("unet/config.json", {"block_out_channels": [16, 24]}, "block_out_channels"),
    ("unet/config.json", {"block_out_channels": [16, "x"]}, "block_out_channels"),
    ("unet/config.json", {"down_block_types": ["DownBlock2D"] * 2}, "up_block_types"),
    ("unet/config.json", {"down_block_types": ["SkipDownBlock2D"] * 2}, "down_block_types"),
    ("unet/config.json", {"out_channels": 4}, "out_channels=4"),
    ("unet/config.json", {"sample_size": None}, "sample_size=None"),
    ("unet/config.json", {"sample_size": 2**20}, "values"),
    ("unet/config.json", {"attention_head_dim": 5}, "head_width is 5"),
    ("unet/config.json", {"norm_num_groups": 32}, "norm_groups is 32"),
    ("unet/config.json", {"num_class_embeds": 0}, "num_class_embeds=0"),
    ("unet/config.json", {"num_class_embeds": 7}, "class_embedding.weight is missing"),
    ("unet/config.json", {"layers_per_block": 2}, "is missing"),
    ("unet/config.json", {"layers_per_block": 10**9}, "blocks"),
    ("unet/config.json", {"layers_per_block": True}, "layers_per_block=True"),
    ("unet/config.json", {"a_new_key": 1}, "a_new_key=1"),
    ("unet/config.json", {"_class_name": "UNet2DConditionModel"}, "UNet2DConditionModel"),
    ("scheduler/scheduler_config.json", {"beta_schedule": "sigmoid"}, "beta_schedule=sigmoid"),
    ("scheduler/scheduler_config.json", {"trained_betas": [0.1]}, "trained_betas"),
    ("scheduler/scheduler_config.json", {"thresholding": True}, "thresholding=True"),
    ("scheduler/scheduler_config.json", {"clip_sample_range": 2.0}, "clip_sample_range=2"),
    ("scheduler/scheduler_config.json", {"variance_type": "learned"}, "variance_type=learned"),
    ("scheduler/scheduler_config.json", {"variance_type": "learned_range"}, "learned_range"),
    ("scheduler/scheduler_config.json", {"prediction_type": "flow"}, "prediction_type=flow"),
    ("scheduler/scheduler_config.json", {"rescale_betas_zero_snr": True}, "predicts is eps"),
    ("scheduler/scheduler_config.json", {"_class_name": "LCMScheduler"}, "LCMScheduler"),
    ("scheduler/scheduler_config.json", {"num_train_timesteps": 10**9}, "steps"),
    ("scheduler/scheduler_config.json", {"beta_end": 1.5}, "beta_end"),
    ("model_index.json", {"vae": ["diffusers", "AutoencoderKL"]}, "vae"),
    ("model_index.json", {"scheduler": Gone}, "no scheduler"),
]


FIRST_KEYS = {
    "config.json": [
        *("_class_name", "act_fn", "attention_head_dim", "block_out_channels", "freq_shift"),
        *("center_input_sample", "down_block_types", "downsample_padding", "flip_sin_to_cos"),
        *("in_channels", "layers_per_block", "mid_block_scale_factor", "norm_eps"),
        *("norm_num_groups", "out_channels", "sample_size", "time_embedding_type"),
        "up_block_types",
    ],
    "scheduler_config.json": [
        *("_class_name", "beta_end", "beta_schedule", "beta_start", "clip_sample"),
        *("num_train_timesteps", "trained_betas", "variance_type"),
    ],
}
"""All that google/ddpm-cat-256 says of itself."""


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    """One that loang can say, never changed."""
    return saved(tmp_path_factory.mktemp("sound") / "pipeline", random_unet())


@pytest.fixture
def folder(pipeline, tmp_path):
    """A copy of it, to be spoilt."""
    return shutil.copytree(pipeline, tmp_path / "pipeline")


@pytest.mark.parametrize(("file", "change", "named"), UNSAYABLE, ids=lambda each: str(each)[:40])
def test_what_loang_cant_say_is_named(folder, file, change, named):
    neighbour.read(folder, "x")
    edited(folder / file, **change)
    with pytest.raises(LoangError) as refused:
        neighbour.read(folder, "x")
    assert named in str(refused.value)


def test_keys_that_older_and_newer_files_have_or_lack_mean_what_they_mean_there(folder):
    """What is not said is diffusers' default; what says nothing of the function may be there."""
    whole, _ = neighbour.read(folder, "x")
    gone = ("add_attention", "attn_norm_num_groups", "downsample_type", "num_train_timesteps")
    edited(folder / "unet" / "config.json", **dict.fromkeys(gone, Gone), decay=0.9999, power=0.75)
    edited(folder / "scheduler" / "scheduler_config.json", thresholding=Gone, clip_sample=Gone)
    assert neighbour.read(folder, "x")[0].settings == whole.settings


def test_the_layout_of_the_first_pipelines_is_read(tmp_path):
    """All in one folder, attentions by their first names: as google/ddpm-cifar10-32 lies."""
    unet = random_unet(**OF_HO)
    modern = saved(tmp_path / "modern", unet)
    old = tmp_path / "old"
    old.mkdir()
    shutil.copy(modern / "model_index.json", old)
    shutil.copy(modern / "unet" / "config.json", old)
    shutil.copy(modern / "scheduler" / "scheduler_config.json", old)
    for name, keys in FIRST_KEYS.items():
        values = json.loads((old / name).read_text())
        edited(old / name, **dict.fromkeys(values.keys() - set(keys), Gone))
    edited(old / "scheduler_config.json", tensor_format="pt", predict_epsilon=True)
    was = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    weights = {}
    for name, weight in load_file(modern / "unet" / WEIGHTS).items():
        found = next((new for new in was if f".{new}." in name), None)
        # As convolutions of 1x1, which Ho et al.'s "NIN" layers are.
        shape = (*weight.shape, 1, 1) if found and weight.dim() == 2 else weight.shape
        weights[name.replace(found, was[found]) if found else name] = weight.reshape(shape)
    save_file(weights, old / WEIGHTS)
    found, expected = (neighbour.read(each, "x")[0] for each in (old, modern))
    assert sum("query" in name for name in weights) == 8
    one, other = found.denoiser.state_dict(), expected.denoiser.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in other)
    assert found.settings == expected.settings


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda w: w.pop("conv_in.bias"), "conv_in.bias is missing"),
        (lambda w: w.update(more=torch.zeros(1)), "more is one too many"),
        (lambda w: w.update({"conv_in.bias": torch.zeros(3)}), "conv_in.bias is not of the shape"),
        (lambda w: w["conv_in.bias"].fill_(torch.nan), "no numbers"),
        (lambda w: w.update({"conv_in.bias": torch.zeros(16).int()}), "no real numbers"),
        (
            lambda w: w.update({"mid_block.attentions.0.query.bias": torch.zeros(32)}),
            "by its old name",
        ),
    ],
)
def test_every_weight_is_accounted_for(folder, spoil, message):
    path = folder / "unet" / WEIGHTS
    weights = load_file(path)
    spoil(weights)
    save_file(weights, path)
    with pytest.raises(LoangError, match=message):
        neighbour.read(folder, "x")


def test_half_precision_is_read_as_the_numbers_that_it_holds(folder):
    path = folder / "unet" / WEIGHTS
    halves = {name: weight.half() for name, weight in load_file(path).items()}
    save_file(halves, path)
    model, _ = neighbour.read(folder, "x")
    assert model.denoiser.network.first.weight.dtype == torch.float32
    assert torch.equal(model.denoiser.network.first.weight, halves["conv_in.weight"].float())


def test_a_pickle_is_not_opened(folder):
    (folder / "unet" / WEIGHTS).rename(folder / "unet" / "diffusion_pytorch_model.bin")
    with pytest.raises(LoangError, match="a pickle, which can run code"):
        neighbour.read(folder, "x")


def model_of(*changes, spec=None):
    plain = ["network.width=16", "network.multipliers=[1,2]", "network.attention=[1]"]
    plain += ["network.norm_groups=4", "network.heads=1", "network.blocks=1", "sampling.steps=3"]
    settings = changed(Settings(), [*plain, *changes])
    spec = spec or ImageSpec(8, 8, 3, class_names=("boot", "bag"))
    denoiser = build.build_denoiser(settings, spec)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in denoiser.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return Model(denoiser.eval(), spec, settings)


ONLY_LOANGS = {
    "has no steps": ("schedule.kind=flow", "denoiser.predicts=flow"),
    "schedule, edm": ("schedule.kind=edm", "denoiser.predicts=edm"),
    "predicts edm": ("denoiser.predicts=edm",),
    "pixels are folded": ("network.fold=2",),
    "last estimate": ("network.self_conditioning=true",),
    "changed the images": ("data.flips=true", "data.told=true"),
    "4, 8, 12, 16 groups": ("network.norm_groups=null",),
    "wider than its first convolution": ("network.multipliers=[2,2]",),
    r"heads of \[8, 16\] channels": ("network.heads=2", "network.attention=[0,1]"),
    "as if they were 1000": ("schedule.told_in_thousands=true", "schedule.steps=50"),
}


@pytest.mark.parametrize("part", ONLY_LOANGS)
def test_what_diffusers_cant_say_is_named_and_the_way_out_too(tmp_path, part):
    model = model_of(*ONLY_LOANGS[part])
    with pytest.raises(LoangError, match=part) as refused:
        neighbour.write(model, tmp_path / "out")
    assert "--custom" in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_images_that_cant_be_halved_so_often_are_named(tmp_path):
    with pytest.raises(LoangError, match="7x8 can't be halved"):
        neighbour.write(model_of(spec=ImageSpec(7, 8, 1)), tmp_path / "out")


@pytest.mark.parametrize("part", ["pixels are folded", "schedule, edm"])
def test_a_custom_pipeline_draws_what_loang_draws(tmp_path, part):
    check_custom(model_of(*ONLY_LOANGS[part]), tmp_path / "out")


def test_a_custom_pipeline_of_the_articles_network(tmp_path):
    settings = changed(presets.preset("tutorial"), ["network.width=4", "sampling.steps=2"])
    spec = ImageSpec(16, 16, 1, "float32", -1.0, 3.0)
    check_custom(Model(build.build_denoiser(settings, spec), spec, settings), tmp_path / "out")


def test_a_custom_pipeline_of_a_network_that_was_shown_0_to_1(tmp_path):
    spec = ImageSpec(8, 8, 3, low=-255.0)
    check_custom(model_of(*ONLY_LOANGS["pixels are folded"], spec=spec), tmp_path / "out")


def test_a_custom_pipeline_goes_to_devices_and_keeps_its_type(tmp_path, monkeypatch):
    neighbour.write_custom(model_of(*ONLY_LOANGS["pixels are folded"]), tmp_path / "out")
    pipeline = opened(tmp_path / "out")
    moved = []
    monkeypatch.setattr(pipeline.model, "to", moved.append)
    assert pipeline.to(torch.float16) is pipeline.to(dtype=torch.float16) is pipeline
    assert moved == []
    pipeline.to("cpu", torch.float16).to(device="cpu").to(torch.device("cpu"))
    assert moved == ["cpu"] * 3


def check_custom(model, folder):
    neighbour.write_custom(model, folder)
    pipeline = opened(folder)
    exact = model.sample(2, seed=5)
    np.testing.assert_array_equal(pipeline(2, seed=5, output_type="np").images, exact)
    pictures = pipeline(2, seed=5).images
    low, high = model.spec.low, model.spec.high
    if model.spec.depth != "float32":
        low = max(low, 0)
    shown = (exact.astype(float) - low) / (high - low) * 255
    found = np.stack([np.asarray(each) for each in pictures]).reshape(exact.shape)
    assert np.abs(found - shown).max() <= 0.5 + 1e-6
    back, _ = neighbour.read(folder, "back")
    assert back.settings == model.settings
    np.testing.assert_array_equal(back.sample(2, seed=5), exact)
    if model.knows_labels:
        labelled = pipeline(2, class_labels=[1, 1], output_type="np").images
        np.testing.assert_array_equal(labelled, model.sample(2, label=1))
        assert not np.array_equal(labelled, pipeline(2, output_type="np").images)


def test_a_folder_that_is_in_use_is_not_written_to(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(LoangError, match="something at"):
        neighbour.write(model_of(), tmp_path)


def test_a_name_that_is_neither_a_folder_nor_of_the_hub(tmp_path):
    for name in (str(tmp_path / "none"), "./a/b", "one", "a/b/c"):
        with pytest.raises(LoangError, match="There is no folder"):
            neighbour.located(name)


def test_a_pipeline_of_the_hub_is_fetched_and_nothing_else_of_it(pipeline, tmp_path, monkeypatch):
    constants = pytest.importorskip("huggingface_hub.constants")
    files = {
        path.relative_to(pipeline).as_posix(): path.read_bytes()
        for path in pipeline.rglob("*")
        if path.is_file()
    }
    with serving() as hub:
        hub.repos["google/ddpm"] = {"main": {**files, "run_me.py": b"1", "unet/x.bin": b"2"}}
        pickled = {name: content for name, content in files.items() if WEIGHTS not in name}
        pickled["unet/diffusion_pytorch_model.bin"] = b"\x80"
        hub.repos["google/old"] = {"main": pickled}
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        found = neighbour.located("google/ddpm")
        there = {p.relative_to(found).as_posix() for p in found.rglob("*") if p.is_file()}
        assert there == set(files)
        one, other = (neighbour.read(each, "google/ddpm")[0] for each in (found, pipeline))
        assert one.settings == other.settings
        assert "google/ddpm" in one.facts["data"]
        with pytest.raises(LoangError, match="a pickle"):
            neighbour.located("google/old")
        assert hub.gets("diffusion_pytorch_model.bin") == hub.gets("run_me.py") == 0
        with pytest.raises(LoangError, match="There is no model google/none"):
            neighbour.located("google/none")
        monkeypatch.setenv("LOANG_OFFLINE", "1")
        asked = len(hub.asked)
        assert neighbour.located("google/ddpm") == found
        with pytest.raises(LoangError, match="could not be fetched"):
            neighbour.located("google/other")
        assert len(hub.asked) == asked


def test_the_folder_that_is_written_says_what_its_schedule_is(tmp_path):
    neighbour.write(model_of("schedule.kind=sigmoid", "schedule.steps=7"), tmp_path / "out")
    text = (tmp_path / "out" / "scheduler" / "scheduler_config.json").read_text()
    assert len(json.loads(text)["trained_betas"]) == 7
