"""Whether a few hundred samples choose the guidance that thousands would.

    python benchmarks/guidance_choice.py runs/quick runs/long --counts 250 500 --seeds 3

What a run does when training is over (loang/training/scales.py), of each model by several seeds and
numbers of samples, always from guidance 3: which scale it takes, and in how many seconds. One row a
choice, as JSON lines.
"""

import argparse
import json
import time
from pathlib import Path

from loang.config import Settings
from loang.evaluation.real import real_images
from loang.model import Model
from loang.training import scales
from loang.training.monitor import Monitor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--counts", type=int, nargs="+", default=[250, 500])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--way", default="dpmpp-2m/8", help="SAMPLER/STEPS")
    arguments = parser.parse_args()
    sampler, steps = arguments.way.split("/")
    for path in arguments.models:
        model = Model.load(path)
        data = real_images(model, None, path)
        for count in arguments.counts:
            for seed in range(arguments.seeds):
                settings = changed(model, sampler, int(steps), count, seed)
                start = time.perf_counter()
                monitor = Monitor(data, settings)
                found = scales.choose(
                    Model(model.denoiser, model.spec, settings, model.facts), monitor
                )
                row = {
                    "model": path.name,
                    "trained_images": model.facts.get("images"),
                    "samples": count,
                    "seed": seed,
                    "best": found.best,
                    "scores": {f"{scale:g}": round(s.value, 4) for scale, s in found.scores},
                    "seconds": round(time.perf_counter() - start, 1),
                }
                print(json.dumps(row), flush=True)


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
