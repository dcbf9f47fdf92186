"""What the benchmarks of quality share: samples, their distance from real images, a table.

Rows are appended to a CSV as they are measured, and rows that stand there are not measured again,
so that a long table can be stopped, gone on with, and made in several sittings.
"""

import csv
import platform
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch

import loang
from loang import device
from loang.config import SamplingSettings
from loang.evaluation.real import real_images
from loang.evaluation.vectors import vectors
from loang.identity import weights_digest
from loang.metrics import features
from loang.metrics.frechet import frechet_distance
from loang.metrics.rows import shuffled
from loang.model import Model
from loang.shares import labels_like


class Judge:
    """Measures samples of a model against the training images that it learned from.

    Args:
        path: of the run or model file.
        count: samples of each measurement.
        seed: of the noise; the same in each.
        space: the feature space.
    """

    def __init__(self, path: Path, count: int, seed: int, space: str = "auto") -> None:
        self.model = Model.load(path)
        self.count, self.seed = count, seed
        self.batch = 250 if self.model.device.type == "cpu" else 2500
        self.dtype = device.autocast_type(self.model.device, self.model.settings.training.precision)
        self.data = real_images(self.model, None, path)
        self.space = features.named(space, self.data)
        rows = np.sort(shuffled(len(self.data.train), seed=seed, purpose="reference")[:10_000])
        train = self.data.train
        self.reference = vectors(self.space, train, self.data.fingerprint, "train", rows)
        self.labels = None
        if self.model.knows_labels and train.labels is not None:
            shares = np.bincount(train.labels, minlength=len(self.model.spec.class_names))
            self.labels = torch.from_numpy(labels_like(shares.astype(np.float64), count))

    def about(self) -> dict[str, Any]:
        """What stands beside every number: model, images, machine, versions, day."""
        return {
            "model": weights_digest(self.model)[:12],
            "samples": self.count,
            "seed": self.seed,
            "features": self.space.name,
            "reference": len(self.reference),
            "machine": device.describe(self.model.device, self.dtype),
            "loang": loang.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "date": date.today().isoformat(),
        }

    def floor(self) -> float:
        """The distance of as many held-out images from the same reference."""
        held = self.data.validation
        rows = shuffled(len(held), seed=self.seed, purpose="floor")[: self.count]
        seen = vectors(self.space, held, self.data.fingerprint, "held-out", np.sort(rows))
        return frechet_distance(seen, self.reference).value

    def sample(self, sampling: SamplingSettings) -> tuple[np.ndarray, float]:
        """Feature vectors of the samples, and the seconds that the samples took."""
        start = time.perf_counter()
        pixels = self.model.sample(
            self.count, seed=self.seed, sampling=sampling, labels=self.labels, batch=self.batch
        )
        seconds = time.perf_counter() - start
        return self.space(pixels, self.model.spec), seconds

    def distance(self, sampling: SamplingSettings) -> dict[str, float]:
        """The squared Fréchet distance of samples drawn so, its error, and the seconds."""
        seen, seconds = self.sample(sampling)
        found = frechet_distance(seen, self.reference)
        return {
            "distance": round(found.value, 4),
            "error": round(found.error or 0.0, 4),
            "seconds": round(seconds, 1),
        }


def learnt(run: Model, asked: str) -> dict[str, Any]:
    """What stands beside a number about the run that it comes from.

    Args:
        run: a model that was trained just now.
        asked: the device that it was asked to learn on.
    """
    on = device.choose(asked)
    machine = device.describe(on, device.autocast_type(on, run.settings.training.precision))
    facts = {key: run.facts.get(key) for key in ("images", "seconds", "validation_loss")}
    return {"trained_" + key: value for key, value in facts.items()} | {"machine": machine}


@dataclass(frozen=True)
class Ranked:
    """Rows that differ in their seeds only.

    Args:
        name: of what was trained.
        budget: for how long.
        rows: one a seed.
    """

    name: str
    budget: str
    rows: list[dict[str, str]]

    def mean(self, key: str = "distance") -> float:
        """Of a column."""
        return statistics.mean(float(row[key]) for row in self.rows)

    @property
    def error(self) -> float:
        """The standard error of the distance's mean over the seeds; no number of one seed."""
        values = [float(row["distance"]) for row in self.rows]
        return statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("nan")


def ranked(rows: Sequence[dict[str, str]], key: str) -> list[Ranked]:
    """Rows by the name in a column and by their budget, the nearest to real images first."""
    found: dict[tuple[str, str], list[dict[str, str]]] = {}
    for row in rows:
        found.setdefault((row[key], row["budget"]), []).append(row)
    return sorted((Ranked(*names, some) for names, some in found.items()), key=Ranked.mean)


class Table:
    """Rows in a CSV, told apart by some of their columns.

    Args:
        path: of the file; it may be there already.
        keys: the columns that tell a row from others.
    """

    def __init__(self, path: Path, keys: Sequence[str]) -> None:
        self.path, self.keys = path, keys
        self.rows: list[dict[str, str]] = []
        self.columns: list[str] = []
        if path.exists():
            with path.open(newline="", encoding="utf-8") as file:
                reader = csv.DictReader(file)
                self.rows, self.columns = list(reader), list(reader.fieldnames or ())

    def has(self, row: Mapping[str, Any]) -> bool:
        """Whether a row of these keys stands there."""
        wanted = [str(row[key]) for key in self.keys]
        return any([known[key] for key in self.keys] == wanted for known in self.rows)

    def add(self, row: Mapping[str, Any]) -> None:
        """Append one row, in the order of the columns that are there, and write it.

        Raises:
            ValueError: it has a column that the others have not.
        """
        new, self.columns = not self.columns, self.columns or list(row)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns)
            if new:
                writer.writeheader()
            writer.writerow(row)
        self.rows.append({key: str(value) for key, value in row.items()})
        print({key: row[key] for key in row if key not in ("machine", "torch", "python")})
