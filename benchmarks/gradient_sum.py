"""What it is worth to send gradients while the backward pass goes on, by how much is sent at once.

    python benchmarks/gradient_sum.py --widths 48 96 192 --out gradient-sum.csv

Two processes, one thread each, preset `quick` of some width at images of noise, as in growth.py;
`all` waits for the last gradient, as a sum without overlap does. All sizes take turns in the same
processes. Over a slow link, and nothing but that (Linux, as root):

    ip netns add slow && ip netns exec slow ip link set lo up
    ip netns exec slow tc qdisc add dev lo root tbf rate 1gbit burst 256kb latency 100ms
    ip netns exec slow python benchmarks/gradient_sum.py --link "1 Gbit/s" --out gradient-sum.csv
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from judge import Table

import loang
from loang import build, device, presets
from loang.config import changed
from loang.data import Images, ImageSpec
from loang.team.joining import join
from loang.training import gradient_sum
from loang.training.trainer import Trainer

SIZES = {"2^18": 2**18, "2^20": 2**20, "2^22": 2**22, "all": 2**62}
KEYS = ("link", "width", "at_once")


def measured(width: int, rounds: int, steps: int) -> list[dict[str, Any]]:
    """A row for each size, of this process and its counterpart."""
    team = join()
    torch.set_num_threads(1)
    settings = changed(presets.preset("quick"), [f"network.width={width}", "network.fold=2"])
    pixels = np.random.default_rng(0).integers(0, 256, (1000, 32, 32, 1), np.uint8)
    images = Images(pixels, ImageSpec(32, 32, 1))
    trainers = {}
    for name, size in SIZES.items():
        gradient_sum.SIZE = size
        denoiser = build.build_denoiser(settings, images.spec)
        trainers[name] = Trainer(denoiser, images, settings, device.choose(), team)
    times: dict[str, list[float]] = {name: [] for name in trainers}
    for number in range(rounds + 1):
        for name, trainer in trainers.items():
            for _ in range(steps):
                began = time.perf_counter()
                if not team.leads:
                    team.tell()
                float(trainer.step(0.0).loss)
                if number:
                    times[name].append(time.perf_counter() - began)
    parameters = sum(p.numel() for p in trainers["all"].denoiser.parameters())
    return [
        {
            "width": width,
            "at_once": name,
            "parameters": parameters,
            "step_ms": round(1000 * statistics.median(found), 2),
            "to_all": round(statistics.median(found) / statistics.median(times["all"]), 3),
            "steps": len(found),
            "machine": device.describe(trainers["all"].device, trainers["all"].dtype),
            "loang": loang.__version__,
            "torch": torch.__version__,
            "date": date.today().isoformat(),
        }
        for name, found in times.items()
    ]


def in_two(arguments: list[str]) -> list[dict[str, Any]]:
    """What the first of two processes says that are started with these arguments."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = []
    for rank in range(2):
        place = {
            "RANK": rank,
            "LOCAL_RANK": rank,
            "WORLD_SIZE": 2,
            "LOCAL_WORLD_SIZE": 2,
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
        }
        environment = os.environ | {key: str(value) for key, value in place.items()}
        command = [sys.executable, __file__, *arguments]
        started.append(
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        )
    said = [process.communicate()[0] for process in started]
    found: list[dict[str, Any]] = json.loads(said[0])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--widths", type=int, nargs="+", default=[48, 96, 192])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=3, help="of each size in a round")
    parser.add_argument("--link", default="loopback", help="what it is called in the CSV")
    parser.add_argument("--out", type=Path, default=Path("gradient-sum.csv"))
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measured(arguments.one, arguments.rounds, arguments.steps)))
        return
    table = Table(arguments.out, KEYS)
    for width in arguments.widths:
        asked = ["--one", str(width), "--rounds", str(arguments.rounds)]
        for row in in_two([*asked, "--steps", str(arguments.steps)]):
            row = {"link": arguments.link, **row}
            table.add(row)


if __name__ == "__main__":
    main()
