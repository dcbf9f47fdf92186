"""Kills training runs at random moments, again and again, and looks at what is left.

    python benchmarks/torture.py --kills 200

A small run saves a checkpoint after each step. A process trains it and is killed (SIGKILL, which
nothing can catch) at a random moment: every fourth time while it starts, else within some steps
after its first save. Another one goes on from what lies on the disk, and so on to the end of the
run; then the next run begins. After each kill the newest checkpoint must load with every hash
right, and the model file too, if there is one; after the end of a run nothing stray may be left,
and all its weights, averages and moments must equal, bit for bit, those of a run that nobody
killed. Prints JSON. Needs a system with fork.
"""

import argparse
import json
import os
import platform
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before torch: a process with threads can't fork

import matplotlib.figure  # noqa: F401 (here, so that no process spends its life with importing)
import numpy as np
import torch
import torch._dynamo  # an optimizer imports it

import loang
import loang.training.run
from loang.errors import LoangError
from loang.training import checkpoint
from loang.training.folder import RunFolder, checkpoint_steps

STEPS = 150
CHANGES = (
    "network.width=8",
    "network.multipliers=1,1",
    "network.attention=[1]",
    "network.heads=1",
    "training.batch=16",
    "training.reports=5",
    "training.checkpoint_minutes=1e-9",
    "schedule.steps=50",
    "sampling.steps=2",
    "data.flips=true",
)


def make_images(place: Path) -> Path:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 60)
    images = (rng.random((60, 8, 8)) * (80 + 80 * labels)[:, None, None]).astype(np.uint8)
    np.savez(place, images=images, labels=labels)
    return place


def train(images: Path, out: Path, steps: int = STEPS) -> None:
    """Start the run there, or go on with it."""
    if (out / "config.json").exists():
        loang.train(out=out, resume=True)
    else:
        loang.train(images, out=out, budget=f"{16 * steps} images", device="cpu", changes=CHANGES)


def forked(images: Path, out: Path, steps: int = STEPS) -> int:
    """A process that trains there; its number."""
    process = os.fork()
    if process == 0:
        status = 1
        try:
            torch.set_num_threads(1)
            train(images, out, steps)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return process


def wait_for_a_save(run: Path, process: int) -> None:
    """Until there is another checkpoint, or the process has ended."""
    checkpoints = run / "checkpoints"
    before = checkpoint_steps(checkpoints)
    while (
        checkpoint_steps(checkpoints) == before
        and os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    ):
        time.sleep(0.0005)


def everything(run: Path, steps: int = STEPS) -> dict[str, torch.Tensor]:
    found, step, wrong = checkpoint.load_newest(run / "checkpoints")
    assert step == steps, step
    assert not wrong, wrong
    return {f"{file}/{name}": t for file, each in found.tensors.items() for name, t in each.items()}


def look(run: Path) -> tuple[str, list[str]]:
    """After a kill: what was interrupted, as far as the disk tells; and what is wrong."""
    folder, wrong = RunFolder(run), []
    if checkpoint_steps(folder.checkpoints):
        try:
            wrong += checkpoint.load_newest(folder.checkpoints)[2]
        except LoangError as error:
            wrong.append(str(error))
    if folder.model.exists():
        try:
            loang.load(run, device="cpu")
        except LoangError as error:
            wrong.append(str(error))
    left = strays(run)
    # A kill can cut one save, or one deletion; more would mean that they are never cleared away.
    if len([name for name in left if name.startswith(".step-")]) > 2:
        wrong.append(f"too much is left: {left}")
    for name, what in ((".replaced", "replacing"), (".deleted", "deleting"), (".step", "staging")):
        if any(name in path for path in left):
            return what, wrong
    return ("replacing a file" if left else "elsewhere"), wrong


def strays(run: Path) -> list[str]:
    return [path.name for path in run.rglob(".*") if path.name != ".lock"]


def torture(kills: int, seed: int, place: Path, steps: int = STEPS) -> dict[str, Any]:
    """Kill so many times, in runs of so many steps; what was seen."""
    chance = random.Random(seed)
    images = make_images(place / "images.npz")
    start = time.monotonic()
    whole = place / "whole"
    assert os.waitpid(forked(images, whole, steps), 0)[1] == 0
    longest = time.monotonic() - start
    expected = everything(whole, steps)

    done, runs, moments, failures = 0, 0, Counter[str](), list[str]()
    run = place / "run"
    while done < kills or run.exists():
        process = forked(images, run, steps)
        if done < kills:
            if chance.random() < 0.75:
                wait_for_a_save(run, process)
            time.sleep(chance.uniform(0, 12 * longest / steps))
            os.kill(process, signal.SIGKILL)
        status = os.waitpid(process, 0)[1]
        if os.WIFSIGNALED(status):
            done += 1
            moment, wrong = look(run)
            moments[moment] += 1
            failures += [f"kill {done}: {problem}" for problem in wrong]
            print(
                f"\rkill {done}, run {runs + 1}, {len(failures)} failures", end="", file=sys.stderr
            )
        elif status != 0:
            failures.append(f"a process after kill {done} ended with status {status}")
            shutil.rmtree(run)
        else:
            runs += 1
            found = everything(run, steps)
            different = [name for name in expected if not torch.equal(expected[name], found[name])]
            if different or found.keys() != expected.keys():
                failures.append(f"run {runs} ended otherwise: {different[:3]}")
            if left := strays(run):
                failures.append(f"run {runs} left {left}")
            shutil.rmtree(run)
    print(file=sys.stderr)
    return {
        "kills": done,
        "failures": len(failures),
        "what failed": failures[:20],
        "runs that came to their end": runs,
        "found in the midst of": dict(moments),
        "seconds": round(time.monotonic() - start, 1),
        "steps a run, each saved": steps,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=STEPS, help="of a run, each saved")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        found = torture(asked.kills, asked.seed, Path(place), asked.steps)
    about = {
        "date": str(date.today()),
        "hardware": f"CPU ({torch.backends.cpu.get_cpu_capability()})",
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {"loang": loang.__version__, "torch": torch.__version__},
        "seed": asked.seed,
    }
    print(json.dumps({**found, **about}, indent=1))
    sys.exit(bool(found["failures"]))


if __name__ == "__main__":
    main()
