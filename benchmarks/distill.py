"""How good a distilled model's few steps are beside its teacher's few and many.

    loang train --out runs/quick
    loang distill runs/quick --out runs/quick-2-steps
    python benchmarks/distill.py runs/quick runs/quick-2-steps --out distill.csv

Each row is the squared Fréchet distance of 5,000 samples to 10,000 training images, always from the
same noises and labels: the teacher in the ways asked for, each student in its own. A way is
`SAMPLER/STEPS`, and with guidance `SAMPLER/STEPS/SCALE` or `SAMPLER/STEPS/SCALE/LOW:HIGH`. A row
that stands in the CSV is not measured again.
"""

import argparse
from pathlib import Path

from judge import Judge, Table

from loang.config import SamplingSettings

KEYS = ("model", "sampler", "steps", "guidance", "interval", "samples", "seed")
WAYS = (
    *("ddim/2", "ddim/4", "ddim/8", "ddpm/10", "ddpm/12", "dpmpp-2m-sde/6", "dpmpp-2m-sde/8"),
    *("ddim/4/2", "ddim/8/2", "ddim/8/3/0.2:5", "ddpm/10/2/0.2:5", "dpmpp-2m-sde/6/2/0.2:5"),
)


def way(text: str) -> SamplingSettings:
    """`ddpm/10/2/0.2:5` as settings."""
    sampler, steps, *more = text.split("/")
    scale, interval = (*more, None, None)[:2]
    return SamplingSettings(
        sampler=sampler,
        steps=int(steps),
        guidance=1.0 if scale is None else float(scale),
        guidance_interval=None if interval is None else tuple(map(float, interval.split(":"))),
    )


def measure(arguments: argparse.Namespace) -> None:
    table = Table(arguments.out, KEYS)
    teacher, *students = arguments.models
    for path in (teacher, *students):
        judge = Judge(path, arguments.count, arguments.seed, arguments.features)
        about, floor = judge.about(), round(judge.floor(), 4)
        facts = judge.model.facts
        own = [judge.model.settings.sampling]
        for asked in arguments.ways if path == teacher else own:
            within = asked.guidance_interval
            row = {
                "run": path.name,
                "sampler": asked.sampler,
                "steps": asked.steps,
                "guidance": asked.guidance,
                "interval": "all" if within is None else "{:g}:{:g}".format(*within),
                "trained_images": facts.get("images"),
                "trained_seconds": facts.get("seconds"),
            }
            if not table.has(row | about):
                table.add(row | judge.distance(asked) | {"floor": floor} | about)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", type=Path, nargs="+", help="the teacher, then its students")
    parser.add_argument("--ways", type=way, nargs="*", default=[way(text) for text in WAYS])
    parser.add_argument("--count", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--features", default="auto")
    parser.add_argument("--out", type=Path, default=Path("distill.csv"))
    measure(parser.parse_args())


if __name__ == "__main__":
    main()
