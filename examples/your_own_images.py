"""Train on a folder of images for a few minutes, and draw new ones.

python examples/your_own_images.py photos/ 10m
"""

import sys
from pathlib import Path

import loang
from loang import drawing
from loang.training.display import ConsoleDisplay


def main(folder: str, budget: str = "10m", out: str = "runs/mine", *changes: str) -> None:
    loang.train(
        folder,
        budget=budget,
        size=(32, 32),
        out=out,
        overwrite=True,
        changes=changes,
        display=ConsoleDisplay(),
    )
    model = loang.load(out)
    written = drawing.draw(model, 64, Path(out) / "mine.png", seed=1, gif=True)
    print(*written, sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
