"""The error of every solver of the probability flow against its evaluations, and its slope.

    python benchmarks/convergence.py docs/pictures/convergence.png

Data are a mixture of three normal distributions on a line, whose exact denoiser and flow are
known; float64; EDM's time. Each solver takes even steps in its own variable, from sigma 10 to 0.1,
and the largest error of five points is read there. About twenty seconds on one core.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "science"))

from slopes import DATA, SCHEDULES, WALKS, Walk, slope

from loang.pictures.charts import COLORS, DASHES, figure, furnish
from loang.samplers import METHODS, named

STEPS = (20, 40, 80, 160, 320, 640, 1280)


def measure() -> dict[str, tuple[list[int], list[float]]]:
    """Evaluations and errors of each solver."""
    denoiser = DATA["mixture"](SCHEDULES["edm"])
    found = {}
    for name, walk in WALKS.items():
        if name == "euler":  # it is ddim
            continue
        even = Walk(walk.variable, (10, 0.1), STEPS, walk.short, walk.beyond)
        asked = [METHODS[name].evaluations(steps + walk.short) for steps in STEPS]
        found[name] = asked, even.errors(named(name), denoiser)
        order = slope(walk.steps, walk.errors(named(name), denoiser))
        print(f"{name:9} order {METHODS[name].order}, measured {order:.2f}", flush=True)
    return found


def draw(found: dict[str, tuple[list[int], list[float]]], path: Path) -> None:
    page = figure(8.0, 5.5)
    axes = page.subplots()
    furnish(axes, "Error of each solver on a mixture, exact denoiser")
    for i, (name, (evaluations, errors)) in enumerate(found.items()):
        axes.loglog(
            evaluations,
            errors,
            color=COLORS[i % len(COLORS)],
            linestyle=DASHES[(i + i // len(COLORS)) % len(DASHES)],
            marker="o",
            markersize=3,
            linewidth=1.8,
            label=f"{name}, order {METHODS[name].order}",
        )
    axes.set_xlabel("evaluations of the denoiser")
    axes.set_ylabel("largest error")
    axes.legend(frameon=False, handlelength=3.2)
    path.parent.mkdir(parents=True, exist_ok=True)
    page.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("picture", type=Path, help="PNG")
    draw(measure(), parser.parse_args().picture)


if __name__ == "__main__":
    main()
