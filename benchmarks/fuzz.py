"""Spoils files in every way that it knows and reads them: each must be read, or refused in words.

    python benchmarks/fuzz.py --cases 100000 --seed 0

A case is a sound model file, checkpoint, settings file, log, picture or array file that is spoilt
(tests/promises/mutations.py: bits and bytes, lengths, splices; JSON, headers and manifests changed
with knowledge of what they mean) and read (tests/promises/readers.py). It must be read, or refused
with the reader's own error: LoangError; for one picture Unreadable and for a feature network
ValueError, which loang turns into one. Anything else is a failure: another exception, a warning, a
message of more than 2,000 characters, a process that dies, more than a minute of time, or more than
2 GB of memory.

Cases are numbered; each is a function of the seed and its number, and --first N --cases 1 runs one
of them again. They run in a process of their own, so that one that ends it is counted and named.
Prints JSON. Memory is measured where Linux tells it.
"""

import argparse
import contextlib
import json
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

PROMISES = Path(__file__).resolve().parents[1] / "tests" / "promises"
LONGEST, MOST_MEMORY = 60.0, 2 * 10**9
SHARES = {
    "model": 12,
    "keras-checkpoint": 3,
    "keras-h5": 4,
    "keras": 2,
    "diffusers": 3,
    "encoder": 5,
    "config": 10,
    "log": 3,
    "checkpoint": 8,
    "resume": 0.5,
    "png": 6,
    "jpeg": 6,
    "webp": 6,
    "bmp": 6,
    "gif": 6,
    "tiff": 6,
    "pnm": 6,
    "png16": 6,
    "tiff-deep": 10,
    "folder": 2,
    "npy": 6,
    "npz": 6,
    "idx": 3,
    "idx.gz": 3,
    "parquet": 3,
    "arrow": 3,
    "tar": 3,
}
"""How often each reader's turn comes, among about a hundred cases."""


def reader_of(case: random.Random, shares: dict[str, float]) -> str:
    return case.choices(tuple(shares), tuple(shares.values()))[0]


def peak() -> int:
    """Bytes that the process has held at most, since `forget_peak` where there is one."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return 1024 * int(line.split()[1])
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def forget_peak() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def work(seed: int, first: int, end: int, shares: dict[str, float]) -> None:
    """Run cases, and write a line of JSON for each to standard output, its number first."""
    sys.path[:0] = [str(PROMISES), str(PROMISES.parent)]
    import readers
    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("error")
    out = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libtiff complains there
    with tempfile.TemporaryDirectory(prefix="loang-fuzz-") as place:
        made: dict[str, Any] = {}
        for number in range(first, end):
            case = random.Random(f"{seed}/{number}")
            name = reader_of(case, shares)
            if name not in made:
                kinds = {**readers.READERS, **readers.FAULTY}
                made[name] = kinds[name](name, Path(place) / name)
            out.write(f"{number} {name}\n")
            out.flush()
            forget_peak()
            before, start, told = peak(), time.monotonic(), ""
            try:
                outcome = made[name].outcome(case)
            except Exception as error:
                outcome = f"failed: {type(error).__name__}"
                told = "\n".join(
                    line[:200] for line in traceback.format_exc(limit=-8).splitlines()[-30:]
                )
            seconds, most = time.monotonic() - start, peak()
            if most > MOST_MEMORY:
                outcome = "failed: memory"
            line = [outcome, round(seconds, 4), most, most - before, told]
            out.write(json.dumps(line) + "\n")
        out.flush()


class Tally:
    """What came of the cases."""

    def __init__(self) -> None:
        self.outcomes: dict[str, Counter[str]] = {}
        self.slowest: dict[str, list[float]] = {}
        self.memory: dict[str, list[int]] = {}
        self.peak, self.cases = 0, 0
        self.failures: list[dict[str, Any]] = []

    def add(self, number: int, name: str, line: list[Any]) -> None:
        """Count one case."""
        outcome, seconds, most, more, told = line
        self.cases += 1
        self.peak = max(self.peak, most)
        self.outcomes.setdefault(name, Counter())[outcome.partition(":")[0]] += 1
        self.slowest[name] = max(self.slowest.get(name, [0.0]), [seconds, number])
        self.memory[name] = max(self.memory.get(name, [0]), [more, number])
        if outcome.startswith("failed"):
            self.failures.append({"case": number, "reader": name, "what": outcome, "told": told})
            print(f"case {number}, {name}: {outcome}\n{told}", file=sys.stderr, flush=True)


def run(seed: int, first: int, end: int, shares: dict[str, float], tally: Tally) -> None:
    """All cases, in as many processes as it takes."""
    while first < end:
        command = [sys.executable, __file__, "--worker", json.dumps([seed, first, end, shares])]
        environment = {**os.environ, "MPLCONFIGDIR": tempfile.gettempdir()}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as child:
            first = follow(child, first, tally)
        if first < end and tally.cases == 0 and not tally.failures:
            raise SystemExit("no case could be run")


def follow(child: subprocess.Popen[str], first: int, tally: Tally) -> int:
    """Count what a process tells until it ends; returns the number of the case after its last."""
    assert child.stdout is not None
    current: tuple[int, str] | None = None
    # Above the time of a case is the start of a process: it makes what is sound.
    watch = threading.Timer(LONGEST + 60, child.kill)
    watch.start()
    for text in child.stdout:
        watch.cancel()
        watch = threading.Timer(LONGEST, child.kill)
        watch.start()
        if text.startswith("["):
            assert current is not None
            tally.add(*current, json.loads(text))
            first, current = current[0] + 1, None
            if tally.cases % 10_000 == 0:
                print(f"{tally.cases:,} cases", file=sys.stderr, flush=True)
        else:
            number, name = text.split()
            current = int(number), name
    watch.cancel()
    status = child.wait()
    if current is not None:
        tally.add(*current, [f"failed: ended with {status}", LONGEST, 0, 0, ""])
        first = current[0] + 1
    return first


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--readers", nargs="+", choices=SHARES, default=list(SHARES))
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker:
        work(*json.loads(asked.worker))
        return
    import numpy
    import PIL
    import safetensors
    import torch

    import loang

    start, tally = time.monotonic(), Tally()
    shares = {name: SHARES[name] for name in asked.readers}
    run(asked.seed, asked.first, asked.first + asked.cases, shares, tally)
    versions = {each.__name__: each.__version__ for each in (loang, torch, safetensors, PIL, numpy)}
    result = {
        "command": "python benchmarks/fuzz.py " + " ".join(sys.argv[1:]),
        "date": date.today().isoformat(),
        "versions": {"python": platform.python_version(), **versions},
        "machine": platform.platform(),
        "cases": tally.cases,
        "failures": tally.failures,
        "outcomes": {
            name: {
                **dict(sorted(tally.outcomes[name].items())),
                "slowest": {"seconds": tally.slowest[name][0], "case": tally.slowest[name][1]},
                "most_memory_of_a_case": {
                    "megabytes": round(tally.memory[name][0] / 1e6, 1),
                    "case": tally.memory[name][1],
                },
            }
            for name in SHARES
            if name in tally.outcomes
        },
        "peak_memory_megabytes": round(tally.peak / 1e6, 1),
        "seconds": round(time.monotonic() - start, 1),
    }
    print(json.dumps(result, indent=1))
    if tally.failures:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
