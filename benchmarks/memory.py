"""How much memory `loang train --dry-run` announces, against what a run then takes.

    python benchmarks/memory.py

For each case a process says what it would take, and another one trains some steps, draws its
samples and ends; the kernel tells the most that it held. Prints JSON.
"""

import argparse
import json
import platform
import re
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

import numpy as np
import torch

import loang

CASES = {
    "quick": [],
    "quick, batch 256": ["--set", "training.batch=256"],
    "quick, batch 1,024": ["--set", "training.batch=1024"],
    "quick, batch 1,024, 64 at once": [
        *("--set", "training.batch=1024", "--set", "training.micro_batch=64")
    ],
    "quick, 128x128": ["--size", "128"],
    "quick, 128x128, batch 64": ["--size", "128", "--set", "training.batch=64"],
    "quick, width 128, batch 64": ["--set", "network.width=128", "--set", "training.batch=64"],
    "tutorial, batch 16": ["--preset", "tutorial", "--set", "training.batch=16"],
    "tutorial, batch 64": ["--preset", "tutorial", "--set", "training.batch=64"],
    "ddpm-cifar10, batch 16": ["--preset", "ddpm-cifar10", "--set", "training.batch=16"],
}
FEW = ["--set", "sampling.steps=5", "--set", "training.reports=1"]


def run(arguments: list[str]) -> tuple[str, int]:
    """What a `loang` prints, and the most bytes that it held."""
    code = (
        "import resource, sys\nfrom loang.cli import main\n"
        "try:\n    main()\nfinally:\n"
        "    print('HELD', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    unit = 1 if sys.platform == "darwin" else 1024
    return ended.stdout, unit * int(re.search(r"HELD (\d+)", ended.stdout)[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        images = Path(place) / "images.npy"
        np.save(images, np.random.default_rng(0).integers(0, 256, (300, 32, 32), np.uint8))
        report(images, asked)


def report(images: Path, asked: argparse.Namespace) -> None:
    found = {}
    for name in asked.only:
        arguments = ["train", str(images), *CASES[name], *FEW]
        said, _ = run([*arguments, "--dry-run"])
        announced = float(re.search(r"about ([\d.]+) GB of memory", said)[1])
        batch = int(re.search(r"training.batch = (\d+)", said)[1])
        with tempfile.TemporaryDirectory() as place:
            length = ["--images", str(asked.steps * batch), "--out", f"{place}/run"]
            _, held = run([*arguments, *length])
        found[name] = {
            "announced GB": announced,
            "held GB": round(held / 1e9, 2),
            "announced / held": round(announced / held * 1e9, 2),
        }
        print(name, found[name], file=sys.stderr)
    about = {
        "date": str(date.today()),
        "hardware": f"CPU ({torch.backends.cpu.get_cpu_capability()})",
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {"loang": loang.__version__, "torch": torch.__version__},
    }
    print(json.dumps({"cases": found, **about}, indent=1))


if __name__ == "__main__":
    main()
