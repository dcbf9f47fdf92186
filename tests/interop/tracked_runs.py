"""Runs that nobody trains: a folder with what a run writes, and what trackers show of it."""

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image

from loang import presets
from loang.tracking.tracking import Tracking
from loang.training.folder import RunFolder
from loang.training.log import Log

SETTINGS = presets.quick()


def begin(folder):
    RunFolder(folder).write_config(SETTINGS, {})
    return folder


def record(step, **values):
    """As a run writes them; these numbers have no short name in binary."""
    return {"step": step, "images": 8 * step, "seconds": step / 3, **values}


def write(folder, *steps):
    """A measurement of each of these steps; a validation, an event and a picture of every fifth."""
    log = Log(folder / "log.jsonl")
    for step in steps:
        loss = None if step == 7 else 0.1 + 1 / (step + 1)
        log.append(record(step, share=step / 100, loss=loss, learning_rate=2e-4 / 3))
        if step % 5 == 0:
            log.append(record(step, validation_loss_ema=1 / step, validation_images=3))
            log.append(record(step, event="not saved", why="The disk is full."))
            (folder / "samples").mkdir(exist_ok=True)
            Image.new("L", (24, 8), step).save(folder / "samples" / f"{step:08d}.png")


def cut(folder, step):
    Log(folder / "log.jsonl").cut(8 * step)


def finish(folder):
    Image.new("L", (24, 16)).save(folder / "samples.png")
    frames = [Image.new("L", (24, 16), value) for value in (0, 90)]
    frames[0].save(folder / "walk.gif", save_all=True, append_images=frames[1:])
    (folder / "model.safetensors").write_bytes(bytes(100))


def session(name, folder, end="finished", *, anew=False):
    """One of a tracker, and what a person is told."""
    tracking, said = Tracking([name]), []
    tracking.start()
    tracking.follow(folder, anew=anew)
    tracking.close(end, said.append)
    return [line for line in said if not line.startswith("Waiting for")]


def expected(name, folder):
    """For each name in the log: steps and values; TensorBoard's are float32."""
    values = defaultdict(list)
    for line in Log(folder / "log.jsonl").read():
        for key, value in line.items():
            if key != "step" and isinstance(value, int | float):
                kept = float(np.float32(value)) if name == "tensorboard" else value
                values[key].append([line["step"], kept])
    return values


def found(name, folder):
    """What the tracker's store says."""
    reader = Path(__file__).with_name("read_trackers.py")
    out = subprocess.run(
        [sys.executable, str(reader), name, str(folder)], capture_output=True, text=True, check=True
    )
    return json.loads(out.stdout.splitlines()[-1])


def identity(name, folder):
    return json.loads((folder / "tracking" / f"{name}.json").read_text())["identity"]
