"""Images a second that loang draws, and other libraries by their own samplers, in turns.

    python benchmarks/sampling_speed.py --student runs/quick-2-steps --out sampling-speed.json

- loang: the model in the box (the network of `quick`) as it is sampled by itself, and, with
  --student, what `loang distill` has made of such a model; as `loang sample` draws.
- the others: the models of peers.py, of their own networks and in float32, by 25 evaluations of
  their own samplers (DDIM where they have it).

How good the images are is no matter of speed: weights are as they are made, and docs/benchmarks.md
says beside the table what trained ones draw. A round is a batch of each, so that all meet the same
machine; the table has medians, and ratios of the seconds that an image takes in the same round. An
evaluation is one pass of the network for one image, and with guidance there are two a step.

    pip install -c constraints.txt . denoising-diffusion-pytorch==2.3.4 diffusers==0.42.1 \\
        smalldiffusion==0.5.0 torch_ema==0.3 torchvision==0.28.0
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from peer_libraries import PEERS, allow_torchvision
from torch import nn

import loang
from loang import device, files

EVALUATIONS = 25  # of the other libraries' networks, a sample
SAME = "smalldiffusion"  # as smalldiffusion-batch-16, but for the batch that it learns from
Draw = Callable[[int], Any]
Subject = tuple[Draw, dict[str, Any]]


def of_loang(place: str) -> Subject:
    """The drawing of so many images by a model as it is, and what draws them."""
    model = loang.load(place, device="cpu")
    network, walk = model.denoiser.network, model.settings.sampling

    def draw(images: int) -> object:
        return model.sample(images, batch=images)

    passes: list[int] = []
    watch = network.register_forward_pre_hook(lambda network, given: passes.append(len(given[0])))
    draw(1)
    watch.remove()
    return draw, {
        "package": f"loang {loang.__version__}",
        "sampler": walk.sampler,
        "evaluations": sum(passes),
        "parameters": count_parameters(network),
    }


def of_peer(name: str) -> Subject:
    """The same of another library, whose weights are new."""
    peer = PEERS[name]()

    @torch.inference_mode()
    def draw(images: int) -> object:
        return peer.draw(images, EVALUATIONS)

    return draw, {
        "package": f"{peer.package} {version(peer.package)}",
        "sampler": peer.settings["sampler"]["name"],
        "evaluations": EVALUATIONS,
        "parameters": count_parameters(peer.network),
    }


def count_parameters(network: nn.Module) -> int:
    return sum(each.numel() for each in network.parameters() if each.requires_grad)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="built-in", help="a run or model file of quick's")
    parser.add_argument("--student", help="the same, distilled")
    parser.add_argument("--without", action="append", default=[], choices=PEERS)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=16, help="images of a round, of each")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="the figures as JSON")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    allow_torchvision()

    subjects = {"loang": of_loang(asked.model)}
    if asked.student:
        subjects["loang, distilled"] = of_loang(asked.student)
    for name in PEERS:
        if name not in (*asked.without, SAME):
            subjects[name] = of_peer(name)
    seconds: dict[str, list[float]] = {name: [] for name in subjects}
    for turn in range(1 + asked.rounds):  # the first is to warm up
        for name, (draw, _) in subjects.items():
            start = time.perf_counter()
            draw(asked.batch)
            if turn:
                seconds[name].append((time.perf_counter() - start) / asked.batch)

    rows = {
        name: {
            **about,
            "images_a_second": 1 / statistics.median(seconds[name]),
            "slowest": 1 / max(seconds[name]),
            "fastest": 1 / min(seconds[name]),
            "milliseconds_an_evaluation": 1000
            * statistics.median(seconds[name])
            / about["evaluations"],
            "faster_by": {
                own: statistics.median(
                    theirs / ours for ours, theirs in zip(seconds[own], seconds[name], strict=True)
                )
                for own in subjects
                if "loang" in own
            },
        }
        for name, (_, about) in subjects.items()
    }
    own_type = device.autocast_type(torch.device("cpu"), "auto")
    about = {
        "command": f"benchmarks/sampling_speed.py --batch {asked.batch}",
        "batch": asked.batch,
        "date": str(date.today()),
        "hardware": f"{device.describe(torch.device('cpu'), own_type)},"
        f" {platform.system()} {platform.machine()}",
        "threads": torch.get_num_threads(),
        "seed": 0,
        "rounds": asked.rounds,
        "versions": {"loang": loang.__version__, "torch": torch.__version__},
    }
    print(f"{about['date']}  {about['hardware']}")
    print(f"{'':24}{'parameters':>12}{'evaluations':>13}{'images/s':>10}{'ms each':>9}  ratios")
    for name, row in rows.items():
        ratios = "  ".join(f"{own} {by:.1f}" for own, by in row["faster_by"].items())
        print(
            f"{name:24}{row['parameters']:12,}{row['evaluations']:13}"
            f"{row['images_a_second']:10.2f}{row['milliseconds_an_evaluation']:9.2f}  {ratios}",
        )
    if asked.out:
        files.write_text(asked.out, json.dumps({**about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
