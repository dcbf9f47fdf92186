"""Images a second from JPEGs to batches in [-1, 1]: loang, Pillow under DataLoader, datasets.

    pip install datasets torchvision && python benchmarks/data_speed.py

Each contender runs in processes of its own, in turns, `--rounds` times; the files' pages are in the
system's memory for all of them. What is timed is the first epoch, with everything that leads to it,
and two later ones: random batches of 64 images of 64x64, float32, channels first. Memory is the
most that all of a contender's processes held together (proportional set size, so that what they
share counts once), and what is left of it when pages of files, which the system takes back when it
needs them, are not counted. Prints JSON.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import numpy as np
import psutil
import torch
from PIL import Image

import loang

BATCH, SIDE, WORKERS, EPOCHS = 64, 64, 2, 3
Epoch = Callable[[int], Iterator[torch.Tensor]]


def generate(folder: Path, count: int, side: int) -> None:
    """JPEGs with the smooth shapes and the noise of photographs."""
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[0:side, 0:side] / side
    for number in range(count):
        place = folder / f"{number % 10}"
        place.mkdir(parents=True, exist_ok=True)
        waves = generator.normal(size=(3, 4))
        pixels = [
            np.sin(6 * (a * rows + b * columns) + c) + 0.3 * np.cos(20 * d * rows * columns)
            for a, b, c, d in waves
        ]
        noise = generator.normal(scale=0.1, size=(side, side, 3))
        values = 128 + 70 * (np.stack(pixels, axis=-1) + noise)
        picture = Image.fromarray(values.clip(0, 255).astype(np.uint8))
        picture.save(place / f"{number:05d}.jpg", quality=90)


def by_loang(folder: Path) -> Epoch:
    from loang.data import open_dataset, order
    from loang.training.feed import Feed

    train = open_dataset(folder, size=(SIDE, SIDE)).train
    feed = Feed(train, torch.device("cpu"))

    def epoch(number: int) -> Iterator[torch.Tensor]:
        for start in range(0, len(train), BATCH):
            position = number * len(train) + start
            yield feed(order.batch(position, min(BATCH, len(train) - start), len(train), seed=0))

    return epoch


def prepared(image: Image.Image) -> torch.Tensor:
    """What ImageFolder's users write: scale, crop, to a tensor, to [-1, 1]."""
    image = image.convert("RGB")
    scale = SIDE / min(image.size)
    width, height = (max(SIDE, round(side * scale)) for side in image.size)
    left, top = (width - SIDE) // 2, (height - SIDE) // 2
    image = image.resize((width, height), Image.Resampling.LANCZOS)
    image = image.crop((left, top, left + SIDE, top + SIDE))
    values = torch.from_numpy(np.array(image, np.float32))
    return values.permute(2, 0, 1) / 127.5 - 1


class PillowFolder(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """A plain map-style data set, as torchvision's ImageFolder is one."""

    def __init__(self, folder: Path) -> None:
        self.paths = sorted(folder.rglob("*.jpg"))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        with Image.open(self.paths[index]) as image:
            return prepared(image)


def by_pillow(folder: Path) -> Epoch:
    return by_loader(PillowFolder(folder))


def by_datasets(folder: Path) -> Epoch:
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["HF_DATASETS_CACHE"] = str(folder.parent / "datasets")
    import datasets

    datasets.disable_progress_bars()
    found = datasets.load_dataset("imagefolder", data_dir=str(folder), split="train")
    given = found.with_transform(lambda rows: {"x": [prepared(each) for each in rows["image"]]})
    return by_loader(given, lambda rows: torch.stack([row["x"] for row in rows]))


def by_loader(images: object, collate: Callable | None = None) -> Epoch:
    loader = torch.utils.data.DataLoader(
        images,  # type: ignore[arg-type]
        BATCH,
        shuffle=True,
        num_workers=WORKERS,
        collate_fn=collate,
        persistent_workers=True,
    )
    return lambda number: iter(loader)


CONTENDERS = {"loang": by_loang, "Pillow and DataLoader": by_pillow, "datasets": by_datasets}


class Memory:
    """The most bytes that this process and its children held, looked at ten times a second."""

    def __init__(self) -> None:
        self.total = self.own = 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def _watch(self) -> None:
        me = psutil.Process()
        while not self.over.wait(0.1):
            total = own = 0
            for process in (me, *me.children(recursive=True)):
                try:
                    total += process.memory_full_info().pss
                    own += _not_of_files(process.pid)
                except (psutil.Error, OSError):
                    continue
            self.total, self.own = max(self.total, total), max(self.own, own)


def _not_of_files(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    kept = [line for line in lines if line.startswith(("RssAnon", "RssShmem"))]
    return sum(1024 * int(line.split()[1]) for line in kept)


def measure(name: str, folder: Path) -> dict[str, float]:
    torch.set_num_threads(1)
    memory = Memory()
    rates = []
    start = time.perf_counter()
    epoch = CONTENDERS[name](folder)
    for number in range(EPOCHS):
        seen = 0
        for batch in epoch(number):
            assert batch.shape[1:] == (3, SIDE, SIDE), batch.shape
            assert batch.dtype == torch.float32, batch.dtype
            seen += len(batch)
        rates.append(seen / (time.perf_counter() - start))
        start = time.perf_counter()
    memory.over.set()
    memory.thread.join()
    return {
        "first epoch, images/s": rates[0],
        "later epochs, images/s": statistics.mean(rates[1:]),
        "memory, MB": memory.total / 1e6,
        "of that not pages of files, MB": memory.own / 1e6,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--side", type=int, default=128, help="of the JPEGs, in pixels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--case", nargs=2, metavar=("NAME", "FOLDER"), help="this one, here")
    asked = parser.parse_args()
    if asked.case:
        print(json.dumps(measure(asked.case[0], Path(asked.case[1]))))
        return
    results: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    with tempfile.TemporaryDirectory() as scratch:
        folder, cache = Path(scratch) / "photos", Path(scratch) / "cache"
        generate(folder, asked.count, asked.side)
        for _ in range(asked.rounds):
            for name, found in results.items():
                for kept in (cache, folder.parent / "datasets"):
                    shutil.rmtree(kept, ignore_errors=True)
                command = [sys.executable, __file__, "--case", name, str(folder)]
                environment = {**os.environ, "LOANG_CACHE": str(cache)}
                ended = subprocess.run(
                    command, stdout=subprocess.PIPE, text=True, check=True, env=environment
                )
                found.append(json.loads(ended.stdout))
                print(name, ended.stdout.strip(), file=sys.stderr)
    medians = {
        name: {key: round(statistics.median(each[key] for each in found), 1) for key in found[0]}
        for name, found in results.items()
    }
    report = {
        "images": asked.count,
        "side": asked.side,
        "contenders": medians,
        "date": str(date.today()),
        "processors": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {"loang": loang.__version__, "torch": torch.__version__} | others(),
    }
    print(json.dumps(report, indent=1))


def others() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("datasets", "numpy", "pillow")}


if __name__ == "__main__":
    main()
