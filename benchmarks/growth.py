"""How a training step grows: with the size of images, channels, batch, data set, processes.

    python benchmarks/growth.py --out growth.csv --chart growth.png

Each row is one process (or two) of its own, so that its memory is its own: preset `quick` on
images of noise in bfloat16 where the machine has it, the median step after a warm-up, and the peak
of resident memory. `--axes` names some of them only; rows that stand in the CSV are not measured
again. Of two processes each has one thread, as they share two cores; `one thread` beside them is
what a process with one thread does alone.
"""

import argparse
import csv
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch

import loang
from loang import build, device, presets
from loang.config import changed
from loang.data import Images, ImageSpec
from loang.networks.sizes import enough_fold
from loang.team.joining import join
from loang.training.trainer import Step, Trainer

BASE = {
    "size": 32,
    "channels": 1,
    "batch": 16,
    "images": 1000,
    "processes": 1,
    "fold": 2,
    "width": 48,
}
AXES: dict[str, list[dict[str, Any]]] = {
    "size": [{"size": size} for size in (16, 32, 64, 128, 256)],
    "size, folded": [{"size": size, "fold": 0} for size in (16, 32, 64, 128, 256)],
    "channels": [{"channels": channels} for channels in (1, 3, 4, 8)],
    "batch": [{"batch": batch} for batch in (1, 2, 4, 8, 16, 32, 64, 128)],
    "images": [{"images": images, "size": 16} for images in (10**4, 10**5, 10**6, 10**7)],
    "processes": [
        {"width": width, **way}
        for width in (48, 96, 192)
        for way in (
            {"processes": 1},
            {"processes": 1, "threads": 1},
            {"processes": 2, "threads": 1},
        )
    ],
}
KEYS = ("axis", *BASE, "threads")


def measured(point: dict[str, Any], seconds: float) -> dict[str, Any]:
    """The median step of this process, and what it holds at its peak."""
    team = join()
    if threads := point.get("threads"):
        torch.set_num_threads(threads)
    size, channels = point["size"], point["channels"]
    spec = ImageSpec(size, size, channels)
    fold = point["fold"] or enough_fold(size, size)
    changes = [f"network.fold={fold}", f"network.width={point['width']}"]
    changes.append(f"training.batch={point['batch']}")
    settings = changed(presets.preset("quick"), changes)
    # A mapped file with holes: in its order and its copies as any, but no disk is waited for.
    with tempfile.TemporaryFile() as file:
        pixels = np.memmap(file, np.uint8, "r+", 0, (point["images"], size, size, channels))
    pixels[:100] = np.random.default_rng(0).integers(0, 256, pixels[:100].shape)
    images = Images(pixels, spec)
    trainer = Trainer(build.build_denoiser(settings, spec), images, settings, device.choose(), team)
    steps, sums = [], []
    for _ in range(3):
        together(trainer)
    # One process says when it is over; another only does what it is told.
    end = time.perf_counter() + seconds
    while team.tell(len(steps) < 5 or time.perf_counter() < end):
        began = time.perf_counter()
        float(together(trainer).loss)
        steps.append(time.perf_counter() - began)
        if team.size > 1:
            gradients = [torch.ones_like(p) for p in trainer.denoiser.parameters()]
            began = time.perf_counter()
            team.add_up(gradients)
            sums.append(time.perf_counter() - began)
    return {
        "step_ms": round(1000 * statistics.median(steps), 2),
        "sum_ms": round(1000 * statistics.median(sums), 2) if sums else 0,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "parameters": sum(p.numel() for p in trainer.denoiser.parameters()),
        "used_fold": fold,
        "steps": len(steps),
        "torch": torch.__version__,
        "device": device.describe(trainer.device, trainer.dtype),
    }


def together(trainer: Trainer) -> Step:
    """A step, of which the leader tells the others; they hear of it."""
    if not trainer.team.leads:
        trainer.team.tell()
    return trainer.step(0.0)


def in_its_own(point: dict[str, Any], seconds: float) -> dict[str, Any]:
    """A point in a process of its own, or in two; what the first of them says."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = []
    for rank in range(point["processes"]):
        place = {
            "RANK": rank,
            "LOCAL_RANK": rank,
            "WORLD_SIZE": point["processes"],
            "LOCAL_WORLD_SIZE": point["processes"],
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
        }
        command = [sys.executable, __file__, "--point", json.dumps(point)]
        started.append(
            subprocess.Popen(
                [*command, "--seconds", str(seconds)],
                env=os.environ | {key: str(value) for key, value in place.items()},
                stdout=subprocess.PIPE,
                text=True,
            )
        )
    said = [process.communicate()[0] for process in started]
    found: dict[str, Any] = json.loads(said[0])
    return found


def points(axes: list[str]) -> Iterator[dict[str, Any]]:
    for axis in axes:
        for point in AXES[axis]:
            yield {"axis": axis, **BASE, "threads": 0, **point}


def chart(rows: list[dict[str, str]], path: Path) -> None:
    """A panel an axis: milliseconds a step on the left, memory on the right."""
    from matplotlib.figure import Figure

    drawn = [axis for axis in AXES if axis != "processes"]
    figure = Figure(figsize=(13, 3.4), layout="constrained")
    for axis, panel in zip(drawn, figure.subplots(1, len(drawn)), strict=True):
        name = axis.partition(",")[0]
        of_axis = [row for row in rows if row["axis"] == axis]
        at = [int(row[name]) for row in of_axis]
        panel.loglog(at, [float(row["step_ms"]) for row in of_axis], "o-", color="C0")
        panel.set_xlabel(axis)
        panel.set_ylabel("ms a step", color="C0")
        panel.set_ylim(10, 20_000)  # the same everywhere: what is flat looks so
        memory = panel.twinx()
        memory.plot(at, [int(row["peak_mb"]) for row in of_axis], "s--", color="C1")
        memory.set_ylim(0, 3000)
        memory.set_ylabel("peak MB", color="C1")
        names = [f"{each}" if each < 10_000 else f"$10^{len(str(each)) - 1}$" for each in at]
        panel.set_xticks(at, names, minor=False)
        panel.minorticks_off()
        panel.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--axes", nargs="*", default=list(AXES), choices=list(AXES))
    parser.add_argument("--seconds", type=float, default=8, help="for each row")
    parser.add_argument("--out", type=Path, default=Path("growth.csv"))
    parser.add_argument("--chart", type=Path)
    parser.add_argument("--point", type=json.loads, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.point:
        found = measured(asked.point, asked.seconds)
        if join().leads:
            print(json.dumps(found))
        return
    rows = list(csv.DictReader(asked.out.open())) if asked.out.exists() else []
    there = {tuple(row[key] for key in KEYS) for row in rows}
    for point in points(asked.axes):
        if tuple(str(point[key]) for key in KEYS) in there:
            continue
        found = in_its_own({key: point[key] for key in (*BASE, "threads")}, asked.seconds)
        row = {**point, **found, "loang": loang.__version__, "date": str(date.today())}
        print(row, flush=True)
        rows.append({key: str(value) for key, value in row.items()})
        with asked.out.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    if asked.chart:
        chart(rows, asked.chart)


if __name__ == "__main__":
    main()
