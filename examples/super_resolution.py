"""Conditioning on an image: from 7x7 pixels to the 28x28 that they might be of.

    python examples/super_resolution.py --steps 1500

A network may be shown another image beside the noisy one: `UNet(given=channels)`. A sampler hands
on no such thing, so a wrapper keeps it. Draws columns: small, real, and three that it might be.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from loang import pictures, random
from loang.data.places.sample import read_sample
from loang.denoiser import Denoiser, Estimate
from loang.networks.unet import UNet
from loang.process import diffuse
from loang.samplers import dpmpp_2m
from loang.schedule import Schedule, cosine

FACTOR, DRAWN, STEPS = 4, 3, 20


class WithSmall:
    """A denoiser that always sees the same small pictures."""

    def __init__(self, denoiser: Denoiser, small: Tensor) -> None:
        self.denoiser, self.small = denoiser, small

    @property
    def schedule(self) -> Schedule:
        return self.denoiser.schedule

    def __call__(self, x_t: Tensor, t: Tensor, label: Tensor | None = None) -> Estimate:
        return self.denoiser(x_t, t, label, given=self.small)


def shrunk(images: Tensor) -> Tensor:
    """What is left of images when each 4x4 pixels become one; enlarged to their size again."""
    return interpolate(avg_pool2d(images, FACTOR), scale_factor=FACTOR, mode="nearest")


def train(images: Tensor, steps: int, width: int) -> Denoiser:
    network = UNet(1, width=width, multipliers=(1, 2), blocks=1, attention=(), fold=2, given=1)
    denoiser = Denoiser(network, schedule := cosine(1000), kind="v")
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
    for step in range(steps):
        here = torch.arange(64) + 64 * step
        keys = {"seed": 0, "step": 0, "indices": here}
        x0 = images[random.integers(0, len(images) - 1, purpose="which", **keys)]
        t = random.integers(1, schedule.T, purpose="time", **keys)
        eps = random.normal(x0.shape[1:], purpose="noise", **keys)
        answer = denoiser.predict(diffuse(schedule, x0, t, eps), t, given=shrunk(x0))
        signal, noise = (f(t).float().view(-1, 1, 1, 1) for f in (schedule.signal, schedule.noise))
        loss = (answer.image - (signal * eps - noise * x0)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return denoiser.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--out", type=Path, default="super_resolution.png")
    asked = parser.parse_args()

    images = torch.from_numpy(read_sample()[0][:, None].astype("float32")) / 127.5 - 1
    denoiser, real = train(images[:10_000], asked.steps, asked.width), images[10_000:10_012]
    small = shrunk(real).repeat_interleave(DRAWN, 0)
    keys = {"seed": 1, "step": 0, "indices": torch.arange(len(small))}
    noise = random.normal(small.shape[1:], purpose="sample", **keys)
    with torch.inference_mode():
        levels = denoiser.schedule.levels(STEPS)
        *_, last = dpmpp_2m(WithSmall(denoiser, small), noise, levels, lambda _: noise)
    drawn = last.x.unflatten(0, (-1, DRAWN))
    error = (shrunk(last.x) - small).square().mean().sqrt() / 2
    print(f"made small again, drawn pictures differ from the small ones by {error:.1%}")
    columns = torch.cat([shrunk(real)[:, None], real[:, None], drawn], 1).flatten(0, 1)
    shown = pictures.to_display(columns.permute(0, 2, 3, 1).numpy(), -1, 1)
    pictures.save_image(pictures.grid(shown, columns=2 + DRAWN), asked.out)


if __name__ == "__main__":
    main()
