"""Training objectives compared: the same network, images, budget and seeds, by distance and loss.

    python benchmarks/objectives.py --for 5m --seeds 0 1 2 --out objectives.csv
    python benchmarks/objectives.py --only v edm --set training.batch=32

Each run is the preset quick with a few settings changed, drawn in ten steps with DDIM and with the
ancestral walk, over the levels that are usual for its schedule (Karras's for EDM, even ones for the
rest), and measured as in sampler_quality.py; the better of the two stands as its distance. Runs of
different objectives alternate, seed by seed, so that what else the machine does strikes all of them
alike; a budget in images instead of minutes makes it strike none. Rows that stand in the CSV are
not measured again. With OMP_NUM_THREADS=1, two of these can run side by side on two cores, each
with its own objectives and CSV; `--summary CSV ...` then tells of all.
"""

import argparse
import shutil
from pathlib import Path

from judge import Judge, Table, learnt, ranked

import loang
from loang.config import SamplingSettings
from loang.model import Model

# What each is a change of, whatever the preset's own objective is.
PLAIN = [
    "schedule.kind=cosine",
    "denoiser.predicts=v",
    "training.levels=uniform",
    "training.stratified=false",
]
EDM = ["schedule.kind=edm", "denoiser.predicts=edm", "denoiser.deviation=0.7"]
FLOW = ["schedule.kind=flow", "denoiser.predicts=flow"]
LOGIT_NORMAL = ["training.levels=logit-normal"]
OBJECTIVES: dict[str, list[str]] = {
    "v": [],
    "eps": ["denoiser.predicts=eps"],
    "x0": ["denoiser.predicts=x0"],
    "v, min-snr": ["training.weighting=min-snr"],
    "v, p2": ["training.weighting=p2"],
    "v, stratified": ["training.stratified=true"],
    "v, immiscible": ["training.pairing=immiscible"],
    "v, logit-normal": LOGIT_NORMAL,
    "v, importance": ["training.levels=importance"],
    "v, self-conditioned": ["network.self_conditioning=true"],
    "eps, learned variance": ["denoiser.predicts=eps", "denoiser.learn_variance=true"],
    "edm": [*EDM, "training.weighting=edm", "training.levels=log-normal"],
    "edm, learned weight": [*EDM, "training.weighting=learned", "training.levels=log-normal"],
    "flow": FLOW,
    "flow, logit-normal": [*FLOW, *LOGIT_NORMAL],
    "flow, logit-normal, stratified": [*FLOW, *LOGIT_NORMAL, "training.stratified=true"],
}
KEYS = ("objective", "train_seed", "budget", "changes", "steps", "samples")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--for", dest="budget", default="5m", help="5m, or so many images")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=OBJECTIVES, default=list(OBJECTIVES))
    parser.add_argument("--set", nargs="*", default=[], help="KEY=VALUE, for all of them")
    parser.add_argument("--device", default="auto", help="that learns; whatever is best, draws")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("-n", "--count", type=int, default=5000)
    parser.add_argument("--out", type=Path, default=Path("objectives.csv"))
    parser.add_argument("--runs", type=Path, default=Path("runs/objectives"))
    parser.add_argument("--summary", type=Path, nargs="+", metavar="CSV", default=[])
    arguments = parser.parse_args()
    if arguments.summary:
        summary([row for path in arguments.summary for row in Table(path, KEYS).rows])
        return
    table = Table(arguments.out, KEYS)
    for seed in arguments.seeds:
        for name in arguments.only:
            row = {
                "objective": name,
                "train_seed": seed,
                "budget": arguments.budget,
                "changes": " ".join(arguments.set),
                "steps": arguments.steps,
                "samples": arguments.count,
            }
            if not table.has(row):
                table.add(measured(row, name, seed, arguments))
    summary(table.rows)


def measured(
    row: dict[str, object], name: str, seed: int, arguments: argparse.Namespace
) -> dict[str, object]:
    folder = arguments.runs / f"{name.replace(', ', '-').replace(' ', '-')}-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    run: Model = loang.train(
        preset="quick",
        budget=arguments.budget,
        seed=seed,
        device=arguments.device,
        changes=[*PLAIN, *OBJECTIVES[name], *arguments.set, "training.reports=1"],
        out=folder,
    )
    judge = Judge(folder, arguments.count, 0)
    spacing = "karras" if run.settings.schedule.kind == "edm" else "trailing"
    found = {"distance": float("inf")}
    for sampler in ("ddim", "ddpm"):
        way = SamplingSettings(sampler=sampler, steps=arguments.steps, spacing=spacing)
        seen = judge.distance(way)
        found |= {sampler: seen["distance"], f"{sampler}_error": seen["error"]}
        found["distance"] = min(found["distance"], seen["distance"])
    return row | found | judge.about() | learnt(run, arguments.device)


def summary(rows: list[dict[str, str]]) -> None:
    """Mean, and its standard error over the seeds, the best first."""
    for each in ranked(rows, "objective"):
        print(
            f"{each.name:24} {each.budget}: {each.mean():.3f} ± {each.error:.3f}"
            f" ({len(each.rows)} seeds; ddim {each.mean('ddim'):.3f}, ddpm"
            f" {each.mean('ddpm'):.3f}; {each.mean('trained_images'):,.0f} images)"
        )


if __name__ == "__main__":
    main()
