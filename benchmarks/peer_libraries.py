"""The libraries that peers.py trains: each one's network, settings, training step and sampler.

What is written in `settings` is what the modules are made with, and what NAME.json tells.
"""

from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

EVALUATIONS = 50  # of the network, a sample


class Peer(Protocol):
    """Another library's network, and how that library trains and samples it."""

    package: str
    size: int  # height and width that the network takes
    batch: int
    flips: bool
    settings: ClassVar[dict[str, Any]]
    network: nn.Module

    def learn(self, x: Tensor) -> float:
        """One step of the optimizer on images in [-1, 1]; returns the loss."""

    def average(self) -> None:
        """Put the average's weights into the network."""

    def draw(self, count: int, evaluations: int = EVALUATIONS) -> Tensor:
        """Samples, in [-1, 1], by so many evaluations of the network each."""


class DenoisingDiffusionPytorch:
    """denoising-diffusion-pytorch: README, and the defaults of its Trainer."""

    package, size, batch, flips = "denoising-diffusion-pytorch", 32, 16, False
    settings: ClassVar[dict[str, Any]] = {
        "Unet": {"dim": 64, "dim_mults": (1, 2, 4, 8), "channels": 1},
        "GaussianDiffusion": {"image_size": size, "timesteps": 1000},
        "Adam": {"lr": 1e-4, "betas": (0.9, 0.99)},
        "EMA": {"beta": 0.995, "update_every": 10},
        "clip_grad_norm": 1.0,
        "sampler": {"name": "GaussianDiffusion.ddim_sample", "sampling_timesteps": EVALUATIONS},
    }

    def __init__(self) -> None:
        from denoising_diffusion_pytorch import GaussianDiffusion, Unet
        from ema_pytorch import EMA

        chosen = self.settings
        self.network = GaussianDiffusion(
            Unet(**chosen["Unet"]), sampling_timesteps=EVALUATIONS, **chosen["GaussianDiffusion"]
        )
        self.optimizer = torch.optim.Adam(self.network.parameters(), **chosen["Adam"])
        self.ema = EMA(self.network, **chosen["EMA"])

    def learn(self, x: Tensor) -> float:
        """Its loss takes images in [0, 1]."""
        self.network.train()
        loss = self.network((x + 1) / 2)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.settings["clip_grad_norm"])
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.ema.update()
        return loss.item()

    def average(self) -> None:
        """Of weights and buffers."""
        self.network.load_state_dict(self.ema.ema_model.state_dict())

    def draw(self, count: int, evaluations: int = EVALUATIONS) -> Tensor:
        """Its sampler gives images in [0, 1]."""
        self.network.eval()
        self.network.sampling_timesteps = evaluations
        return self.network.sample(batch_size=count) * 2 - 1


class Diffusers:
    """diffusers: train_unconditional.py, for one channel and 32x32."""

    package, size, batch, flips = "diffusers", 32, 16, False
    settings: ClassVar[dict[str, Any]] = {
        "UNet2DModel": {
            "sample_size": size,
            "in_channels": 1,
            "out_channels": 1,
            "layers_per_block": 2,
            "block_out_channels": (128, 128, 256, 256, 512, 512),
            "down_block_types": ("DownBlock2D",) * 4 + ("AttnDownBlock2D", "DownBlock2D"),
            "up_block_types": ("UpBlock2D", "AttnUpBlock2D") + ("UpBlock2D",) * 4,
        },
        "DDPMScheduler": {"num_train_timesteps": 1000, "beta_schedule": "linear"},
        "AdamW": {"lr": 1e-4, "betas": (0.95, 0.999), "weight_decay": 1e-6, "eps": 1e-8},
        # 100 epochs, as in the script: in five minutes the rate does not get past the warm-up.
        "get_scheduler": {
            "name": "cosine",
            "num_warmup_steps": 500,
            "num_training_steps": 100 * 60_000 // batch,
        },
        "EMAModel": {"decay": 0.9999, "use_ema_warmup": True, "inv_gamma": 1.0, "power": 0.75},
        "clip_grad_norm": 1.0,
        "sampler": {"name": "DDPMPipeline", "num_inference_steps": EVALUATIONS},
    }

    def __init__(self) -> None:
        from diffusers import DDPMScheduler, UNet2DModel
        from diffusers.optimization import get_scheduler
        from diffusers.training_utils import EMAModel

        chosen = self.settings
        self.network = UNet2DModel(**chosen["UNet2DModel"])
        self.noising = DDPMScheduler(**chosen["DDPMScheduler"])
        self.optimizer = torch.optim.AdamW(self.network.parameters(), **chosen["AdamW"])
        self.rate = get_scheduler(optimizer=self.optimizer, **chosen["get_scheduler"])
        self.ema = EMAModel(self.network.parameters(), **chosen["EMAModel"])

    def learn(self, x: Tensor) -> float:
        """The noise is predicted."""
        self.network.train()
        noise = torch.randn_like(x)
        times = torch.randint(0, self.noising.config.num_train_timesteps, (len(x),))
        guess = self.network(self.noising.add_noise(x, noise, times), times).sample
        loss = nn.functional.mse_loss(guess, noise)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.settings["clip_grad_norm"])
        self.optimizer.step()
        self.rate.step()
        self.optimizer.zero_grad()
        self.ema.step(self.network.parameters())
        return loss.item()

    def average(self) -> None:
        """Of the weights."""
        self.ema.copy_to(self.network.parameters())

    def draw(self, count: int, evaluations: int = EVALUATIONS) -> Tensor:
        """The pipeline gives arrays in [0, 1], channels last."""
        from diffusers import DDPMPipeline

        self.network.eval()
        pipeline = DDPMPipeline(unet=self.network, scheduler=self.noising)
        pipeline.set_progress_bar_config(disable=True)
        drawn = pipeline(count, num_inference_steps=evaluations, output_type="numpy").images
        return torch.from_numpy(drawn).permute(0, 3, 1, 2) * 2 - 1


