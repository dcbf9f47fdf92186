"""Few images of a new kind: from fresh weights, and from those of a model of other kinds.

    OMP_NUM_THREADS=1 python benchmarks/start_from.py --out start-from.csv
    python benchmarks/start_from.py --summary start-from.csv

The first model, preset quick, learns all classes of Fashion-MNIST but one. Of that one, so many
images without labels are then learnt, for so many images seen and at several rates. The distance
is that of samples, drawn as the preset draws unlabelled images, from other images of the class.
Rows that stand in the CSV are not measured again.
"""

import argparse
import platform
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from judge import Table, learnt

import loang
from loang.data import open_dataset
from loang.metrics import features
from loang.metrics.frechet import frechet_distance

KEYS = ("start", "class", "images", "budget", "rate", "train_seed", "samples")
SPACE = "fashion-v1"
FRESH = "fresh weights"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--class", dest="left_out", type=int, default=8, help="left out: 8, bags")
    parser.add_argument("--first", default="26400 images", help="what the first model learns")
    parser.add_argument("--images", type=int, default=200, help="of the new class")
    parser.add_argument("--for", dest="budgets", nargs="+", default=["2000 images", "6000 images"])
    parser.add_argument("--rates", nargs="+", type=float, default=[1e-3, 5e-4, 2e-4])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("-n", "--count", type=int, default=1000)
    parser.add_argument("--runs", type=Path, default=Path("runs/start-from"))
    parser.add_argument("--out", type=Path, default=Path("start-from.csv"))
    parser.add_argument("--summary", type=Path, metavar="CSV")
    arguments = parser.parse_args()
    table = Table(arguments.summary or arguments.out, KEYS)
    if arguments.summary is None:
        measure(table, arguments)
    for row in table.rows:
        print(
            f"{row['start']:16} {row['images']} images, {row['budget']:>13}, rate {row['rate']}:"
            f" {float(row['distance']):.3f} ± {float(row['error']):.3f}, floor"
            f" {float(row['floor']):.3f}"
        )


def measure(table: Table, arguments: argparse.Namespace) -> None:
    """Every row that is not there yet."""
    runs, left_out = arguments.runs, arguments.left_out
    runs.mkdir(parents=True, exist_ok=True)
    dataset = open_dataset("fashion-mnist")
    data = dataset.train
    assert data.labels is not None
    other = np.flatnonzero(data.labels != left_out)
    own = np.flatnonzero(data.labels == left_out)
    few, rest = own[: arguments.images], own[arguments.images :]
    np.savez(runs / "few.npz", images=data[few])
    first = runs / "first"
    if not (first / "model.safetensors").exists():
        np.savez(runs / "others.npz", images=data[other], labels=data.labels[other])
        loang.train(runs / "others.npz", out=first, budget=arguments.first, device=arguments.device)
    space = features.named(SPACE, dataset)
    reference = space(data[rest[arguments.count :]], data.spec)
    floor = frechet_distance(space(data[rest[: arguments.count]], data.spec), reference)
    for seed in arguments.seeds:
        for budget in arguments.budgets:
            for rate in arguments.rates:
                for start in (FRESH, "another model"):
                    row: dict[str, Any] = {
                        "start": start,
                        "class": left_out,
                        "images": arguments.images,
                        "budget": budget,
                        "rate": f"{rate:g}",
                        "train_seed": seed,
                        "samples": arguments.count,
                    }
                    if table.has(row):
                        continue
                    model = loang.train(
                        runs / "few.npz",
                        out=runs / "run",
                        overwrite=True,
                        budget=budget,
                        seed=seed,
                        device=arguments.device,
                        start_from=None if start == FRESH else first,
                        changes=[f"optimizer.learning_rate={rate}", "training.reports=1"],
                    )
                    pixels = model.sample(arguments.count, batch=250)
                    found = frechet_distance(space(pixels, model.spec), reference)
                    table.add(
                        row
                        | {
                            "distance": round(found.value, 4),
                            "error": round(found.error or 0.0, 4),
                            "floor": round(floor.value, 4),
                        }
                        | learnt(model, arguments.device)
                        | about()
                    )


def about() -> dict[str, Any]:
    """What stands beside every number."""
    return {
        "features": SPACE,
        "loang": loang.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "date": date.today().isoformat(),
    }


if __name__ == "__main__":
    main()
