"""The whole table of one GPU, in one go: about half an hour, and as many lines.

    python benchmarks/gpu.py --out gpu.json
    python benchmarks/gpu.py --only network --seconds 10      # a part of it

- network: `loang bench train` of the tutorial's network and of `ddpm-cifar10`: images a second,
  FLOP/s, and their share of what a large matrix product and convolution reach there; and from that,
  how long the article's 50 epochs take.
- batch: the same of `quick` at batches of 16 to 1,024: where the device is busy.
- peers: benchmarks/same_network.py, of both shapes (needs diffusers and
  denoising-diffusion-pytorch; a library that is missing is left out).
- quality: `loang train --for 5m` of `quick`, at --batch, and the distance of 5,000 samples.
- sampling: `loang bench sample` of the model that ships.

Each part is a command of its own, printed before it runs; one that fails is told, and the others
go on. It runs on a CPU as well, where it takes hours.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from judge import Judge

from loang import device, files

HERE = Path(__file__).parent
ARTICLE_IMAGES = 50 * 60_000
PEERS = {"diffusers": "diffusers", "ddpm-pytorch": "denoising_diffusion_pytorch"}
Part = Callable[[argparse.Namespace, Path], dict[str, Any]]


def run(*command: str) -> str:
    """What a command prints; it is shown first."""
    print("$", " ".join(command), flush=True)
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, encoding="utf-8", check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr else "it failed")
    return done.stdout


def trained(asked: argparse.Namespace, *options: str) -> dict[str, Any]:
    """`loang bench train`, as its JSON."""
    seconds = f"{asked.seconds:g}"
    text = run(
        *("-m", "loang", "bench", "train", *options),
        *("--seconds", seconds, "--device", asked.device, "--json"),
    )
    found: dict[str, Any] = json.loads(text)
    print(
        f"  {found['machine']}: {found['images_per_second']:,.0f} images/s,"
        f" {found['flops_per_second'] / 1e12:.2f} TFLOP/s: {found['share_of_product_peak']:.0%} of"
        f" a product, {found['share_of_convolution_peak']:.0%} of a convolution",
        flush=True,
    )
    return found


def network(asked: argparse.Namespace, place: Path) -> dict[str, Any]:
    """The two networks whose figures are compared."""
    noise = place / "noise.npy"
    np.save(noise, np.random.default_rng(0).integers(0, 256, (2000, 32, 32, 3), np.uint8))
    tutorial = trained(asked, "--preset", "tutorial")
    minutes = ARTICLE_IMAGES / tutorial["images_per_second"] / 60
    print(f"  the article's 50 epochs: {minutes:.1f} min of training")
    cifar = trained(asked, str(noise), "--preset", "ddpm-cifar10")
    return {"tutorial": tutorial, "article_minutes": minutes, "ddpm-cifar10": cifar}


def batch(asked: argparse.Namespace, place: Path) -> dict[str, Any]:
    """`quick`, by batches."""
    sizes = (16, 64, 256, 1024)
    options = {str(n): ("--preset", "quick", "--set", f"training.batch={n}") for n in sizes}
    return {size: trained(asked, *chosen) for size, chosen in options.items()}


def peers(asked: argparse.Namespace, place: Path) -> dict[str, Any]:
    """Steps of the same network in other libraries."""
    missing = [name for name, package in PEERS.items() if find_spec(package) is None]
    without = [word for name in missing for word in ("--without", name)]
    found = {}
    for shape in ("small", "cifar10"):
        out = place / f"{shape}.json"
        print(
            run(
                *(str(HERE / "same_network.py"), "--shape", shape, "--device", asked.device),
                *("--batch", str(asked.batch), "--out", str(out), *without),
            )
        )
        found[shape] = json.loads(out.read_text(encoding="utf-8"))
    return found


def quality(asked: argparse.Namespace, place: Path) -> dict[str, Any]:
    """What five minutes give."""
    folder = place / "run"
    run(
        *("-m", "loang", "train", "--for", f"{asked.minutes:g}m", "--out", str(folder)),
        *("--set", f"training.batch={asked.batch}", "--device", asked.device),
    )
    judge = Judge(folder, asked.count, 0)
    facts = judge.model.facts
    found = judge.distance(judge.model.settings.sampling)
    row = {**judge.about(), **found, "floor": judge.floor(), "images": facts["images"]}
    print(f"  {row['images']:,} images; distance {found['distance']} (floor {row['floor']:.4f})")
    return row


def sampling(asked: argparse.Namespace, place: Path) -> dict[str, Any]:
    """The model that ships."""
    found: dict[str, Any] = json.loads(
        run(
            *("-m", "loang", "bench", "sample", "built-in", "--seconds", f"{asked.seconds:g}"),
            *("--device", asked.device, "--json"),
        )
    )
    print(f"  {found['machine']}: {json.dumps(found.get('rates', found.get('images_per_second')))}")
    return found


PARTS: dict[str, Part] = {
    "network": network,
    "batch": batch,
    "sampling": sampling,
    "peers": peers,
    "quality": quality,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batch", type=int, default=128, help="of peers and of quality")
    parser.add_argument("--seconds", type=float, default=20, help="of each measurement")
    parser.add_argument("--minutes", type=float, default=5, help="of training, for quality")
    parser.add_argument("--count", type=int, default=5000, help="samples, for quality")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    asked = parser.parse_args()
    print(device.describe(device.choose(asked.device), None))
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        for name in asked.only:
            try:
                found[name] = PARTS[name](asked, Path(place))
            except (RuntimeError, ValueError, OSError) as error:
                print(f"  {name} failed: {error}")
                found[name] = {"failed": str(error)}
            files.write_text(asked.out, json.dumps(found, indent=1) + "\n")
    print(f"written: {asked.out}")


if __name__ == "__main__":
    main()
