"""Seconds and values of loang's measures and of other packages', on the same features.

    python benchmarks/measures.py -d 64 2048 --rounds 3

Features are drawn from two normal distributions that differ a little, 10,000 images each, float32.
In each round every package computes each measure once, in turn; the median is quoted, and how far
a value is from loang's. Prints JSON. Packages that are not installed are left out and named; the
environment that the published figures come from:

    pip install -c constraints.txt . prdc==0.2 scikit-learn==1.9.1 scipy==1.17.1
    pip install --no-deps pytorch-fid==0.3.0 torch-fidelity==0.4.0 torchvision==0.28.0 tqdm

What is compared is each package's arithmetic, features in, numbers out; no network runs. Where they
define a thing otherwise: torch-fidelity draws 100 subsets of 1,000 images for its kernel distance
(`torch-fidelity subsets`; the other row is one subset of all), and it counts a point at a ball's
very radius as inside.
"""

import argparse
import contextlib
import importlib
import importlib.metadata
import io
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from datetime import date

import numpy as np
import torch
from peer_libraries import allow_torchvision

import loang
from loang.metrics.frechet import frechet_distance, frechet_infinity
from loang.metrics.kid import kernel_distance
from loang.metrics.precision_recall import precision_recall
from loang.metrics.two_sample import two_sample_test
from loang.metrics.wasserstein import sliced_wasserstein

Values = dict[str, float]
Measure = Callable[[np.ndarray, np.ndarray], Values]
NEIGHBOUR = 5


def loang_precision_recall(samples: np.ndarray, reference: np.ndarray) -> Values:
    found = precision_recall(samples, reference, k=NEIGHBOUR)
    names = ("precision", "recall", "density", "coverage")
    return {name: getattr(found, name).value for name in names}


def pytorch_fid(samples: np.ndarray, reference: np.ndarray) -> Values:
    fid = importlib.import_module("pytorch_fid.fid_score")
    moments = []
    for features in (samples, reference):
        doubles = features.astype(np.float64)  # as its own array of features is
        moments += [doubles.mean(axis=0), np.cov(doubles, rowvar=False)]
    return {"distance": float(fid.calculate_frechet_distance(*moments))}


def torch_fidelity_fid(samples: np.ndarray, reference: np.ndarray) -> Values:
    fid = importlib.import_module("torch_fidelity.metric_fid")
    moments = [fid.fid_features_to_statistics(torch.from_numpy(x)) for x in (samples, reference)]
    found = fid.fid_statistics_to_metric(*moments, verbose=False)
    return {"distance": found["frechet_inception_distance"]}


def torch_fidelity_kid(subsets: int | None) -> Measure:
    def measure(samples: np.ndarray, reference: np.ndarray) -> Values:
        kid = importlib.import_module("torch_fidelity.metric_kid")
        found = kid.kid_features_to_metric(
            torch.from_numpy(samples),
            torch.from_numpy(reference),
            kid_subsets=subsets or 1,
            kid_subset_size=1000 if subsets else len(samples),
            verbose=False,
        )
        return {"distance": float(found["kernel_inception_distance_mean"])}

    return measure


def torch_fidelity_prc(samples: np.ndarray, reference: np.ndarray) -> Values:
    prc = importlib.import_module("torch_fidelity.metric_prc")
    found = prc.prc_features_to_metric(
        torch.from_numpy(samples),
        torch.from_numpy(reference),
        prc_neighborhood=NEIGHBOUR,
        verbose=False,
    )
    return {name: float(found[name]) for name in ("precision", "recall")}


def prdc(samples: np.ndarray, reference: np.ndarray) -> Values:
    package = importlib.import_module("prdc")
    with contextlib.redirect_stdout(io.StringIO()):
        found = package.compute_prdc(reference, samples, nearest_k=NEIGHBOUR)
    return {name: float(value) for name, value in found.items()}


