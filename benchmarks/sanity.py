"""Does each measure get worse as images do? Blur, noise, mixing, dropping, copying, ten strengths.

    python benchmarks/sanity.py --out sanity

Real held-out images of Fashion-MNIST stand in for samples, and are made worse step by step;
training images are the reference. At strength 0 nothing is changed: that is each measure's floor.
The strengths of one kind are nested (the same noise, louder; the same images copied, and more), so
a curve shows the measure and not the draw. It rises or falls where its end lies three standard
errors off the floor, and does so "not at each step" where a step goes back at all; the count at the
end is given for that, and for steps back of more than one standard error. Writes sanity.json and
sanity.png, prints a table.

- blur: a Gaussian of 0.2 pixels standard deviation a step, up to 2.
- noise: a standard deviation of 5 grey levels a step, up to 50 of 255.
- mixing: a tenth of the samples a step become the pixel average with an image of another class.
- dropping: five of ten classes lose a tenth of their images a step to the other five.
- copies: a tenth of the samples a step become training images that are in the reference.
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch

import loang
from loang import device
from loang.data import open_dataset
from loang.metrics import features
from loang.metrics.estimate import Estimate
from loang.metrics.frechet import frechet_distance, frechet_infinity
from loang.metrics.kid import kernel_distance
from loang.metrics.memorisation import image_memorisation
from loang.metrics.precision_recall import precision_recall
from loang.metrics.two_sample import two_sample_test
from loang.metrics.wasserstein import sliced_wasserstein

STEPS = 10
TITLES = {
    "frechet": "Fréchet distance",
    "frechet_infinity": "Fréchet distance, n → ∞",
    "kid": "kernel distance",
    "sliced_wasserstein": "sliced Wasserstein",
    "two_sample": "told apart, share",
    "precision": "precision",
    "density": "density",
    "recall": "recall",
    "coverage": "coverage",
    "memorisation": "share of copies",
}
DISTANCES = ("frechet", "frechet_infinity", "kid", "sliced_wasserstein", "two_sample")
# What each measure is for: 1 where it should rise at every step, -1 where it should fall.
EXPECTED = {
    **{(name, kind): 1 for name in DISTANCES for kind in ("blur", "noise", "mixing", "dropping")},
    **{(name, kind): -1 for name in ("precision", "density") for kind in ("noise", "mixing")},
    **{("coverage", kind): -1 for kind in ("blur", "noise", "mixing", "dropping")},
    ("recall", "dropping"): -1,
    ("memorisation", "copies"): 1,
}
SEEN = 3.0  # errors by which the last step must lie off the floor

Pixels = np.ndarray  # n x h x w x c, uint8
Curve = list[Estimate]


class Cast:
    """Who plays the samples, and what they are mixed with, filled up from or compared with."""

    def __init__(self, count: int, reference: int, seed: int) -> None:
        self.dataset = open_dataset("fashion-mnist")
        held_out, train = self.dataset.validation, self.dataset.train
        self.generator = np.random.Generator(np.random.Philox(seed))
        order = self.generator.permutation(len(held_out))
        chosen = self.generator.permutation(len(train))[:reference]
        if len(order) < 5 * count:
            raise SystemExit(f"{count} samples are too many: at most {len(order) // 5}.")
        # Each part sorted by nothing: a beginning of it is a random subset.
        parts = np.split(order, [count, 2 * count, 3 * count])
        self.samples, partners, self.calibration, spare = (held_out[part] for part in parts)
        labels, partner_labels, _, spare_labels = (held_out.labels[part] for part in parts)
        self.reference = train[chosen]
        self.noise = self.generator.normal(size=self.samples.shape)
        self.partners = partners[_of_another_class(labels, partner_labels)]
        self.doomed = np.flatnonzero(labels < 5)
        self.fill = spare[spare_labels >= 5][: len(self.doomed)]

    def _blur(self, strength: int) -> Pixels:
        return _blurred(self.samples, 0.2 * strength)

    def _noisy(self, strength: int) -> Pixels:
        return _grey(self.samples + 5 * strength * self.noise)

    def _mixing(self, strength: int) -> Pixels:
        mixed = self.samples.copy()
        k = len(mixed) * strength // STEPS
        mixed[:k] = _grey((self.samples[:k].astype(float) + self.partners[:k]) / 2)
        return mixed

    def _dropping(self, strength: int) -> Pixels:
        left = self.samples.copy()
        k = len(self.doomed) * strength // STEPS
        left[self.doomed[:k]] = self.fill[:k]
        return left

    def _copies(self, strength: int) -> Pixels:
        copied = self.samples.copy()
        k = len(copied) * strength // STEPS
        copied[:k] = self.reference[:k]
        return copied

    @property
    def kinds(self) -> dict[str, Callable[[int], Pixels]]:
        """The samples at a strength, for each way of making them worse."""
        return {
            "blur": self._blur,
            "noise": self._noisy,
            "mixing": self._mixing,
            "dropping": self._dropping,
            "copies": self._copies,
        }


def _of_another_class(labels: np.ndarray, partner_labels: np.ndarray) -> np.ndarray:
    """For each sample a partner of another class, each used at most twice or so."""
    chosen = np.arange(len(labels))
    while (same := partner_labels[chosen] == labels).any():
        chosen[same] = (chosen[same] + 1) % len(labels)
    return chosen


def _grey(values: np.ndarray) -> Pixels:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _blurred(pixels: Pixels, deviation: float) -> Pixels:
    if deviation == 0:
        return pixels
    at = np.arange(-7, 8)
    weights = np.exp(-0.5 * (at / deviation) ** 2)
    kernel = torch.from_numpy(weights / weights.sum()).float()
    x = torch.from_numpy(pixels[..., 0]).float()[:, None]
    x = torch.nn.functional.pad(x, (7, 7, 7, 7), mode="replicate")
    x = torch.nn.functional.conv2d(x, kernel.view(1, 1, 1, -1))
    x = torch.nn.functional.conv2d(x, kernel.view(1, 1, -1, 1))
    return _grey(x[:, 0, :, :, None].numpy())


def measured(ours: np.ndarray, theirs: np.ndarray, seed: int) -> dict[str, Estimate]:
    manifolds = precision_recall(ours, theirs)
    return {
        "frechet": frechet_distance(ours, theirs),
        "frechet_infinity": frechet_infinity(ours, theirs, seed=seed),
        "kid": kernel_distance(ours, theirs),
        "precision": manifolds.precision,
        "recall": manifolds.recall,
        "density": manifolds.density,
        "coverage": manifolds.coverage,
        "sliced_wasserstein": sliced_wasserstein(ours, theirs, seed=seed),
        "two_sample": two_sample_test(ours, theirs, seed=seed).accuracy,
    }


def curves(cast: Cast, space: Any, seed: int) -> dict[tuple[str, str], Curve]:
    """For each (measure, kind): the estimates at strength 0, 1, ..., 10."""
    theirs = space(cast.reference, cast.dataset.spec)

    def at(samples: Pixels) -> dict[str, Estimate]:
        copies = image_memorisation(samples, cast.reference, cast.calibration).share
        ours = space(samples, cast.dataset.spec)
        return {**measured(ours, theirs, seed), "memorisation": copies}

    floor = at(cast.samples)
    found: dict[tuple[str, str], Curve] = {}
    for kind, change in cast.kinds.items():
        rows = [floor]
        for strength in range(1, STEPS + 1):
            _progress(f"{kind} {strength}/{STEPS}")
            rows.append(at(change(strength)))
        for name in TITLES:
            found[name, kind] = [row[name] for row in rows]
    _progress("")
    return found


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def direction(curve: Curve) -> int:
    """1 or -1 where the last step lies well above or below the floor, else 0."""
    first, last = curve[0], curve[-1]
    error = np.hypot(first.error or 0, last.error or 0)
    apart = last.value - first.value
    return int(np.sign(apart)) if abs(apart) > SEEN * error else 0


def monotone(curve: Curve, slack: float = 0.0) -> bool:
    """Each step goes where the whole does, or back by no more than `slack` standard errors."""
    forward = np.diff([one.value for one in curve]) * direction(curve)
    return bool((forward >= [-slack * (one.error or 0) for one in curve[1:]]).all())


def spearman(curve: Curve) -> float:
    """The correlation of ranks with the strength; equal values share a rank."""
    values = np.array([one.value for one in curve])
    if np.ptp(values) == 0:
        return 0.0
    ranks = (values[:, None] > values).sum(1) + ((values[:, None] == values).sum(1) - 1) / 2
    return float(np.corrcoef(ranks, np.arange(len(values)))[0, 1])


def cell(curve: Curve) -> str:
    seen = direction(curve)
    word = {1: "rises", -1: "falls", 0: "flat"}[seen]
    if seen and not monotone(curve):
        word += ", not at each step"
    values = " → ".join(f"{one.value:.3g}" for one in (curve[0], curve[-1]))
    return f"{word} ({spearman(curve):+.2f}) {values}"


def table(found: dict[tuple[str, str], Curve], kinds: list[str]) -> str:
    lines = [f"| | {' | '.join(kinds)} |", "|---" * (len(kinds) + 1) + "|"]
    for name, title in TITLES.items():
        lines.append(f"| {title} | {' | '.join(cell(found[name, kind]) for kind in kinds)} |")
    return "\n".join(lines)


def failures(found: dict[tuple[str, str], Curve], slack: float) -> list[str]:
    """What does not move as it should."""
    return [
        f"{TITLES[name]} under {kind}: {cell(found[name, kind])}"
        for (name, kind), sign in EXPECTED.items()
        if direction(found[name, kind]) != sign or not monotone(found[name, kind], slack)
    ]


def draw(found: dict[tuple[str, str], Curve], kinds: list[str], path: Path, foot: str) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 14.5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(TITLES), len(kinds), sharex=True, sharey="row")
    strengths = np.arange(STEPS + 1)
    for row, (name, title) in zip(panels, TITLES.items(), strict=True):
        for axes, kind in zip(row, kinds, strict=True):
            curve = found[name, kind]
            values = np.array([one.value for one in curve])
            errors = np.array([one.error or 0.0 for one in curve])
            seen = direction(curve)
            color = {1: "#D55E00", -1: "#0072B2", 0: "#8a8a8a"}[seen]
            axes.axhline(values[0], color="#333333", linewidth=0.8, linestyle=(0, (4, 3)))
            axes.fill_between(
                strengths, values - 2 * errors, values + 2 * errors, color=color, alpha=0.25, lw=0
            )
            axes.plot(strengths, values, color=color, marker="o", markersize=3, linewidth=1.5)
            axes.set_xticks([0, 5, 10])
            axes.tick_params(labelsize=8, color="#999999")
            axes.grid(axis="y", color="#e6e6e6", linewidth=0.7)
            axes.set_axisbelow(True)
            for side in ("top", "right"):
                axes.spines[side].set_visible(False)
        row[0].set_ylabel(title.replace(", ", ",\n").replace(" of ", "\nof "), fontsize=9)
        if name in ("frechet", "frechet_infinity", "kid", "sliced_wasserstein"):
            # Roots, so that a small rise and a large one fit into a row.
            row[0].set_yscale("function", functions=(_root, lambda y: np.sign(y) * y**2))
    for axes, kind in zip(panels[0], kinds, strict=True):
        axes.set_title(kind, fontsize=12)
    for axes in panels[-1]:
        axes.set_xlabel("strength", fontsize=9)
    figure.suptitle("How each measure moves as real images are made worse", fontsize=14)
    figure.supxlabel(foot, fontsize=8, color="#555555")
    figure.savefig(path)


def _root(values: np.ndarray) -> np.ndarray:
    return np.sign(values) * np.sqrt(np.abs(values))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--reference", type=int, default=5000)
    parser.add_argument("--features", default="fashion-v1")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("sanity"), metavar="FOLDER")
    asked = parser.parse_args()

    start = time.monotonic()
    cast = Cast(asked.samples, asked.reference, asked.seed)
    space = features.named(asked.features, cast.dataset)
    found = curves(cast, space, asked.seed)
    kinds = list(cast.kinds)
    about = {
        "command": " ".join(["python", *sys.argv]),
        "date": str(date.today()),
        "seconds": round(time.monotonic() - start),
        "hardware": device.describe(torch.device("cpu"), None),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {
            "loang": loang.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "seed": asked.seed,
        "samples": asked.samples,
        "reference": asked.reference,
        "features": {"name": space.name, "digest": space.digest},
    }
    strict, wrong = failures(found, 0.0), failures(found, 1.0)
    content = {
        **about,
        "curves": {
            name: {
                kind: [{"value": one.value, "error": one.error} for one in found[name, kind]]
                for kind in kinds
            }
            for name in TITLES
        },
        "expected": len(EXPECTED),
        "not_at_each_step": strict,
        "back_by_more_than_an_error": wrong,
    }
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "sanity.json").write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    foot = (
        f"{asked.samples:,} held-out images against {asked.reference:,} training images of"
        f" Fashion-MNIST in {space.name}. Dashed: unchanged images. Band: ± 2 standard errors."
        "\nOrange rises, blue falls, grey: not told from unchanged. Distances on a root scale."
    )
    draw(found, kinds, asked.out / "sanity.png", foot)
    print(table(found, kinds))
    print(
        f"\nOf {len(EXPECTED)} curves that should move, {len(EXPECTED) - len(strict)} do at each"
        " step,"
        f" {len(EXPECTED) - len(wrong)} with no step back of more than one standard error."
    )
    print("\n".join(strict))


if __name__ == "__main__":
    main()
