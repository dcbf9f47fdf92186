"""Where a step of training takes its time, and what share of the peak it could come to at most.

    python benchmarks/ceiling.py --preset tutorial --batch 16 --out ceiling.json

Of each operation of a step the shortest time of all rounds counts, as torch's profiler tells it,
and of the peak the fastest: both as if nothing else ran on the machine. Were convolutions and
products all that a step takes, as fast as they are in it, it would reach the share in the last
line; no change of anything else can bring it further. On a processor, with Fashion-MNIST.
"""

import argparse
import json
import os
import platform
from collections import Counter
from datetime import date
from pathlib import Path

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

import loang
from loang import device, files, heap
from loang.bench.work import peak
from loang.training.asked import open_images, resolve
from loang.training.plan import prepare
from loang.training.trainer import Trainer

CONVOLUTIONS, PRODUCTS = "convolutions and their gradients", "products"
KINDS = {
    CONVOLUTIONS: ("conv",),
    PRODUCTS: ("mm", "linear", "dot", "einsum"),
    "activations": ("gelu", "silu", "sigmoid", "softmax"),
    "norms": ("norm_backward", "group_norm", "layer_norm"),
    "copies and casts": ("copy", "cat", "im2col", "col2im", "clone", "fill", "zero"),
    "optimizer, averages, norm of the gradients": ("adam", "lerp", "vector_norm", "foreach"),
}
"""What of an operation's name puts it there; the first that fits."""
REST = "all else"
WARM_UP = 3


def kind_of(name: str) -> str:
    plain = name.removeprefix("aten::").lower()
    return next((kind for kind, parts in KINDS.items() if any(p in plain for p in parts)), REST)


def flops(trainer: Trainer) -> Counter[str]:
    """Multiplications and additions of a step, by kind."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        trainer.gradients()
    found: Counter[str] = Counter()
    for operation, count in counter.get_flop_counts()["Global"].items():
        found[kind_of(str(operation))] += count
    return found


def shortest(trainer: Trainer, rounds: int) -> tuple[dict[str, float], float, float]:
    """Seconds of a step by kind of operation; the fastest convolution and product, FLOP/s."""
    least: dict[tuple[str, int], float] = {}
    convolution = product = 0.0
    for turn in range(WARM_UP + rounds):
        if turn < WARM_UP:
            trainer.step(0.5)
            continue
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            trainer.step(0.5)
        seen: Counter[str] = Counter()
        for event in profiler.events() or ():
            place = event.name, seen[event.name]
            seen[event.name] += 1
            seconds = event.self_cpu_time_total / 1e6
            least[place] = min(seconds, least.get(place, seconds))
        now = peak(trainer.device, trainer.dtype, 0.3)
        convolution, product = max(convolution, now.convolution), max(product, now.product)
    found = dict.fromkeys([*KINDS, REST], 0.0)
    for (name, _), seconds in least.items():
        found[kind_of(name)] += seconds
    return found, convolution, product


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--preset", default="tutorial")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, help="the figures as JSON")
    asked = parser.parse_args()
    changes = [f"training.batch={asked.batch}"]
    settings = resolve("fashion-mnist", preset=asked.preset, device="cpu", changes=changes)
    plan = prepare(settings, open_images(settings))
    torch.set_flush_denormal(True)
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it would tell when it starts, and ends
    with heap.kept():
        trainer = Trainer(plan.denoiser, plan.dataset.train, plan.settings, plan.device)
        work = flops(trainer)
        taken, convolution, product = shortest(trainer, asked.rounds)
    step, multiplied = sum(taken.values()), taken[CONVOLUTIONS] + taken[PRODUCTS]
    total = work.total()
    rows = {
        kind: {
            "milliseconds": 1000 * seconds,
            "share_of_the_step": seconds / step,
            "share_of_the_peak": work[kind] / seconds / convolution if work[kind] else None,
        }
        for kind, seconds in taken.items()
    }
    figures = {
        "command": f"benchmarks/ceiling.py --preset {asked.preset} --batch {asked.batch}",
        "date": str(date.today()),
        "hardware": f"{device.describe(plan.device, trainer.dtype)},"
        f" {platform.system()} {platform.machine()}",
        "seed": settings.training.seed,
        "rounds": asked.rounds,
        "versions": {"loang": loang.__version__, "torch": torch.__version__},
        "flops_of_an_image": total / asked.batch,
        "peak_convolution": convolution,
        "peak_product": product,
        "milliseconds": 1000 * step,
        "share": total / step / convolution,
        "share_without_all_else": total / multiplied / convolution,
        "rows": rows,
    }
    for kind, row in rows.items():
        of_peak = row["share_of_the_peak"]
        told = "" if of_peak is None else f"{of_peak:8.1%} of the peak"
        print(f"{row['milliseconds']:8.1f} ms {row['share_of_the_step']:6.1%} {kind:45}{told}")
    print(
        f"{1000 * step:8.1f} ms: {figures['share']:.1%} of {convolution / 1e12:.3g} TFLOP/s;"
        f" by convolutions and products alone {figures['share_without_all_else']:.1%}"
    )
    if asked.out:
        files.write_text(asked.out, json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