class SmallDiffusers(Diffusers):
    """The same with a network of 6.8 million parameters, in place of the script's 114."""

    settings: ClassVar[dict[str, Any]] = {
        **Diffusers.settings,
        "UNet2DModel": {
            "sample_size": Diffusers.size,
            "in_channels": 1,
            "out_channels": 1,
            "layers_per_block": 2,
            "block_out_channels": (64, 128, 128),
            "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
            "up_block_types": ("AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        },
    }


class SmallDiffusion:
    """smalldiffusion: examples/fashion_mnist_unet.py."""

    package, size, flips, piece = "smalldiffusion", 28, True, 128
    settings: ClassVar[dict[str, Any]] = {
        "Scaled(Unet)": {
            "in_dim": size,
            "in_ch": 1,
            "out_ch": 1,
            "ch": 64,
            "ch_mult": (1, 1, 2),
            "attn_resolutions": (14,),
        },
        "ScheduleLogLinear": {"sigma_min": 0.01, "sigma_max": 20, "N": 800},
        "AdamW": {"lr": 7e-4},
        "ExponentialMovingAverage": {"decay": 0.999},
        "sampler": {"name": "smalldiffusion.samples", "steps": EVALUATIONS, "gam": 1.6},
    }

    def __init__(self, batch: int = 1024) -> None:
        from smalldiffusion import Scaled, ScheduleLogLinear, Unet
        from torch_ema import ExponentialMovingAverage

        self.batch = batch
        chosen = self.settings
        self.network = Scaled(Unet)(**chosen["Scaled(Unet)"])
        self.schedule = ScheduleLogLinear(**chosen["ScheduleLogLinear"])
        self.optimizer = torch.optim.AdamW(self.network.parameters(), **chosen["AdamW"])
        self.ema = ExponentialMovingAverage(
            self.network.parameters(), **chosen["ExponentialMovingAverage"]
        )

    def learn(self, x: Tensor) -> float:
        """The mean of the pieces' losses is the batch's."""
        from smalldiffusion import generate_train_sample

        self.network.train()
        self.optimizer.zero_grad()
        total = 0.0
        for part in x.split(self.piece):
            x0, sigma, noise, _ = generate_train_sample(part, self.schedule)
            loss = self.network.get_loss(x0, sigma, noise) * (len(part) / len(x))
            loss.backward()
            total += loss.item()
        self.optimizer.step()
        self.ema.update()
        return total

    def average(self) -> None:
        """Of the weights."""
        self.ema.copy_to()

    def draw(self, count: int, evaluations: int = EVALUATIONS) -> Tensor:
        """The last of its generator's images."""
        from accelerate import Accelerator
        from smalldiffusion import samples

        levels = self.schedule.sample_sigmas(evaluations)
        *_, drawn = samples(
            self.network,
            levels,
            gam=self.settings["sampler"]["gam"],
            batchsize=count,
            accelerator=Accelerator(cpu=True),
        )
        return drawn


PEERS = {
    "ddpm-pytorch": DenoisingDiffusionPytorch,
    "diffusers": Diffusers,
    "diffusers-small": SmallDiffusers,
    "smalldiffusion": SmallDiffusion,
    "smalldiffusion-batch-16": lambda: SmallDiffusion(batch=16),
}


def allow_torchvision() -> None:
    """Let torchvision be imported where it was built for another kind of torch.

    The libraries import it for the reading and scaling of pictures, which is not used here. Built
    for CUDA it cannot load its compiled operators beside a torch without; that two of them are
    declared is then all that its import lacks.
    """
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        for name in ("nms", "qnms"):
            signature = "(Tensor boxes, Tensor scores, float iou_threshold) -> Tensor"
            torch.library.define(f"torchvision::{name}", signature)
