"""Rebuild tests/fixtures/denoising_diffusion: files of that library, and what it computes.

    python -m venv peer-env
    peer-env/bin/pip install denoising-diffusion-pytorch==2.2.5 safetensors
    peer-env/bin/python scripts/make_peer_fixtures.py

It takes some seconds and does not need loang. The networks are tiny, their weights drawn from seed
0 and then moved by noise, as several of them start at 1 or 0. There are:

- `model-1.pt`: the dict that its `Trainer.save` writes, before any step, as the optimizer's moments
  would double its size;
- `shown.safetensors`: the state dict of a `GaussianDiffusion` whose network sees its last estimate,
  with other widths, heads and attention than is usual;
- `learned.safetensors`: that of a `LearnedGaussianDiffusion`;
- `answers.npz`: for each, images x, times t, counted from 0, and the network's answer y; for the
  first also noise, and the images that its `ddim_sample` draws from it in ten steps.
"""

from pathlib import Path

import numpy as np
import torch
from denoising_diffusion_pytorch import GaussianDiffusion, LearnedGaussianDiffusion, Unet
from ema_pytorch import EMA
from safetensors.torch import save_file

PLACE = Path(__file__).resolve().parents[1] / "tests" / "fixtures" / "denoising_diffusion"
STEPS = 100


def moved(diffusion: torch.nn.Module) -> torch.nn.Module:
    for parameter in diffusion.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return diffusion


def answers(name: str, network: Unet) -> dict[str, np.ndarray]:
    x, t = torch.randn(2, network.channels, 8, 12), torch.tensor([0, STEPS - 7])
    given = torch.randn_like(x) if network.self_condition else None
    with torch.no_grad():
        y = network.eval()(x, t, given)
    found = {"x": x, "t": t, "y": y} | ({} if given is None else {"given": given})
    return {f"{name}/{key}": value.numpy() for key, value in found.items()}


def trained() -> dict[str, np.ndarray]:
    network = Unet(4, dim_mults=(1,), channels=1, attn_heads=1, attn_dim_head=4)
    diffusion = moved(GaussianDiffusion(network, image_size=8, timesteps=STEPS))
    optimizer = torch.optim.Adam(diffusion.parameters(), lr=1e-4, betas=(0.9, 0.99))
    average = EMA(diffusion, beta=0.995, update_every=10)
    for parameter in average.ema_model.parameters():  # so that it is not the same
        parameter.data += 0.01 * torch.randn_like(parameter)
    content = {
        "step": 0,
        "model": diffusion.state_dict(),
        "opt": optimizer.state_dict(),
        "ema": average.state_dict(),
        "scaler": None,
        "version": "2.2.5",
    }
    torch.save(content, PLACE / "model-1.pt")

    averaged = average.ema_model.eval()
    averaged.sampling_timesteps, averaged.is_ddim_sampling = 10, True
    torch.manual_seed(1)
    images = averaged.ddim_sample((2, 1, 8, 8))
    torch.manual_seed(1)
    noise = torch.randn(2, 1, 8, 8)
    return {
        **answers("trained", averaged.model),
        **answers("raw", diffusion.model),
        "trained/noise": noise.numpy(),
        "trained/images": images.numpy(),
    }


def shown() -> dict[str, np.ndarray]:
    network = Unet(
        4,
        init_dim=6,
        dim_mults=(1, 2),
        channels=3,
        self_condition=True,
        attn_heads=2,
        attn_dim_head=2,
        full_attn=(True, False),
        sinusoidal_pos_emb_theta=500,
    )
    diffusion = GaussianDiffusion(
        network, image_size=(8, 12), timesteps=STEPS, objective="pred_noise", beta_schedule="linear"
    )
    save_file(moved(diffusion).state_dict(), PLACE / "shown.safetensors")
    return answers("shown", network)


def learned() -> dict[str, np.ndarray]:
    network = Unet(
        4, dim_mults=(1,), channels=2, learned_variance=True, attn_heads=1, attn_dim_head=2
    )
    diffusion = LearnedGaussianDiffusion(
        network, image_size=8, timesteps=STEPS, objective="pred_x0", beta_schedule="cosine"
    )
    save_file(moved(diffusion).state_dict(), PLACE / "learned.safetensors")
    return answers("learned", network)


if __name__ == "__main__":
    PLACE.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    np.savez_compressed(PLACE / "answers.npz", **trained(), **shown(), **learned())
    print({path.name: path.stat().st_size for path in sorted(PLACE.iterdir())})
