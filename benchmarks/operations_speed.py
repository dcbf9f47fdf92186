"""What `loang.networks.operations` saves: whole networks with and without it.

    python benchmarks/operations_speed.py --preset quick --seconds 30

Steps of training, and passes as samples are drawn, in bfloat16 on the CPU. Both ways alternate; the
ratio of the medians is quoted. On the way it names what else is asked: `--batch` for training.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from datetime import date

import torch
from torch import Tensor
from train_speed import trainer

from loang import device
from loang.networks import operations

FAST = operations._slow


def torchs_own(x: Tensor) -> bool:
    return False


def alternated(name: str, images: int, run: Callable[[], object], seconds: float) -> None:
    taken: dict[str, list[float]] = {"torch's own": [], "loang's": []}
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        for way, found in taken.items():
            operations._slow = FAST if way == "loang's" else torchs_own
            began = time.perf_counter()
            run()
            found.append(time.perf_counter() - began)
    native, fast = (statistics.median(found[1:] or found) for found in taken.values())
    rounds = len(taken["loang's"])
    print(
        f"{name}: {images / native:.1f} images/s with torch's own, {images / fast:.1f} here:"
        f" {native / fast:.2f} times as fast ({rounds} rounds)",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--batch", type=int, help="of a step of training; the preset's")
    parser.add_argument("--drawn", type=int, default=64, help="images in a pass")
    parser.add_argument("--seconds", type=float, default=30, help="for each of the two")
    asked = parser.parse_args()

    changes = ["training.precision=bfloat16"]
    if asked.batch:
        changes.append(f"training.batch={asked.batch}")
    subject = trainer(asked.preset, changes)
    batch = subject.settings.training.batch
    print(f"{date.today()}  torch {torch.__version__}, {asked.preset}")
    print(device.describe(torch.device("cpu"), torch.bfloat16))
    alternated(
        f"training, batch {batch}", batch, lambda: float(subject.step(0.0).loss), asked.seconds
    )
    images = torch.randn(asked.drawn, *subject.images.spec.shape)
    t = torch.full((asked.drawn,), float(subject.denoiser.schedule.T) / 2)
    subject.denoiser.eval()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        alternated(
            f"passes of {asked.drawn}",
            asked.drawn,
            lambda: subject.denoiser(images, t, None),
            asked.seconds,
        )


if __name__ == "__main__":
    main()
