"""What it costs to know which images a batch holds, among how many images.

    python benchmarks/order_cost.py

Each case runs in a process of its own: the time of an epoch's first batch of 64, of each later
one (the median), and by how much the most memory that the process ever held grew. The order by
sorting, which needs the whole epoch at once, is what loang did before. Prints JSON.
"""

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date

import numpy as np
import torch

import loang
from loang import random
from loang.data import order

COUNTS = {"cipher": (10**5, 10**7, 10**9), "sorting": (10**5, 10**7)}
BATCH = 64
LATER = 1000


def by_sorting(count: int) -> Callable[[int], np.ndarray]:
    kept: list[np.ndarray] = []

    def batch(position: int) -> np.ndarray:
        if not kept:
            numbers = torch.arange(count)
            words = random.words(2, seed=0, purpose="order", step=0, indices=numbers)
            keys = (words[:, 0] << 30) ^ words[:, 1]
            kept.append(torch.argsort(keys, stable=True).numpy())
        return kept[0][position : position + BATCH]

    return batch


def by_cipher(count: int) -> Callable[[int], np.ndarray]:
    return lambda position: order.batch(position, BATCH, count, seed=0)


WAYS = {"cipher": by_cipher, "sorting": by_sorting}


def held() -> int:
    """The most bytes that this process ever held."""
    return (1 if sys.platform == "darwin" else 1024) * resource.getrusage(
        resource.RUSAGE_SELF
    ).ru_maxrss


def timed(batch: Callable[[int], np.ndarray], position: int) -> float:
    start = time.perf_counter()
    batch(position)
    return time.perf_counter() - start


def measure(way: str, count: int) -> dict[str, float]:
    WAYS[way](5000)(0)  # what is loaded at the first use of all is no cost of the order
    before = held()
    batch = WAYS[way](count)
    first = timed(batch, 0)
    later = [timed(batch, BATCH * number) for number in range(1, LATER + 1)]
    return {
        "first batch, ms": round(1e3 * first, 3),
        "later batch, ms": round(1e3 * statistics.median(later), 4),
        "memory, MB": round((held() - before) / 1e6, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--case", nargs=2, metavar=("WAY", "COUNT"), help="this one, here")
    asked = parser.parse_args()
    if asked.case:
        way, count = asked.case
        print(json.dumps(measure(way, int(count))))
        return
    found: dict[str, dict[str, dict[str, float]]] = {}
    for way, counts in COUNTS.items():
        for count in counts:
            command = [sys.executable, __file__, "--case", way, str(count)]
            ended = subprocess.run(command, capture_output=True, text=True, check=True)
            found.setdefault(way, {})[f"{count:,} images"] = json.loads(ended.stdout)
            print(way, count, ended.stdout.strip(), file=sys.stderr)
    report = {
        "batch": BATCH,
        "cases": found,
        "date": str(date.today()),
        "hardware": f"CPU ({torch.backends.cpu.get_cpu_capability()})",
        "system": f"{platform.system()} {platform.machine()}",
        "threads": torch.get_num_threads(),
        "versions": {
            "loang": loang.__version__,
            "numpy": np.__version__,
            "torch": torch.__version__,
        },
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
