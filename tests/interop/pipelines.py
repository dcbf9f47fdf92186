"""diffusers' side: random networks in pipelines, and walks with noise that is given."""

import json
import os
import sys
import tempfile

import pytest
import torch

_modules = tempfile.TemporaryDirectory()
os.environ.setdefault("HF_MODULES_CACHE", _modules.name)  # where it copies custom pipelines to
try:
    import torchvision  # noqa: F401
except (ImportError, RuntimeError):
    sys.modules["torchvision"] = None  # one of another torch would take diffusers along
diffusers = pytest.importorskip("diffusers")

TINY = {
    "sample_size": 8,
    "block_out_channels": (16, 32),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    "norm_num_groups": 4,
}
OF_HO = {
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "norm_eps": 1e-6,
    "attention_head_dim": None,
}
"""What google/ddpm-cifar10-32 and its siblings have, whose weights came from Ho et al.'s code."""
CIFAR10 = {
    **OF_HO,
    "sample_size": 32,
    "block_out_channels": (128, 256, 256, 256),
    "layers_per_block": 2,
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
}


def random_unet(seed=0, scale=0.05, **changes):
    """A UNet2DModel whose every weight says something."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = diffusers.UNet2DModel(**{**TINY, **changes}).eval()
        with torch.no_grad():
            for parameter in unet.parameters():
                parameter += scale * torch.randn_like(parameter)
    return unet


def saved(folder, unet, scheduler=None, **changes):
    """A pipeline's folder, as diffusers writes it."""
    scheduler = scheduler or diffusers.DDPMScheduler(**changes)
    kind = "DDIM" if isinstance(scheduler, diffusers.DDIMScheduler) else "DDPM"
    getattr(diffusers, f"{kind}Pipeline")(unet, scheduler).save_pretrained(folder)
    return folder


def opened(folder):
    """A pipeline by the code that lies beside it."""
    # diffusers runs each such file in the one module of its name, and takes the one class in it.
    sys.modules.pop("diffusers_modules.local.pipeline", None)
    return diffusers.DiffusionPipeline.from_pretrained(
        folder, custom_pipeline=str(folder / "pipeline.py"), trust_remote_code=True
    )


def edited(path, **changes):
    """A JSON file with other values; None takes a key out."""
    values = json.loads(path.read_text())
    values = {**values, **changes}
    kept = {key: value for key, value in values.items() if value is not Gone}
    path.write_text(json.dumps(kept))


class Gone:
    """In the place of a value: the key is to go."""


def drawn(pipeline, noises, monkeypatch, **options):
    """Images in [0, 1], (n, h, w, c), of a pipeline that takes its noise from a list."""
    left = iter(noises)

    def given(shape, *_, **__):
        noise = next(left)
        assert noise.shape == tuple(shape)
        return noise.float()

    modules = [
        diffusers.pipelines.ddpm.pipeline_ddpm,
        diffusers.pipelines.ddim.pipeline_ddim,
        diffusers.schedulers.scheduling_ddpm,
        diffusers.schedulers.scheduling_ddim,
    ]
    own = sys.modules[type(pipeline).__module__]
    for module in (*modules, *([own] if own not in modules else [])):
        monkeypatch.setattr(module, "randn_tensor", given)
    pipeline.set_progress_bar_config(disable=True)
    if "class_labels" not in options:
        options["batch_size"] = len(noises[0])
    return pipeline(output_type="np", **options).images
