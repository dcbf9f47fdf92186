"""A run that goes on for longer, beside one that was asked for all of it at first.

    OMP_NUM_THREADS=1 python benchmarks/longer.py --images 26400 --out longer.csv

Preset quick for so many images; the same gone on with for twice as many in all; and a run of twice
as many at once. Each is drawn from as in recipe.py, without guidance and with, and measured as in
sampler_quality.py. Rows that stand in the CSV are not measured again.
"""

import argparse
import shutil
from pathlib import Path
from typing import Any

from distill import way
from judge import Judge, Table, learnt
from recipe import WAYS

import loang

KEYS = ("run", "images", "train_seed", "samples")
ONCE, LONGER, AT_ONCE = "short", "short, then longer", "all at once"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=26_400, help="of the short run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("-n", "--count", type=int, default=2000)
    parser.add_argument("--runs", type=Path, default=Path("runs/longer"))
    parser.add_argument("--out", type=Path, default=Path("longer.csv"))
    arguments = parser.parse_args()
    table, runs, images = Table(arguments.out, KEYS), arguments.runs, arguments.images
    for name in (ONCE, LONGER, AT_ONCE):
        seen = images * (1 if name == ONCE else 2)
        row = {
            "run": name,
            "images": seen,
            "train_seed": arguments.seed,
            "samples": arguments.count,
        }
        if table.has(row):
            continue
        folder = runs / name.replace(", ", "-").replace(" ", "-")
        shutil.rmtree(folder, ignore_errors=True)
        asked: dict[str, Any] = {"preset": "quick", "seed": arguments.seed}
        if name == LONGER:
            shutil.copytree(runs / ONCE, folder)
            asked = {"resume": True}
        model = loang.train(
            out=folder,
            budget=f"{seen} images",
            device=arguments.device,
            changes=["evaluation.guidance_samples=0"],
            **asked,
        )
        judge = Judge(folder, arguments.count, 0)
        found: dict[str, Any] = {}
        for kind, text in zip(("distance", "guided"), WAYS, strict=True):
            measured = judge.distance(way(text))
            found |= {kind: measured["distance"], f"{kind}_error": measured["error"]}
        table.add(row | found | judge.about() | learnt(model, arguments.device))


if __name__ == "__main__":
    main()
