"""What guidance does to a class-conditional model: agreement, distance, precision and recall.

    python benchmarks/guidance.py runs/quick --out guidance.csv
    python benchmarks/guidance.py --chart guidance.csv guidance.png

For each scale, with and without an interval of noise levels, the same 5,000 noises are drawn with
labels in the proportions of the data. `agreement` is the share of samples in which the feature
space's own classifier, which has seen no sample, finds the label that was asked for.
"""

import argparse
from pathlib import Path

import numpy as np
from judge import Judge, Table

from loang.config import SamplingSettings
from loang.metrics.classes import label_accuracy
from loang.metrics.frechet import frechet_distance
from loang.metrics.precision_recall import precision_recall

SCALES = (0.0, 0.5, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0)
KEYS = ("model", "sampler", "steps", "guidance", "interval", "rescale", "samples", "seed")


def measure(arguments: argparse.Namespace) -> None:
    judge = Judge(arguments.model, arguments.count, arguments.seed)
    if judge.labels is None:
        raise SystemExit("This model knows no labels.")
    table = Table(arguments.out, KEYS)
    about, classes = judge.about(), len(judge.model.spec.class_names)
    about["ceiling"] = round(agreement_of_real_images(judge, classes), 4)
    for interval in (None, *map(tuple, arguments.intervals)):
        for scale in arguments.scales:
            way = SamplingSettings(
                sampler=arguments.sampler,
                steps=arguments.steps,
                guidance=scale,
                guidance_interval=interval,
                guidance_rescale=arguments.rescale,
            )
            row = {
                "sampler": arguments.sampler,
                "steps": arguments.steps,
                "guidance": scale,
                "interval": "all" if interval is None else "{:g}:{:g}".format(*interval),
                "rescale": arguments.rescale,
            }
            if table.has(row | about) or (interval and scale == 1):
                continue
            pixels = judge.model.sample(
                judge.count, seed=judge.seed, sampling=way, labels=judge.labels, batch=judge.batch
            )
            seen = judge.space(pixels, judge.model.spec)
            classified = judge.space.classify(pixels, judge.model.spec)
            found = frechet_distance(seen, judge.reference)
            manifolds = precision_recall(seen, judge.reference[: judge.count], k=5)
            table.add(
                row
                | {
                    "agreement": round(
                        label_accuracy(classified, judge.labels.numpy(), classes).whole.value, 4
                    ),
                    "distance": round(found.value, 4),
                    "error": round(found.error or 0.0, 4),
                    "precision": round(manifolds.precision.value, 4),
                    "recall": round(manifolds.recall.value, 4),
                }
                | about
            )


def agreement_of_real_images(judge: Judge, classes: int) -> float:
    """What the classifier finds in held-out images: no samples can be asked for more."""
    held = judge.data.validation
    rows = np.arange(min(len(held), judge.count))
    seen = judge.space.classify(held[rows], held.spec)
    return label_accuracy(seen, held.labels[rows], classes).whole.value


def chart(source: Path, out: Path) -> None:
    """Agreement, distance, precision and recall against the scale, a line an interval."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = Table(source, KEYS).rows
    figure, panels = plt.subplots(1, 3, figsize=(12, 4), layout="constrained")
    for interval in dict.fromkeys(row["interval"] for row in rows):
        of_it = [row for row in rows if row["interval"] == interval or float(row["guidance"]) == 1]
        of_it.sort(key=lambda row: float(row["guidance"]))
        scales = [float(row["guidance"]) for row in of_it]

        def values(key: str, of_it: list[dict[str, str]] = of_it) -> list[float]:
            return [float(row[key]) for row in of_it]

        name = "all levels" if interval == "all" else f"σ in {interval}"
        panels[0].plot(scales, values("agreement"), marker="o", markersize=3, label=name)
        panels[1].plot(scales, values("distance"), marker="o", markersize=3, label=name)
        (line,) = panels[2].plot(scales, values("precision"), label=f"precision, {name}")
        panels[2].plot(
            scales, values("recall"), "--", color=line.get_color(), label=f"recall, {name}"
        )
    ceiling = float(rows[0]["ceiling"])
    panels[0].axhline(ceiling, color="grey", linestyle=":", label="real images")
    titles = "agreement with the label", f"squared Fréchet distance, {rows[0]['features']}", ""
    for panel, title in zip(panels, titles, strict=True):
        panel.set(xlabel="guidance scale", title=title)
        panel.grid(alpha=0.3)
        panel.legend(fontsize="small")
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("--out", type=Path, default=Path("guidance.csv"))
    parser.add_argument("--chart", type=Path, nargs=2, metavar=("CSV", "PNG"))
    parser.add_argument("-n", "--count", type=int, default=5000)
    parser.add_argument("--sampler", default="dpmpp-2m")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--scales", nargs="+", type=float, default=SCALES)
    parser.add_argument(
        "--intervals", nargs="*", type=lambda text: map(float, text.split(":")), default=()
    )
    parser.add_argument("--rescale", type=float, default=0.0)
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
