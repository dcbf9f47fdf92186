"""Which padding is best for images that the network can't halve: zeros, edges or reflections.

    python benchmarks/padding.py --size 27 30 --steps 600 --seed 0
    python benchmarks/padding.py --size 25 25 --set network.multipliers=1,2,2 network.attention=[2]

Networks of the preset quick that start alike learn the same images in turns, each with another
padding. Held-out losses of their averages: over all pixels, in a border two pixels wide, and
inside. Sides below 28 are cut out of the middle of Fashion-MNIST's images, longer ones are filled
up with black. Prints JSON.
"""

import argparse
import json
import platform
from collections.abc import Callable
from dataclasses import replace
from datetime import date

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

import loang
from loang import parameterization, presets, process
from loang.build import build_denoiser
from loang.config import changed
from loang.data import Images, open_dataset
from loang.data.scaling import to_model
from loang.networks import unet
from loang.process import like
from loang.training.trainer import Trainer

MODES = {"zeros": "constant", "edges": "replicate", "reflections": "reflect"}
BORDER, HELD_OUT, AT_ONCE = 2, 2000, 250


def resized(images: Images, count: int, height: int, width: int) -> Images:
    pixels = images[np.arange(count)]
    for axis, side in ((1, height), (2, width)):
        spare = side - pixels.shape[axis]
        low = abs(spare) // 2
        if spare > 0:
            margins = [(0, 0)] * 4
            margins[axis] = (low, spare - low)
            pixels = np.pad(pixels, margins)
        else:
            pixels = np.take(pixels, np.arange(low, low + side), axis)
    spec = replace(images.spec, height=height, width=width)
    labels = None if images.labels is None else images.labels[:count]
    return Images(pixels, spec, labels)


def padding(mode: str) -> Callable[[Tensor, int], Tensor]:
    def padded(x: Tensor, multiple: int) -> Tensor:
        height, width = (-side % multiple for side in x.shape[2:])
        margins = (width // 2, width - width // 2, height // 2, height - height // 2)
        return functional.pad(x, margins, mode=mode)

    return padded


@torch.no_grad()
def losses(trainer: Trainer, images: Images) -> dict[str, float]:
    denoiser, schedule = trainer.denoiser.eval(), trainer.denoiser.schedule
    height, width = images.spec.height, images.spec.width
    total = torch.zeros(height, width, dtype=torch.float64)
    for start in range(0, len(images), AT_ONCE):
        numbers = torch.arange(start, start + AT_ONCE)
        x0 = to_model(images[numbers.numpy()], images.spec)
        t, eps = trainer.noise("validation", 0, numbers)
        signal, noise = like(schedule.signal(t), x0), like(schedule.noise(t), x0)
        target = parameterization.target(denoiser.kind, x0, eps, signal, noise)
        label = torch.from_numpy(images.labels[numbers.numpy()])
        answer = denoiser.predict(process.diffuse(schedule, x0, t, eps), t, label)
        total += (answer - target).square().double().sum((0, 1))
    mean = total / len(images)
    inside = torch.zeros(height, width, dtype=torch.bool)
    inside[BORDER:-BORDER, BORDER:-BORDER] = True
    found = {"all": mean.mean(), "border": mean[~inside].mean(), "inside": mean[inside].mean()}
    return {name: round(float(loss), 5) for name, loss in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, nargs=2, default=(27, 30))
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", nargs="+", default=[], help="other settings than the preset's")
    asked = parser.parse_args()

    dataset = open_dataset("fashion-mnist")
    train = resized(dataset.train, len(dataset.train), *asked.size)
    held_out = resized(dataset.validation, HELD_OUT, *asked.size)
    changes = [f"training.seed={asked.seed}", "training.precision=float32", *asked.set]
    settings = changed(presets.preset("quick"), changes)
    trainers = {
        mode: Trainer(build_denoiser(settings, train.spec), train, settings, torch.device("cpu"))
        for mode in MODES
    }
    for step in range(asked.steps):
        for mode, trainer in trainers.items():
            unet.padded = padding(MODES[mode])
            trainer.step(step / asked.steps)
    found = {}
    for mode, trainer in trainers.items():
        unet.padded = padding(MODES[mode])
        with trainer.averaged():
            found[mode] = losses(trainer, held_out)
    report = {
        "loss": found,
        "size": "x".join(map(str, asked.size)),
        "steps": asked.steps,
        "seed": asked.seed,
        "settings": asked.set,
        "date": str(date.today()),
        "hardware": f"CPU ({torch.backends.cpu.get_cpu_capability()})",
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {"loang": loang.__version__, "torch": torch.__version__},
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
