"""What the detour of `networks/layers.GroupNorm` saves: a whole network with and without it.

    python benchmarks/norm_speed.py --preset quick --seconds 20

Passes without a backward pass in bfloat16, as samples are drawn, alternate between both; the ratio
of the medians is quoted.
"""

import argparse
import statistics
import time
from datetime import date

import torch
from torch import nn
from train_speed import trainer

from loang import device
from loang.networks.layers import GroupNorm

DETOUR = GroupNorm.forward


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=20)
    asked = parser.parse_args()

    subject = trainer(asked.preset, [])
    images = torch.randn(asked.batch, *subject.images.spec.shape)
    t = torch.full((asked.batch,), float(subject.denoiser.schedule.T) / 2)
    seconds: dict[str, list[float]] = {"native": [], "detour": []}
    start = time.perf_counter()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        while time.perf_counter() - start < asked.seconds:
            for name, found in seconds.items():
                GroupNorm.forward = DETOUR if name == "detour" else nn.GroupNorm.forward  # type: ignore[method-assign]
                began = time.perf_counter()
                subject.denoiser(images, t, None)
                found.append(time.perf_counter() - began)
    medians = {name: statistics.median(found[1:]) for name, found in seconds.items()}
    print(f"{date.today()}  torch {torch.__version__}")
    print(device.describe(torch.device("cpu"), torch.bfloat16))
    for name, median in medians.items():
        print(f"{name}: {asked.batch / median:.0f} images/s")
    print(f"ratio: {medians['native'] / medians['detour']:.2f}")


if __name__ == "__main__":
    main()
