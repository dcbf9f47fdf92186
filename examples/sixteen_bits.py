"""Grey images of 16 bits that are not square, as a microscope gives them: in, learned, and out.

    python examples/sixteen_bits.py --for 60s

Makes a folder of cells on a dark background (48x64, 12 bits in 16, as many cameras count), trains
on it, draws as many images, writes them as 16-bit PNGs, and compares mean and spread with the data.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

import loang


def cells(number: int) -> np.ndarray:
    """One field of view: a few bright discs with soft edges on a background with noise."""
    generator = np.random.default_rng(number)
    rows, columns = np.mgrid[0:48, 0:64]
    values = np.full((48, 64), 300.0)
    for _ in range(generator.integers(2, 7)):
        row, column = generator.uniform(0, 48), generator.uniform(0, 64)
        radius, light = generator.uniform(4, 8), generator.uniform(600, 2500)
        distance = np.hypot(rows - row, columns - column)
        values += light / (1 + np.exp((distance - radius) / 0.7))
    values += generator.normal(scale=40, size=values.shape)
    return values.clip(0, 4095).astype(np.uint16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--for", dest="budget", default="60s")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=Path("runs/cells"))
    parser.add_argument("--set", nargs="*", default=[], dest="changes")
    asked = parser.parse_args()

    photos = asked.out.with_name(f"{asked.out.name}-photos")
    photos.mkdir(parents=True, exist_ok=True)
    for number in range(asked.count):
        Image.fromarray(cells(number)).save(photos / f"{number:04d}.png")

    model = loang.train(photos, out=asked.out, budget=asked.budget, changes=asked.changes)
    samples = model.sample(256, seed=0)
    drawn = asked.out / "drawn"
    drawn.mkdir(exist_ok=True)
    for number, sample in enumerate(samples):
        Image.fromarray(sample[..., 0]).save(drawn / f"{number:04d}.png")

    real = np.stack([np.asarray(Image.open(path)) for path in sorted(photos.iterdir())])
    fake = np.stack([np.asarray(Image.open(path)) for path in sorted(drawn.iterdir())])
    assert fake.dtype == np.uint16
    assert fake.shape[1:] == (48, 64)
    for name, measure in (("mean", np.mean), ("spread", np.std)):
        one, other = measure(real), measure(fake)
        print(f"{name}: {one:.0f} in the data, {other:.0f} in the samples ({other / one - 1:+.0%})")


if __name__ == "__main__":
    main()
