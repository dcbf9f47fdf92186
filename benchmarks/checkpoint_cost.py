"""What saving costs training: with everything written at once, and with a thread that writes.

    python benchmarks/checkpoint_cost.py --preset quick --batch 16
    python benchmarks/checkpoint_cost.py --preset ddpm-cifar10 --batch 2 --saves 5

In each round some steps run alone; then a checkpoint and the model file are written while training
waits, as it was before there was a thread; then a save begins in the thread, and steps run while it
writes. A stall is what training waits for; with the thread it also includes by how much the steps
beside the writing are slower than those alone. Prints JSON, with the size on the disk against four
numbers of four bytes a parameter, which is all that there is to keep.
"""

import argparse
import json
import platform
import statistics
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np
import torch

import loang
from loang import presets
from loang.build import build_denoiser
from loang.config import changed
from loang.data import Images, ImageSpec
from loang.model import Model
from loang.training import checkpoint
from loang.training.saver import Saver
from loang.training.trainer import Trainer


def timed(trainer: Trainer) -> float:
    start = time.perf_counter()
    trainer.step(0.0)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--preset", default="quick", choices=presets.PRESETS)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--saves", type=int, default=15)
    parser.add_argument("--steps", type=int, default=5, help="alone, in each round")
    asked = parser.parse_args()

    settings = changed(presets.preset(asked.preset), [f"training.batch={asked.batch}"])
    spec = ImageSpec(32, 32, settings.data.channels or 1)
    pixels = np.random.default_rng(0).integers(0, 256, (64, 32, 32, spec.channels), np.uint8)
    trainer = Trainer(
        build_denoiser(settings, spec), Images(pixels, spec), settings, torch.device("cpu")
    )
    model = Model(trainer.denoiser, spec, settings)
    for _ in range(3):
        trainer.step(0.0)

    step, at_once, begin, beside = [], [], [], []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        saver = Saver(folder / "thread", keep=2)
        for number in range(1, asked.saves + 1):
            alone = statistics.median(timed(trainer) for _ in range(asked.steps))
            step.append(alone)

            start = time.perf_counter()
            checkpoint.save(folder / "waiting", number, trainer.checkpoint({}))
            checkpoint.rotate(folder / "waiting", keep=2)
            model.save(folder / "waiting.safetensors", trainer.ema.tensors)
            at_once.append(time.perf_counter() - start)

            start = time.perf_counter()
            saver.save(
                number,
                trainer.checkpoint({}),
                lambda weights: model.save(folder / "thread.safetensors", weights),
            )
            begin.append(time.perf_counter() - start)
            slower = 0.0
            while saver.busy:
                slower += timed(trainer) - alone
            beside.append(max(slower, 0.0))
            saver.wait()
            assert not saver.failures()
        files = (folder / "thread" / f"step-{asked.saves:08d}").iterdir()
        size = sum(file.stat().st_size for file in files)

    parameters = sum(parameter.numel() for parameter in trainer.denoiser.parameters())
    usual = statistics.median(step)
    stalls = {
        "written at once": statistics.median(at_once),
        "thread: until it begins": statistics.median(begin),
        "thread: with slower steps": statistics.median(map(sum, zip(begin, beside, strict=True))),
    }
    report = {
        "preset": asked.preset,
        "batch": asked.batch,
        "parameters": parameters,
        "step, ms": round(1e3 * usual, 1),
        "stall, ms": {name: round(1e3 * stall, 1) for name, stall in stalls.items()},
        "stall, steps": {name: round(stall / usual, 2) for name, stall in stalls.items()},
        "bytes": size,
        "bytes / least possible": round(size / (16 * parameters), 4),
        "saves": asked.saves,
        "date": str(date.today()),
        "hardware": f"CPU ({torch.backends.cpu.get_cpu_capability()})",
        "system": f"{platform.system()} {platform.machine()}",
        "threads": torch.get_num_threads(),
        "versions": {"loang": loang.__version__, "torch": torch.__version__},
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
