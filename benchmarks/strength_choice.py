"""How far a student's samples are by the strength of its labels, and which one a run would take.

    python benchmarks/strength_choice.py runs/quick-2-steps --strengths 1 0.95 0.9 --out far.csv
    python benchmarks/strength_choice.py runs/quick-2-steps --counts 250 500 --out taken.csv

With --strengths a row is the distance of --count samples, always of the same noise and labels. With
--counts it is what a run does when training is over (loang/training/strengths.py): which strength
it takes by so many samples of another seed, and in how many seconds. 1 is what was learnt, also of
a model whose run has taken another.
"""

import argparse
import time
from pathlib import Path

from judge import Judge, Table

from loang.data.images import Dataset
from loang.model import Model
from loang.training import strengths
from loang.training.monitor import Monitor
from loang.training.strengths import by

KEYS = ("model", "strength", "samples", "seed")


def measure(judge: Judge, about: dict[str, object], factors: list[float], table: Table) -> None:
    """The distance of each strength."""
    codes = judge.model.denoiser.network.get_parameter(strengths.CODES)
    learnt, floor = codes.data, round(judge.floor(), 4)
    for factor in factors:
        row = {"strength": f"{factor:g}", "trained_images": judge.model.facts.get("images")}
        codes.data = by(learnt, factor)
        if not table.has(row | about):
            sampling = judge.model.settings.sampling
            table.add(row | judge.distance(sampling) | {"floor": floor} | about)
    codes.data = learnt


def choose(model: Model, data: Dataset, about: dict[str, object], table: Table) -> None:
    """What a run takes by so many samples of that seed."""
    row = {"strength": "", "trained_images": model.facts.get("images")}
    if table.has(row | about):
        return
    own, seed = model.settings, about["seed"]
    settings = own.model_copy(
        update={
            "training": own.training.model_copy(update={"seed": seed}),
            "distillation": own.distillation.model_copy(update={"label_samples": about["samples"]}),
        }
    )
    start = time.perf_counter()
    found = strengths.choose(
        Model(model.denoiser, model.spec, settings, model.facts), Monitor(data, settings)
    )
    seconds = round(time.perf_counter() - start, 1)
    scores = " ".join(f"{factor:g}:{score.value:.4f}" for factor, score in found.scores)
    table.add(row | {"taken": f"{found.best:g}", "scores": scores, "seconds": seconds} | about)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path, help="a student that knows labels")
    either = parser.add_mutually_exclusive_group(required=True)
    either.add_argument("--strengths", type=float, nargs="+", default=[])
    either.add_argument("--counts", type=int, nargs="+", default=[])
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("strength-choice.csv"))
    asked = parser.parse_args()
    table = Table(asked.out, KEYS)
    judge = Judge(asked.model, asked.count, 0)
    known = judge.about()
    codes = judge.model.denoiser.network.get_parameter(strengths.CODES)
    codes.data = by(codes.data, 1 / judge.model.facts.get("label_strength", 1))
    measure(judge, known, asked.strengths, table)
    for count in asked.counts:
        for seed in range(asked.seeds):
            about = known | {"samples": count, "seed": seed}
            choose(judge.model, judge.data, about, table)


if __name__ == "__main__":
    main()