MEASURES: dict[str, dict[str, Measure]] = {
    "frechet": {
        "loang": lambda a, b: {"distance": frechet_distance(a, b).value},
        "pytorch-fid": pytorch_fid,
        "torch-fidelity": torch_fidelity_fid,
    },
    "frechet-infinity": {"loang": lambda a, b: {"distance": frechet_infinity(a, b).value}},
    "kernel": {
        "loang": lambda a, b: {"distance": kernel_distance(a, b).value},
        "torch-fidelity": torch_fidelity_kid(None),
        "torch-fidelity subsets": torch_fidelity_kid(100),
    },
    "precision-recall": {
        "loang": loang_precision_recall,
        "prdc": prdc,
        "torch-fidelity": torch_fidelity_prc,
    },
    "sliced-wasserstein": {"loang": lambda a, b: {"distance": sliced_wasserstein(a, b).value}},
    "two-sample": {"loang": lambda a, b: {"accuracy": two_sample_test(a, b).accuracy.value}},
}
IMPORTS = {"pytorch-fid": "pytorch_fid.fid_score", "torch-fidelity": "torch_fidelity"}
LIBRARIES = ("numpy", "torch", "scipy", "scikit-learn", "prdc", *IMPORTS)


def draw(n: int, d: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Spread over a tenfold range of axes; the samples are 5 % wider and shifted by 0.02."""
    random = np.random.Generator(np.random.Philox(seed))
    axes = np.geomspace(1, 0.1, d)
    samples, reference = random.normal(size=(2, n, d)) * axes
    return (samples * 1.05 + 0.02).astype(np.float32), reference.astype(np.float32)


def missing(libraries: set[str]) -> dict[str, str]:
    """Those that cannot be imported, and why."""
    found = {}
    for library in libraries:
        try:
            importlib.import_module(IMPORTS.get(library, library))
        except ImportError as error:
            found[library] = str(error)
    return found


def measure(
    name: str, d: int, asked: argparse.Namespace, left_out: dict[str, str]
) -> list[dict[str, object]]:
    samples, reference = draw(asked.images, d, asked.seed)
    installed = {k: f for k, f in MEASURES[name].items() if k.partition(" ")[0] not in left_out}
    seconds: dict[str, list[float]] = {key: [] for key in installed}
    values: dict[str, Values] = {}
    for _ in range(asked.rounds):
        for key, subject in installed.items():
            start = time.perf_counter()
            values[key] = subject(samples, reference)
            seconds[key].append(round(time.perf_counter() - start, 3))
            print(f"{name} d={d} {key}: {seconds[key][-1]} s", file=sys.stderr)
    return [
        {
            "measure": name,
            "features": d,
            "package": key,
            "seconds": statistics.median(seconds[key]),
            "of": seconds[key],
            "values": found,
            "less loang's": {part: value - values["loang"][part] for part, value in found.items()},
        }
        for key, found in values.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("-d", type=int, nargs="+", default=[64, 2048], help="features an image")
    parser.add_argument("-n", "--images", type=int, default=10_000, help="in each set")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=MEASURES, nargs="+", default=list(MEASURES))
    asked = parser.parse_args()

    with contextlib.suppress(ImportError):
        allow_torchvision()
    others = {key.partition(" ")[0] for subjects in MEASURES.values() for key in subjects}
    left_out = missing(others - {"loang"})
    results = []
    for d in asked.d:
        for name in asked.only:
            results += measure(name, d, asked, left_out)
    versions = {"python": platform.python_version(), "loang": loang.__version__}
    for library in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[library] = importlib.metadata.version(library)
    report = {
        "date": str(date.today()),
        "hardware": f"CPU ({torch.backends.cpu.get_cpu_capability()})",
        "system": f"{platform.system()} {platform.machine()}",
        "threads": torch.get_num_threads(),
        "versions": versions,
        "seed": asked.seed,
        "images": asked.images,
        "left out": left_out,
        "results": results,
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
