"""How many images a second a preset trains on, on this machine.

    python benchmarks/train_speed.py --preset quick --seconds 30

The figure is the median over steps, after a warm-up. What else the machine does changes it: to
compare two settings, name the second with --against (KEY=VALUE, as for `loang train --set`); their
steps then alternate, and the ratio is quoted.
"""

import argparse
import platform
import statistics
import time
from datetime import date

import torch

import loang
from loang import device, heap
from loang.training.asked import open_images, resolve
from loang.training.plan import prepare
from loang.training.trainer import Trainer

WARM_UP = 3


def trainer(preset: str, changes: list[str]) -> Trainer:
    settings = resolve("fashion-mnist", preset=preset, changes=changes)
    plan = prepare(settings, open_images(settings))
    return Trainer(plan.denoiser, plan.dataset.train, plan.settings, plan.device)


def timed_step(subject: Trainer) -> float:
    start = time.perf_counter()
    float(subject.step(0.0).loss)  # reading the loss waits for the device
    return time.perf_counter() - start


@heap.kept()  # as in a run
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--against", action="append", default=[], metavar="KEY=VALUE")
    asked = parser.parse_args()

    subjects = [trainer(asked.preset, asked.set)]
    if asked.against:
        subjects.append(trainer(asked.preset, [*asked.set, *asked.against]))
    seconds: list[list[float]] = [[] for _ in subjects]
    for subject in subjects:
        for _ in range(WARM_UP):
            timed_step(subject)
    start = time.perf_counter()
    while time.perf_counter() - start < asked.seconds:
        for subject, measured in zip(subjects, seconds, strict=True):
            measured.append(timed_step(subject))

    where = device.describe(subjects[0].device, subjects[0].dtype)
    print(f"{date.today()}  loang {loang.__version__}, torch {torch.__version__}, seed 0")
    print(f"{where}, {platform.system()} {platform.machine()}")
    rates = []
    for subject, measured, changes in zip(
        subjects, seconds, (asked.set, [*asked.set, *asked.against]), strict=False
    ):
        batch = subject.settings.training.batch
        low, high = (batch / bound(measured) for bound in (max, min))
        rates.append(batch / statistics.median(measured))
        name = " ".join([asked.preset, *changes])
        steps = len(measured)
        print(f"{name}: {rates[-1]:.0f} images/s (median of {steps} steps; {low:.0f}..{high:.0f})")
    if len(rates) == 2:
        print(f"ratio of the second to the first: {rates[1] / rates[0]:.3f}")


if __name__ == "__main__":
    main()
