"""Make tests/fixtures/models/format-N and tests/fixtures/runs/format-N for the formats of today.

    python scripts/make_format_fixtures.py

It takes some seconds. Run it once for each new format, and commit what it writes: from then on the
tests read it with every later loang. What is there already is never changed.

A model file is of a tiny network whose weights are drawn from seed 0, not trained; beside it stand
the numbers that its sampler gives for two samples of seed 0, before they become pixels. A run is
of such a network and 40 images that are kept beside it, stopped at step 2 of 4.
"""

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch

import loang
from loang import build, model_file, presets
from loang.config import changed
from loang.data import ImageSpec
from loang.model import Model
from loang.training import checkpoint, folder

FIXTURES = Path(__file__).resolve().parents[1] / "tests" / "fixtures"
TINY = (
    "network.width=4",
    "network.multipliers=[1]",
    "network.attention=[0]",
    "network.heads=2",
    "network.blocks=1",
    "schedule.steps=40",
    "sampling.steps=8",
    "training.batch=16",
    "training.reports=2",
    "training.keep=9",
    "training.device=cpu",
    "training.precision=float32",
)


def make_model(place: Path) -> None:
    spec = ImageSpec(8, 12, 1, class_names=("boot", "túi"))
    settings = changed(presets.quick(), [*TINY, "network.multipliers=1,1"])
    denoiser = build.build_denoiser(settings, spec)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():  # a fresh network answers 0 everywhere
        for weight in denoiser.parameters():
            weight += 0.05 * torch.randn(weight.shape, generator=generator)
    facts = {"loang": loang.__version__, "data": "nothing", "steps": 0, "loss": None}
    model = Model(denoiser, spec, settings, facts)
    model.save(place)
    *_, last = model.walk(range(2), seed=0)
    np.save(place.with_suffix(".npy"), last.x.numpy(), allow_pickle=False)


def make_run(place: Path) -> None:
    images = np.random.Generator(np.random.Philox(0)).integers(0, 256, (40, 8, 8), np.uint8)
    with tempfile.TemporaryDirectory() as temporary:
        os.chdir(temporary)  # so that the fixture names no place of this machine
        np.save("images.npy", images, allow_pickle=False)
        smaller = [*TINY, "network.modulate=false"]  # its checkpoint has four times its weights
        loang.train("images.npy", out="run", budget="64 images", changes=smaller)
        place.mkdir(parents=True)
        shutil.copy("images.npy", place)
        shutil.copytree("run/checkpoints/step-00000002", place / "checkpoints/step-00000002")
        for name in ("config.json", "log.jsonl"):
            shutil.copy(Path("run", name), place)


def main() -> None:
    torch.set_num_threads(1)
    model = FIXTURES / "models" / f"format-{model_file.FORMAT}.safetensors"
    model.parent.mkdir(exist_ok=True)
    run = FIXTURES / "runs" / f"format-{max(checkpoint.FORMAT, folder.FORMAT)}"
    for place, make in ((model, make_model), (run, make_run)):
        if place.exists():
            print(f"{place} is there already, and stays as it is")
        else:
            make(place)
            print(f"made {place}")


if __name__ == "__main__":
    main()
