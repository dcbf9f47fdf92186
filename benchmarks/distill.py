"""How good a distilled model's few steps are beside its teacher's few and many.

    loang train --out runs/quick
    loang distill runs/quick --out runs/quick-2-steps
    python benchmarks/distill.py runs/quick runs/quick-2-steps --out distill.csv

Each row is the squared Fréchet distance of 5,000 samples to 10,000 training images, always from the
same noises and labels: the teacher by DDIM in the steps asked for, each student in its own. A row
that stands in the CSV is not measured again.
"""

import argparse
from pathlib import Path

from judge import Judge, Table

from loang.config import SamplingSettings

KEYS = ("model", "sampler", "steps", "samples", "seed")


def measure(arguments: argparse.Namespace) -> None:
    table = Table(arguments.out, KEYS)
    teacher, *students = arguments.models
    ways = [SamplingSettings(sampler="ddim", steps=steps) for steps in arguments.steps]
    for path in (teacher, *students):
        judge = Judge(path, arguments.count, arguments.seed, arguments.features)
        about, floor = judge.about(), round(judge.floor(), 4)
        facts = judge.model.facts
        for way in ways if path == teacher else [judge.model.settings.sampling]:
            row = {
                "run": path.name,
                "sampler": way.sampler,
                "steps": way.steps,
                "trained_images": facts.get("images"),
                "trained_seconds": facts.get("seconds"),
            }
            if not table.has(row | about):
                table.add(row | judge.distance(way) | {"floor": floor} | about)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", type=Path, nargs="+", help="the teacher, then its students")
    parser.add_argument("--steps", type=int, nargs="*", default=[2, 4, 10, 20, 50])
    parser.add_argument("--count", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--features", default="auto")
    parser.add_argument("--out", type=Path, default=Path("distill.csv"))
    measure(parser.parse_args())


if __name__ == "__main__":
    main()
