"""A network of your own, trained by your own loop, drawn from by loang's samplers.

Whatever answers `network(x_t, condition, label)` with a tensor of x_t's shape will do. The images
here are flat: every pixel -0.5, or every pixel +0.5.

    python examples/any_network.py
"""

import torch
from torch import Tensor, nn

from loang import Denoiser
from loang.samplers import ddim
from loang.schedule import cosine

SIZE = 8


class Yours(nn.Module):
    """A perceptron that has never heard of loang."""

    def __init__(self) -> None:
        super().__init__()
        values = SIZE * SIZE
        self.layers = nn.Sequential(
            nn.Linear(values + 1, 64),
            nn.SiLU(),
            nn.Linear(64, 64),
            nn.SiLU(),
            nn.Linear(64, values),
        )

    def forward(self, image: Tensor, time: Tensor) -> Tensor:
        told = torch.cat([image.flatten(1), time.view(-1, 1) / 1000], dim=1)
        return self.layers(told).view_as(image)


class Fitted(nn.Module):
    """It, as a loang denoiser calls it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, condition: Tensor, label: Tensor | None = None) -> Tensor:
        return self.network(x, condition)


def main() -> None:
    torch.manual_seed(0)
    schedule = cosine(1000)
    denoiser = Denoiser(Fitted(Yours()), schedule, kind="x0")

    optimizer = torch.optim.Adam(denoiser.parameters(), lr=2e-3)
    for _ in range(600):
        sign = torch.randint(0, 2, (128, 1, 1, 1)) - 0.5
        x0 = sign.expand(-1, 1, SIZE, SIZE)
        eps, t = torch.randn_like(x0), torch.randint(1, 1001, (128,))
        signal, noise = (f(t).float().view(-1, 1, 1, 1) for f in (schedule.signal, schedule.noise))
        answer = denoiser.predict(signal * x0 + noise * eps, t).image
        loss = (answer - x0).square().mean()  # what `kind` says
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    start = torch.randn(64, 1, SIZE, SIZE)
    with torch.inference_mode():
        *_, last = ddim(denoiser, start, schedule.levels(50), torch.randn_like)
    grey = last.x.mean(dim=(1, 2, 3))
    print(f"{(grey > 0).sum()} of 64 are bright, {(grey.abs() - 0.5).abs().mean():.3f} off")
    print(f"within an image values differ by {last.x.std(dim=(1, 2, 3)).mean():.3f}")


if __name__ == "__main__":
    main()
