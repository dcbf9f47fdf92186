"""The same time of training each, on the same two cores: loang and three other libraries.

    python benchmarks/peers.py train NAME --minutes 5 15 45 --out peers
    python benchmarks/peers.py sample NAME --minutes 5 15 45 -n 250 --out peers
    python benchmarks/peers_quality.py peers/*.npy --table docs/measured/peers.csv

NAME is loang-quick, loang-quick-unlabelled, loang-tutorial, ddpm-pytorch, diffusers,
diffusers-small, smalldiffusion or smalldiffusion-batch-16. `train` writes after each of those times
the weights (NAME-5m.safetensors; for loang a run's folder, of a run that was told its time) and
NAME-5m.json, which tells what ran;
`sample` adds NAME-5m.npy, uint8, N x 28 x 28 x 1, and where it is stopped a second call goes on.
loang does not depend on any of the others; the environment that the published figures come from:

    pip install -c constraints.txt . denoising-diffusion-pytorch==2.3.4 diffusers==0.42.1 \\
        smalldiffusion==0.5.0 torch_ema==0.3 torchvision==0.28.0

With --rate R a minute of another library's is 60 R images, whatever the clock says: so it can be
trained on a machine that does other things meanwhile. R is what it makes a second on the machine
left alone, by a `train` of a minute.

The same for all: the 60,000 training images of Fashion-MNIST, read in the same order; two threads;
the clock starts at the first step, stands while weights are written, and the step in which the time
runs out is finished. The others are sampled by 50 evaluations of the network. Each keeps its own
network, loss, noise schedule, optimizer, learning rate, batch, average of the weights (samples are
drawn from the average) and sampler:

- loang-quick: `loang train --preset quick --for 5m`, reports within the five minutes included, and
  sampled as the preset is, by 13 evaluations: the measuring of guidance that follows a run is left
  away, as it takes seconds more and looks at distances as they are judged by. It alone learns the
  labels, and draws all classes in turn.
- loang-quick-unlabelled: the same, which learns no labels, and so is drawn from as the preset is
  where nothing guides: by 8 evaluations.
- loang-tutorial: that preset, with one report at the end only, as its validation would eat up the
  time. 32x32, samples are brought to 28x28; DDIM in place of its own 500 steps of DDPM.
- ddpm-pytorch: denoising-diffusion-pytorch. Unet and GaussianDiffusion as in its README, batch,
  learning rate, Adam and EMA as its Trainer has by default (the README's example takes a batch of
  2 x 32 and a rate of 8e-5, made for longer runs). Its own DDIM. Without `flash_attn`, which is
  the same function, and slower on a CPU.
- diffusers: the network and settings of examples/unconditional_image_generation/
  train_unconditional.py and of the commands in its README (--use_ema): UNet2DModel of 114 million
  parameters, DDPMScheduler, AdamW, 500 steps of warm-up, EMAModel. It is sampled as in the
  script, by DDPMPipeline: the library's DDIM clips the image that is predicted, but not the noise
  that goes with it, and from a network that has learnt for minutes it draws nothing but noise.
- diffusers-small: the same with a network of 6.8 million parameters, which learns from three times
  as many images in that time: our change, in its favour.
- smalldiffusion: examples/fashion_mnist_unet.py: U-Net, ScheduleLogLinear, AdamW, torch_ema, and
  its own sampler with gam=1.6. It has a second example, a transformer, that trains on fewer images
  a second here. A batch of 1,024 is run in pieces of 128, whose gradients add up to its own.
- smalldiffusion-batch-16: the same with the batch of the others, since five minutes of two cores
  are no more than a dozen steps of 1,024 images.

The other libraries' training loops are plain ones around their own modules, because theirs want a
folder of PNG files or `accelerate`. They compute in float32; loang in what its `auto` chooses
(the JSON tells). Images are padded with black from 28 to 32 where a network needs it, and
cropped again. None mirrors its images, clothes being no mirror images of themselves, but
smalldiffusion, whose Fashion-MNIST example does.
"""

import argparse
import copy
import json
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peer_libraries import EVALUATIONS, PEERS, Peer, allow_torchvision
from safetensors.torch import load_file
from torch import nn

import loang
from loang import device, files, tensors
from loang.data import Images, ImageSpec, open_dataset, order
from loang.data.resize import resize
from loang.data.scaling import to_model, to_pixels

THREADS = 2
CHUNK = 50  # images drawn at once
SPEC = ImageSpec(28, 28, 1)


