"""Bits per value of a model on its held-out images: the bound at every step, and the flow.

    loang train --out runs/quick
    python benchmarks/likelihood.py runs/quick -n 200 --followed 100
    python benchmarks/likelihood.py runs/quick -n 2 --followed 100 --dequantise uniform
    python benchmarks/likelihood.py runs/quick -n 20 --all-steps --probes 8

`loang evaluate MODEL --likelihood` measures the same with the defaults; here the effort can be
chosen, and what the choice changes be seen: looks against all steps, probes, the solver's error.
"""

import argparse
import json
from pathlib import Path

from loang import likelihood
from loang.evaluation import bits
from loang.evaluation.real import real_images
from loang.likelihood import Effort
from loang.model import Model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("data", nargs="?", help="real images; those that the model learned from")
    parser.add_argument("-n", "--count", type=int, default=200, help="images of the bound")
    parser.add_argument("--looks", type=int, default=64, help="times an image")
    parser.add_argument("--all-steps", action="store_true", help="the sum itself")
    parser.add_argument("--followed", type=int, default=100, help="images of the flow")
    parser.add_argument("--probes", type=int, default=1, help="0 takes the exact trace")
    parser.add_argument("--tolerance", type=float, default=1e-3)
    parser.add_argument("--dequantise", choices=("process", "uniform"), default="process")
    parser.add_argument("--training", action="store_true", help="of training images instead")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    model = Model.load(asked.model)
    data = real_images(model, asked.data, asked.model)
    found = likelihood.measure(
        model,
        data.train if asked.training else data.validation,
        data.train,
        effort=Effort(
            images=asked.count,
            looks=None if asked.all_steps else asked.looks,
            followed=asked.followed,
            probes=asked.probes or None,
            tolerance=asked.tolerance,
            dequantisation=asked.dequantise,
        ),
        seed=asked.seed,
        on_step=lambda done, total: print(f"\r{done} of {total} images", end="", flush=True),
    )
    print()
    for row in (bits.HEADS, *bits.rows(found)):
        print("{:28} {:>16}  {:52} {:>7} {:>6}".format(*row))
    for note in bits.notes(found):
        print(f"- {note}")
    if asked.json:
        asked.json.write_text(json.dumps(found.to_dict(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
