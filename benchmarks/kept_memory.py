"""What it is worth that a process keeps the memory that it frees: steps and walks with and without.

    python benchmarks/kept_memory.py --out kept-memory.json

Two processes do the same and take turns: one keeps memory as `loang train` and `loang sample` do,
the other leaves it to the C library (a tunable of its that changes nothing tells loang to do so).
Medians, the median of the turns' ratios, and the pages that the system had to hand out. Of
the images that come with the package, or all of Fashion-MNIST. Linux with glibc only.
"""

import argparse
import json
import multiprocessing
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable
from datetime import date
from multiprocessing.connection import Connection
from pathlib import Path

import torch

import loang
from loang import device, files, heap
from loang.training.asked import open_images, resolve
from loang.training.plan import prepare
from loang.training.trainer import Trainer

WORK = {
    "training `quick`": ("quick", 16, 20),
    "training `tutorial`, batch 16": ("tutorial", 16, 2),
    "training `ddpm-cifar10`, batch 8": ("ddpm-cifar10", 8, 2),
    "drawing 64 images by the model in the box": ("draw", 64, 1),
    "drawing 256": ("draw", 256, 1),
}
"""What is done, how many images at once, and how often in a turn."""
OFF = "glibc.malloc.perturb=0"
WARM_UP = 2


def work(kind: str, batch: int) -> Callable[[], object]:
    if kind == "draw":
        model = loang.load("built-in")
        return lambda: model.sample(batch)
    source = None if kind == "quick" else "fashion-mnist"
    settings = resolve(source, preset=kind, changes=[f"training.batch={batch}"])
    plan = prepare(settings, open_images(settings))
    trainer = Trainer(plan.denoiser, plan.dataset.train, plan.settings, plan.device)
    return lambda: float(trainer.step(0.5).loss)


def serve(pipe: Connection, kind: str, batch: int, often: int) -> None:
    """Seconds and pages each time it is asked."""
    torch.set_flush_denormal(True)
    do = work(kind, batch)
    training = kind != "draw"
    if training:
        heap.kept().__enter__()  # as a run does, to its end
    while pipe.recv():
        pages, start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.perf_counter()
        for _ in range(often):
            do()
        seconds = time.perf_counter() - start
        pages = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - pages
        pipe.send((seconds / often, pages / often))


def measured(name: str, rounds: int) -> dict[str, float]:
    context = multiprocessing.get_context("spawn")
    pipes = []
    for tunables in ("", OFF):
        os.environ["GLIBC_TUNABLES"] = tunables
        ours, theirs = context.Pipe()
        context.Process(target=serve, args=(theirs, *WORK[name]), daemon=True).start()
        pipes.append(ours)
    taken: list[list[tuple[float, float]]] = [[], []]
    for turn in range(WARM_UP + rounds):
        for pipe, found in zip(pipes, taken, strict=True):
            pipe.send(True)
            try:
                answer = pipe.recv()
            except (EOFError, ConnectionError):
                raise SystemExit(f"{name} has ended, by the error above.") from None
            if turn >= WARM_UP:
                found.append(answer)
    for pipe in pipes:
        pipe.send(False)
    with_it, without = taken
    return {
        "milliseconds_kept": 1000 * statistics.median(each for each, _ in with_it),
        "milliseconds_left": 1000 * statistics.median(each for each, _ in without),
        "faster_by": statistics.median(
            left / kept for (kept, _), (left, _) in zip(with_it, without, strict=True)
        ),
        "pages_kept": statistics.median(pages for _, pages in with_it),
        "pages_left": statistics.median(pages for _, pages in without),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", nargs="+", choices=WORK, default=list(WORK))
    parser.add_argument("--out", type=Path, help="the figures as JSON")
    asked = parser.parse_args()
    if heap.library({}) is None:
        parser.error("of Linux with glibc alone is it known how it keeps memory")
    rows = {}
    for name in asked.only:
        rows[name] = measured(name, asked.rounds)
        print(name, json.dumps(rows[name]), flush=True)
    on = device.choose("cpu")
    about = {
        "command": "benchmarks/kept_memory.py",
        "date": str(date.today()),
        "hardware": f"{device.describe(on, device.autocast_type(on))},"
        f" {platform.system()} {platform.machine()}",
        "seed": 0,
        "rounds": asked.rounds,
        "versions": {
            "loang": loang.__version__,
            "torch": torch.__version__,
            "glibc": platform.libc_ver()[1],
        },
    }
    if asked.out:
        files.write_text(asked.out, json.dumps({**about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