OWN = {  # preset, and what is set besides
    "loang-quick": ("quick", ("evaluation.guidance_samples=0",)),
    "loang-quick-unlabelled": ("quick", ("evaluation.guidance_samples=0", "data.labels=false")),
    "loang-tutorial": (
        "tutorial",
        ("training.reports=1", "sampling.sampler=ddim", f"sampling.steps={EVALUATIONS}"),
    ),
}


def train_peer(
    name: str, minutes: Sequence[float], out: Path, seed: int, rate: float | None
) -> Iterator[tuple[float, dict[str, Any]]]:
    """Train on, and after each of so many minutes keep the average's weights, and tell what ran."""
    images = training_images()
    torch.manual_seed(seed)  # the only generator that these libraries read
    peer: Peer = PEERS[name]()
    margin = (peer.size - SPEC.height) // 2
    losses: list[float] = []
    position, seconds, start = 0, 0.0, time.perf_counter()
    for until in sorted(minutes):
        while (seconds if rate is None else position / rate) < 60 * until:
            pixels = images[order.batch(position, peer.batch, len(images), seed)]
            x = to_model(np.pad(pixels, ((0, 0), (margin, margin), (margin, margin), (0, 0))), SPEC)
            if peer.flips:
                x = torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(3), x)
            losses.append(peer.learn(x))
            position += len(x)
            seconds = time.perf_counter() - start
        stopped = time.perf_counter()
        # The average goes into the network to be kept, and out of it to train on.
        kept = copy.deepcopy(peer.network.state_dict())
        peer.average()
        tensors.save(out / f"{stem(name, until)}.safetensors", peer.network.state_dict())
        peer.network.load_state_dict(kept)
        yield (
            until,
            {
                "package": f"{peer.package} {version(peer.package)}",
                "settings": peer.settings,
                "batch": peer.batch,
                "flips": peer.flips,
                "labels": False,
                "parameters": count_parameters(peer.network),
                "steps": len(losses),
                "images": position,
                "training_seconds": seconds,
                "rate": rate,
                # Mean losses of up to ten equal parts of the run.
                "losses": [float(part.mean()) for part in parts(losses)],
                "hardware": hardware("float32"),
            },
        )
        start += time.perf_counter() - stopped


def parts(losses: Sequence[float]) -> list[np.ndarray]:
    """Up to ten, of about the same length."""
    return np.array_split(losses, min(10, len(losses)))


def train_own(
    name: str, minutes: Sequence[float], out: Path, seed: int, rate: float | None
) -> Iterator[tuple[float, dict[str, Any]]]:
    """`loang train --preset ... --for ...` for each of so many minutes, and what ran."""
    if rate is not None:
        sys.exit("loang's presets know how long they have: they can't be trained by a rate.")
    preset, changes = OWN[name]
    training_images()
    for until in sorted(minutes):
        run = out / stem(name, until)
        model = loang.train(
            "fashion-mnist",
            preset=preset,
            budget=f"{60 * until}s",
            out=run,
            overwrite=True,
            seed=seed,
            changes=changes,
        )
        lines = (run / "log.jsonl").read_text().splitlines()
        losses = [line["loss"] for line in map(json.loads, lines) if "loss" in line]
        yield (
            until,
            {
                "package": f"loang {loang.__version__}",
                "settings": model.settings.to_dict(),
                "batch": model.settings.training.batch,
                "flips": model.settings.data.flips,
                "labels": model.knows_labels,
                "parameters": count_parameters(model.denoiser.network),
                "steps": model.facts["steps"],
                "images": model.facts["images"],
                "training_seconds": model.facts["seconds"],
                "rate": None,
                "losses": [float(part.mean()) for part in parts(losses)],
                "hardware": hardware(model.facts["hardware"].rpartition(", ")[2]),
            },
        )


def train(name: str, minutes: Sequence[float], out: Path, seed: int, rate: float | None) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for until, ran in (train_own if name in OWN else train_peer)(name, minutes, out, seed, rate):
        place = out / f"{stem(name, until)}.npy"
        place.unlink(missing_ok=True)  # of other weights
        about = {
            "name": name,
            "minutes": until,
            "date": str(date.today()),
            "seed": seed,
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            **ran,
            "evaluations": EVALUATIONS,
            "samples": 0,
            "sampling_seconds": 0.0,
        }
        files.write_text(place.with_suffix(".json"), json.dumps(about, indent=2) + "\n")
        print(
            f"{name}, {until:g} minutes: {about['images']:,} images in {about['steps']:,} steps"
            f" and {about['training_seconds']:.1f} s; loss {about['losses'][0]:.4f} at first,"
            f" {about['losses'][-1]:.4f} at last",
            flush=True,
        )


