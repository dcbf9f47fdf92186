"""Images that are more than memory, and more than anybody has: step time, memory, opening.

    python benchmarks/large_data.py --gigabytes 40
    python benchmarks/large_data.py --opening

The first trains `quick` on an `.npy` file of that size (sparse: the disk holds a few blocks of it,
the process sees all of it), in turns with one of 20,000 images, and compares the times of a step
and what the process holds. The second opens packs of 10^5, 10^7 and 10^9 rows and reads a batch.
Prints JSON.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np
import psutil
import torch

import loang
from loang import presets
from loang.build import build_denoiser
from loang.config import changed
from loang.data import open_dataset, order
from loang.data.environment import cache_folder
from loang.data.images import Images
from loang.training.trainer import Trainer

SIDE, SMALL, ROUNDS, STEPS = 64, 20_000, 8, 10


def sparse(path: Path, shape: tuple[int, ...], depth: str = "uint8") -> None:
    with path.open("wb") as file:
        about = {"descr": np.dtype(depth).str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, about)
        file.truncate(file.tell() + int(np.prod(shape)) * np.dtype(depth).itemsize)


def array(path: Path, count: int) -> None:
    """Images of zeros, a thousand of them with something in them."""
    sparse(path, (count, SIDE, SIDE, 3))
    values = np.lib.format.open_memmap(path, mode="r+")
    for number in range(1000):
        values[number * (count // 1000), :8, :8] = np.uint8(number % 255 + 1)
    values.flush()


def trainer(images: Images) -> Trainer:
    settings = changed(presets.quick(), ["training.device=cpu"])
    denoiser = build_denoiser(settings, images.spec)
    return Trainer(denoiser, images, settings, torch.device("cpu"))


def held() -> dict[str, float]:
    """Megabytes: what is the process's own, and pages of files that are mapped."""
    lines = Path("/proc/self/status").read_text().splitlines()
    found = {line.split(":")[0]: int(line.split()[1]) / 1e3 for line in lines if "Rss" in line}
    return {"own": found["RssAnon"], "of files": found["RssFile"]}


def steps(gigabytes: float, scratch: Path) -> dict[str, object]:
    count = int(gigabytes * 1e9 / (SIDE * SIDE * 3))
    runs, opening = {}, {}
    for name, number in (("small", SMALL), ("large", count)):
        array(scratch / f"{name}.npy", number)
        times = []
        for _ in range(2):
            start = time.perf_counter()
            dataset = open_dataset(scratch / f"{name}.npy")
            times.append(round(time.perf_counter() - start, 3))
        opening[name] = {"first, s": times[0], "second, s": times[1]}
        runs[name] = trainer(dataset.train)
    for run in runs.values():
        for _ in range(5):
            run.step(0.0)
    before, seconds = held(), {name: list[float]() for name in runs}
    memory = []
    for _ in range(ROUNDS):
        for name, run in runs.items():
            for _ in range(STEPS):
                start = time.perf_counter()
                run.step(0.0)
                seconds[name].append(time.perf_counter() - start)
        memory.append(held())
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    return {
        "bytes": count * SIDE * SIDE * 3,
        "memory of the machine": psutil.virtual_memory().total,
        "on the disk": (scratch / "large.npy").stat().st_blocks * 512,
        "opening": opening,
        "step, ms": {name: round(1e3 * each, 2) for name, each in medians.items()},
        "ratio": round(medians["large"] / medians["small"], 3),
        "held before, MB": before,
        "held after each round, MB": memory,
    }


def opening(scratch: Path) -> dict[str, object]:
    """Packs whose arrays are sparse files: opening reads headers, and a batch its rows."""
    found: dict[str, object] = {}
    np.save(scratch / "few.npy", np.arange(40, dtype=np.uint8).reshape(10, 2, 2, 1))
    open_dataset(scratch / "few.npy", size=(1, 1))
    (place,) = (cache_folder() / "packed").iterdir()
    for count in (10**5, 10**7, 10**9):
        sparse(place / "pixels.npy", (count, 1, 1, 1))
        sparse(place / "train.npy", (count,), "int64")
        opens, reads = [], []
        for turn in range(30):
            start = time.perf_counter()
            train = open_dataset(scratch / "few.npy", size=(1, 1)).train
            opens.append(time.perf_counter() - start)
            start = time.perf_counter()
            batch = train[order.batch(64 * turn, 64, len(train), seed=turn)]
            reads.append(time.perf_counter() - start)
            assert len(train) == count
            assert len(batch) == 64
        found[f"{count:,} images"] = {
            "opening, ms": round(1e3 * statistics.median(opens), 2),
            "a batch of 64, ms": round(1e3 * statistics.median(reads), 3),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--gigabytes", type=float, default=40.0)
    parser.add_argument("--opening", action="store_true", help="only packs of many rows")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["LOANG_CACHE"] = str(Path(scratch) / "cache")
        found = opening(Path(scratch)) if asked.opening else steps(asked.gigabytes, Path(scratch))
    report = {
        **found,
        "date": str(date.today()),
        "hardware": f"CPU ({torch.backends.cpu.get_cpu_capability()})",
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {"loang": loang.__version__, "torch": torch.__version__},
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
