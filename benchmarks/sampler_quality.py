"""How good a model's samples are by sampler, spacing and evaluations of the network.

    loang train --out runs/quick
    python benchmarks/sampler_quality.py runs/quick --out samplers.csv
    python benchmarks/sampler_quality.py --chart samplers.csv samplers.png

Each cell of the table draws the same 5,000 noises and labels, and is the squared Fréchet distance
to 10,000 training images. Heun's method takes two evaluations a step and one at the last, so its
number of steps is what comes nearest from below. A row that stands in the CSV is not measured
again: the table can be stopped and gone on with.
"""

import argparse
from pathlib import Path

from judge import Judge, Table

from loang.config import SamplingSettings

SAMPLERS = (
    "ddpm",
    "ddim",
    "heun",
    "dpmpp-2m",
    "dpmpp-3m",
    "dpmpp-2m-sde",
    "unipc",
    "deis",
    "ipndm",
    "euler",
    "euler-ancestral",
)
EVALUATIONS = (4, 6, 8, 10, 12, 15, 20, 50)
KEYS = ("model", "sampler", "variance", "spacing", "evaluations", "samples", "seed")


def steps_of(sampler: str, evaluations: int) -> int:
    """The steps that take so many evaluations, or as few less as can be."""
    return (evaluations + 1) // 2 if sampler == "heun" else evaluations


def measure(arguments: argparse.Namespace) -> None:
    judge = Judge(arguments.model, arguments.count, arguments.seed, arguments.features)
    table = Table(arguments.out, KEYS)
    about, floor = judge.about(), round(judge.floor(), 4)
    print(f"floor, real images against real images: {floor}")
    for evaluations in arguments.evaluations:
        for sampler in arguments.samplers:
            for spacing in arguments.spacings:
                way = SamplingSettings(
                    sampler=sampler,
                    steps=steps_of(sampler, evaluations),
                    spacing=spacing,
                    variance=arguments.variance,
                )
                row = {
                    "sampler": sampler,
                    "variance": arguments.variance if sampler == "ddpm" else "",
                    "spacing": spacing,
                    "evaluations": evaluations,
                }
                if not table.has(row | about):
                    table.add(row | judge.distance(way) | {"floor": floor} | about)


def chart(source: Path, out: Path) -> None:
    """The best spacing of each sampler against evaluations."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = Table(source, KEYS).rows
    lines: dict[tuple[tuple[int, float], ...], list[str]] = {}
    for sampler in dict.fromkeys(row["sampler"] for row in rows):
        found: dict[int, float] = {}
        for row in rows:
            if row["sampler"] == sampler:
                count, distance = int(row["evaluations"]), round(float(row["distance"]), 3)
                found[count] = min(distance, found.get(count, distance))
        lines.setdefault(tuple(sorted(found.items())), []).append(sampler)
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    for (line, samplers), marker in zip(lines.items(), "osDv^<>PX*ph", strict=False):
        label = ", ".join(samplers)
        axes.plot(*zip(*line, strict=True), marker=marker, markersize=4, label=label)
    floor = float(rows[0]["floor"])
    axes.plot([], [], " ", label=f"(real images: {floor:.3f})")
    axes.set(
        xscale="log",
        xlabel="evaluations of the network",
        ylabel=f"squared Fréchet distance, {rows[0]['features']}",
    )
    ticks = sorted({int(row["evaluations"]) for row in rows})
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", ncols=2)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("--out", type=Path, default=Path("samplers.csv"))
    parser.add_argument("--chart", type=Path, nargs=2, metavar=("CSV", "PNG"))
    parser.add_argument("-n", "--count", type=int, default=5000)
    parser.add_argument("--samplers", nargs="+", default=SAMPLERS)
    parser.add_argument("--spacings", nargs="+", default=["trailing", "log-snr", "karras"])
    parser.add_argument("--evaluations", nargs="+", type=int, default=EVALUATIONS)
    parser.add_argument("--variance", default="fixed-small")
    parser.add_argument("--features", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.chart:
        chart(*arguments.chart)
    elif arguments.model:
        measure(arguments)
    else:
        parser.error("name a model, or --chart CSV PNG")


if __name__ == "__main__":
    main()
