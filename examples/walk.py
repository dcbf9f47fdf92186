"""The walk from noise, by hand: a schedule, a denoiser and a sampler, and nothing else of loang.

The "network" knows the answer: its images are Gaussian, so the best denoiser is a formula. With
more steps the deviation of what it draws comes closer to the truth.

    python examples/walk.py
"""

import torch
from torch import Tensor

from loang.denoiser import Estimate
from loang.samplers import ddim, ddpm
from loang.schedule import Schedule, cosine

DEVIATION = 0.5  # of the data


class GaussianDenoiser:
    """E[x_0 | x_t] for data N(0, DEVIATION²)."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule

    def __call__(self, x_t: Tensor, t: Tensor, label: Tensor | None = None) -> Estimate:
        signal, noise = (
            f(t).view(-1, 1, 1, 1) for f in (self.schedule.signal, self.schedule.noise)
        )
        x0 = signal * DEVIATION**2 / (signal**2 * DEVIATION**2 + noise**2) * x_t
        return Estimate(x0, (x_t - signal * x0) / noise)


def main() -> None:
    denoiser = GaussianDenoiser(cosine(1000))
    generator = torch.Generator().manual_seed(0)

    def noise(step: int) -> Tensor:
        return torch.randn(16, 1, 64, 64, generator=generator, dtype=torch.float64)

    for sampler in (ddim, ddpm):
        for steps in (5, 20, 100):
            *_, last = sampler(denoiser, noise(0), denoiser.schedule.levels(steps), noise)
            print(f"{sampler.__name__} in {steps:3d} steps: deviation {last.x.std():.4f}")


if __name__ == "__main__":
    main()
