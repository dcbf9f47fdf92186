"""The preset quick with some of it changed, by distance after the same time.

    python benchmarks/recipe.py --for 5m --seeds 0 1 --only before "width 64" --out recipe.csv
    python benchmarks/recipe.py --summary recipe.csv

Each run is drawn from in six evaluations, without guidance and with, and measured as in
sampler_quality.py. Rows that stand in the CSV are not measured again. With OMP_NUM_THREADS=1, two
of these can run side by side on two cores, each with its own recipes and CSV; `--summary CSV ...`
then tells of all.
"""

import argparse
import shutil
from pathlib import Path

from distill import way
from judge import Judge, Table, learnt, ranked

import loang

ONES = ["network.group_channels=4"]
BEFORE = [
    *(*ONES, "training.batch=16", "network.width=48"),
    *("optimizer.learning_rate=1e-3", "optimizer.kind=adamw"),
]
"""The recipe that the search began with; each of the others changes it."""
RECIPES: dict[str, list[str]] = {
    "before": [],
    "groups of 16": ["network.group_channels=16"],
    "groups of 48": ["network.group_channels=48"],
    "batch 8": ["training.batch=8"],
    "batch 32": ["training.batch=32"],
    "batch 32, rate 2e-3": ["training.batch=32", "optimizer.learning_rate=2e-3"],
    "rate 5e-4": ["optimizer.learning_rate=5e-4"],
    "rate 2e-3": ["optimizer.learning_rate=2e-3"],
    "rate falls from the start": ["optimizer.decay_from=0"],
    "rate falls from 0.6": ["optimizer.decay_from=0.6"],
    "width 24": ["network.width=24"],
    "width 32": ["network.width=32"],
    "width 64": ["network.width=64"],
    "three levels": ["network.multipliers=[1,2,2]", "network.attention=[1,2]"],
    "wider below": ["network.multipliers=[1,3]"],
    "no attention but in the middle": ["network.attention=[]"],
    "two blocks": ["network.blocks=2"],
    "average over less": ["ema.length=0.05"],
    "average over more": ["ema.length=0.15"],
    "flips": ["data.flips=true"],
    "labels hidden less": ["training.label_dropout=0.05"],
    "second moment over more": ["optimizer.betas=[0.9,0.999]"],
    "muon": ["optimizer.kind=muon"],
}
WAYS = ("dpmpp-2m-sde/6", "dpmpp-2m-sde/6/2/0.2:5")
KEYS = ("recipe", "changes", "train_seed", "budget", "samples")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--for", dest="budget", default="5m", help="5m, or so many images")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--only", nargs="+", metavar="RECIPE", default=list(RECIPES))
    parser.add_argument("--set", nargs="*", default=[], help="KEY=VALUE, for all of them")
    parser.add_argument("--device", default="auto", help="that learns; whatever is best, draws")
    parser.add_argument("-n", "--count", type=int, default=5000)
    parser.add_argument("--out", type=Path, default=Path("recipe.csv"))
    parser.add_argument("--runs", type=Path, default=Path("runs/recipe"))
    parser.add_argument("--summary", type=Path, nargs="+", metavar="CSV", default=[])
    arguments = parser.parse_args()
    if arguments.summary:
        summary([row for path in arguments.summary for row in Table(path, KEYS).rows])
        return
    table = Table(arguments.out, KEYS)
    for seed in arguments.seeds:
        for name in arguments.only:
            changes = [*BEFORE, *RECIPES[name], *arguments.set]
            row = {
                "recipe": name,
                "changes": " ".join(changes),
                "train_seed": seed,
                "budget": arguments.budget,
                "samples": arguments.count,
            }
            if not table.has(row):
                table.add(row | measured(name, changes, seed, arguments))
    summary(table.rows)


def measured(
    name: str, changes: list[str], seed: int, arguments: argparse.Namespace
) -> dict[str, object]:
    folder = arguments.runs / f"{name.replace(', ', '-').replace(' ', '-')}-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    run = loang.train(
        preset="quick",
        budget=arguments.budget,
        seed=seed,
        device=arguments.device,
        changes=[*changes, "training.reports=1"],
        out=folder,
    )
    judge = Judge(folder, arguments.count, 0)
    found: dict[str, object] = {}
    for kind, text in zip(("distance", "guided"), WAYS, strict=True):
        seen = judge.distance(way(text))
        found |= {kind: seen["distance"], f"{kind}_error": seen["error"]}
    return found | judge.about() | learnt(run, arguments.device)


def summary(rows: list[dict[str, str]]) -> None:
    """Means, and the standard error over the seeds, the best first."""
    for each in ranked(rows, "recipe"):
        print(
            f"{each.name:32} {each.budget}: {each.mean():.3f} ± {each.error:.3f}; guided"
            f" {each.mean('guided'):.3f} ({len(each.rows)} seeds;"
            f" {each.mean('trained_images'):,.0f} images)"
        )


if __name__ == "__main__":
    main()
