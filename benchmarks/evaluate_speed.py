"""How long scoring takes, and how much memory: every column, measure and search for copies.

    python benchmarks/evaluate_speed.py --count 10000

COUNT images of Fashion-MNIST stand in the place of samples (training images that the reference
does not hold, a little blurred), against as many training images and the 10,000 held-out ones. The
cache of real images' features is empty at first. Prints seconds by stage, the most memory that the
process ever held, and what it ran on, as JSON.
"""

import argparse
import json
import os
import platform
import resource
import sys
import tempfile
import time
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import torch

import loang
from loang.data import open_dataset
from loang.data.fingerprint import fingerprint
from loang.data.images import Dataset, Images
from loang.device import describe
from loang.evaluation import output
from loang.evaluation.evaluate import evaluate
from loang.evaluation.subject import Subject
from loang.metrics import features


def blurred(images: Images) -> Images:
    pixels = images.pixels.astype(np.uint16)
    pixels = (2 * pixels + np.roll(pixels, 1, 1) + np.roll(pixels, 1, 2)) // 4
    return replace(images, pixels=pixels.astype(np.uint8))


def rows(images: Images, start: int, stop: int) -> Images:
    assert images.labels is not None
    return replace(images, pixels=images.pixels[start:stop], labels=images.labels[start:stop])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--features", default="fashion-v1")
    asked = parser.parse_args()
    whole = open_dataset("fashion-mnist")
    train = rows(whole.train, 0, asked.count)
    data = Dataset("10k", train, whole.validation, fingerprint(train, whole.validation))
    samples = blurred(rows(whole.train, len(whole.train) - asked.count, len(whole.train)))
    stages: dict[str, float] = {}

    def on_stage(what: str, done: int, total: int) -> None:
        stages.setdefault(what, time.perf_counter())

    with tempfile.TemporaryDirectory() as place:
        os.environ["LOANG_CACHE"] = place
        start = time.perf_counter()
        report = evaluate(
            Subject("blurred", samples),
            data,
            spaces=[features.named(asked.features, data)],
            on_stage=on_stage,
        )
        measured = time.perf_counter()
        output.write_report(report, Path(place) / "report")
        end = time.perf_counter()
    # Linux counts in KiB, macOS in bytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )
    print(
        json.dumps(
            {
                "samples": asked.count,
                "real_images": len(train),
                "held_out": len(data.validation),
                "features": asked.features,
                "seconds": round(end - start, 1),
                "of_which_writing": round(end - measured, 1),
                "stages_begin": {what: round(at - start, 1) for what, at in stages.items()},
                "most_memory_gb": round(peak / 1e9, 2),
                "hardware": describe(torch.device("cpu"), None),
                "threads": torch.get_num_threads(),
                "versions": {
                    "loang": loang.__version__,
                    "torch": torch.__version__,
                    "numpy": np.__version__,
                    "python": platform.python_version(),
                },
                "date": date.today().isoformat(),
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