def stem(name: str, minutes: float) -> str:
    """The name of the files of a training of so many minutes."""
    return f"{name}-{minutes:g}m"


def sampler(name: str, minutes: float, out: Path, seed: int) -> Any:
    """A function that draws `count` samples from the number `first` on, as 28x28 pixels."""
    if name in OWN:
        model = loang.load(out / stem(name, minutes), device="cpu")

        def draw_own(first: int, count: int) -> np.ndarray:
            pixels = model.sample(count, first=first, seed=seed, batch=count)
            return resize(Images(pixels, model.spec), SPEC.height, SPEC.width).pixels

        return draw_own

    peer: Peer = PEERS[name]()
    peer.network.load_state_dict(load_file(out / f"{stem(name, minutes)}.safetensors"))
    margin = (peer.size - SPEC.height) // 2
    inside = slice(margin, margin + SPEC.height)

    def draw(first: int, count: int) -> np.ndarray:
        # So that what was drawn in earlier calls does not matter.
        torch.manual_seed((seed + 1) * 2**32 + first)
        return to_pixels(peer.draw(count)[:, :, inside, inside], SPEC)

    return draw


def sample(name: str, minutes: float, count: int, out: Path, limit: float) -> bool:
    """Draw until there are `count` or the seconds are over; whether all are there."""
    place = out / f"{stem(name, minutes)}.npy"
    record = place.with_suffix(".json")
    about = json.loads(record.read_text())
    pixels = np.load(place) if place.exists() else np.empty((0, *SPEC.shape[1:], 1), np.uint8)
    if len(pixels) < count:
        about["evaluations"] = EVALUATIONS if name in PEERS else None
        draw = sampler(name, minutes, out, about["seed"])
        began = time.perf_counter()
        while len(pixels) < count and time.perf_counter() - began < limit:
            start = time.perf_counter()
            drawn = draw(len(pixels), min(CHUNK, count - len(pixels)))
            about["sampling_seconds"] += time.perf_counter() - start
            pixels = np.concatenate([pixels, drawn])
            about["samples"] = len(pixels)
            with files.replacing(place) as beside, beside.open("wb") as file:
                np.save(file, pixels, allow_pickle=False)
            files.write_text(record, json.dumps(about, indent=2) + "\n")
    seconds = about["sampling_seconds"]
    print(f"{stem(name, minutes)}: {len(pixels)} of {count} samples, {seconds:.0f} s so far")
    return len(pixels) >= count


def training_images() -> Images:
    images = open_dataset("fashion-mnist").train
    if len(images) != 60_000:
        sys.exit(f"These are {len(images):,} images, not the 60,000 that are compared with.")
    return images


def count_parameters(network: nn.Module) -> int:
    return sum(each.numel() for each in network.parameters())


def hardware(precision: str) -> str:
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor()
    return f"{name}, {device.describe(torch.device('cpu'), None).rpartition(',')[0]}, {precision}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("train", "sample"):
        one = verbs.add_parser(verb)
        one.add_argument("name", choices=[*OWN, *PEERS])
        one.add_argument("--out", type=Path, default=Path("peers"))
        one.add_argument("--minutes", type=float, nargs="+", default=[5.0])
        one.add_argument("--threads", type=int, default=THREADS)
    verbs.choices["train"].add_argument("--seed", type=int, default=0)
    verbs.choices["train"].add_argument(
        "--rate", type=float, help="images a second that a minute is counted by, for no clock"
    )
    verbs.choices["sample"].add_argument("-n", "--count", type=int, default=500)
    verbs.choices["sample"].add_argument(
        "--seconds", type=float, default=float("inf"), help="begin no chunk after so many"
    )
    asked = parser.parse_args()

    torch.set_num_threads(asked.threads)
    if asked.name in PEERS:
        allow_torchvision()
    if asked.verb == "train":
        train(asked.name, asked.minutes, asked.out, asked.seed, asked.rate)
    elif not all(
        sample(asked.name, each, asked.count, asked.out, asked.seconds) for each in asked.minutes
    ):
        sys.exit(1)  # call again


if __name__ == "__main__":
    main()
