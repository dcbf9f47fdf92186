"""Whether a few hundred samples choose the guidance that thousands would.

    python benchmarks/guidance_choice.py runs/quick runs/long --counts 250 500 --seeds 3 \
        --out guidance-choice.csv

What a run does when training is over (loang/training/guiding.py), of each model by several seeds
and numbers of samples, always from guidance 3: which scale it takes, and in how many seconds. One
row a choice.
"""

import argparse
import platform
import time
from datetime import date
from pathlib import Path

import torch
from judge import Table

import loang
from loang import device
from loang.config import Settings
from loang.evaluation.real import real_images
from loang.identity import weights_digest
from loang.model import Model
from loang.training import guiding
from loang.training.monitor import Monitor

KEYS = ("model", "samples", "seed", "sampler", "steps")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--counts", type=int, nargs="+", default=[250, 500])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--way", default="dpmpp-2m/8", help="SAMPLER/STEPS")
    parser.add_argument("--out", type=Path, default=Path("guidance-choice.csv"))
    arguments = parser.parse_args()
    table = Table(arguments.out, KEYS)
    sampler, steps = arguments.way.split("/")
    for path in arguments.models:
        model = Model.load(path)
        data = real_images(model, None, path)
        dtype = device.autocast_type(model.device, model.settings.training.precision)
        for count in arguments.counts:
            for seed in range(arguments.seeds):
                row: dict[str, object] = {
                    "model": weights_digest(model)[:12],
                    "trained_images": model.facts.get("images"),
                    "sampler": sampler,
                    "steps": steps,
                    "samples": count,
                    "seed": seed,
                }
                if table.has(row):
                    continue
                settings = changed(model, sampler, int(steps), count, seed)
                start = time.perf_counter()
                monitor = Monitor(data, settings)
                found = guiding.choose(
                    Model(model.denoiser, model.spec, settings, model.facts), monitor
                )
                row["seconds"] = round(time.perf_counter() - start, 1)
                row["best"] = f"{found.best:g}"
                row["scores"] = " ".join(f"{scale:g}:{s.value:.4f}" for scale, s in found.scores)
                row |= {
                    "features": monitor.space.name,
                    "machine": device.describe(model.device, dtype),
                    "loang": loang.__version__,
                    "torch": torch.__version__,
                    "python": platform.python_version(),
                    "date": date.today().isoformat(),
                }
                table.add(row)


def changed(model: Model, sampler: str, steps: int, count: int, seed: int) -> Settings:
    """The model's settings, sampled so, from guidance 3."""
    own = model.settings
    interval = (0.2, 5.0)
    walk = {"sampler": sampler, "steps": steps, "guidance": 3.0, "guidance_interval": interval}
    return own.model_copy(
        update={
            "sampling": own.sampling.model_copy(update=walk),
            "training": own.training.model_copy(update={"seed": seed}),
            "evaluation": own.evaluation.model_copy(update={"guidance_samples": count}),
        }
    )


if __name__ == "__main__":
    main()
