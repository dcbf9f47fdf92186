"""The article's own code beside loang: training its network, and drawing images. In turns.

    python benchmarks/article_speed.py article.md --tensorflow tf215/bin/python --out speed.json
    python benchmarks/article_speed.py article.md --tensorflow tf215/bin/python --student runs/two

The article's text is not a part of loang: name the file. Its code is taken out of it, mended until
it runs (scripts/article_code.py), and timed under a TensorFlow of its own, which waits while others
are timed (article_worker.py):

    python -m venv tf215 && tf215/bin/pip install "tensorflow==2.15.*" \\
        "tensorflow-addons==0.23.*" "numpy<2"

Training, a step of the same network at the same batch:

- article: its `train_step`, a `tf.function`, on a batch that lies ready: noise, forward and
  backward, optimizer, metric. TensorFlow as it comes: float32, oneDNN.
- torch: the same by torch's own operations in float32, contiguous, and torch's AdamW.
- loang: what `loang train --preset tutorial` does of a step: the batch from its images, the
  average of the weights and the norm of the gradients too, in what `--precision auto` chooses.

FLOP are those of convolutions and products in an image's forward and backward pass, which torch
counts; the article's network is the same function, so its count is that of plain torch. The peak is
that of one large convolution in loang's precision, as `loang bench train` tells it.

Drawing:

- article: its loop as its text has it, each operation by itself, but 8 images at once; a picture of
  every 25th step is left out. A few of its 500 evaluations are timed and 500 are counted.
- article, one: the same with one image, as the article draws.
- same network: loang's on the article's schedule, as many at once, by the sampler that `auto` takes
  for --few evaluations. Its weights are fresh, which takes the same time.
- quick: 64 images as `loang sample` draws them, of a model of the preset's shape, by dpmpp-2m in 8
  steps, guidance 3 in 0.2:5. Another network, which knows labels.
- student, with --student: 64 images by a distilled model's own walk.

Evaluations an image are counted at the network, where guidance asks twice. How good the images are
is no part of this.

Each round runs each subject once, and a moment passes between two, in which the threads of the last
one go to sleep. Tables have medians, and medians of the rounds' ratios to the article; numbers too
small to be normal count as 0 for all, as in TensorFlow's threads.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import loang
from loang import device, drawing, files, heap
from loang.bench.work import counted, peak
from loang.config import SamplingSettings
from loang.model import Model
from loang.networks.tutorial import TutorialUNet
from loang.training.asked import open_images, resolve
from loang.training.plan import Plan, prepare
from loang.training.trainer import Trainer

SIZE = 32
WARM_UP = 1
PAUSE = 0.3
"""Seconds between two subjects: threads that have nothing to do look for work for a while."""
WALK = 500
"""Evaluations of the article's loop."""
DRAWN = 64
"""Images that `loang sample` draws, at once."""
CPU = torch.device("cpu")
HERE = Path(__file__).parent
Round = Callable[[], float]
"""Runs a subject once, and says how many seconds that took."""


class Article:
    """The article's code in a process of its own, which waits until it is asked for a round."""

    def __init__(self, asked: argparse.Namespace) -> None:
        threads = str(asked.threads)
        numbers = ("batch", "steps", "drawn", "evaluations", "threads")
        self.process = subprocess.Popen(
            [
                # tensorflow_addons warns of its end, and TensorFlow of GPUs that are not there.
                *(asked.tensorflow, "-W", "ignore", str(HERE / "article_worker.py")),
                str(asked.article),
                *(word for name in numbers for word in (f"--{name}", str(getattr(asked, name)))),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                # Of this environment nothing is to be found by the other Python.
                **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
                "OMP_NUM_THREADS": threads,
                "TF_CPP_MIN_LOG_LEVEL": "3",
                "CUDA_VISIBLE_DEVICES": "",
            },
        )
        self.versions: dict[str, str] = self._answer()

    def round(self, kind: str) -> Round:
        """One of the rounds of article_worker.py."""

        def run() -> float:
            assert self.process.stdin is not None
            self.process.stdin.write(f"{kind}\n")
            self.process.stdin.flush()
            return float(self._answer())

        return run

    def end(self) -> None:
        """It ends where its input does."""
        self.process.communicate()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"The article's code ended with {self.process.wait()}.")
        return json.loads(line)


def plan_of(batch: int, place: Path) -> Plan:
    """What `loang train --preset tutorial` starts from; images of noise take the same time."""
    images = np.random.default_rng(0).integers(0, 256, (2000, SIZE, SIZE, 1), np.uint8)
    np.save(place / "noise.npy", images)
    settings = resolve(
        str(place / "noise.npy"),
        preset="tutorial",
        device="cpu",
        changes=[f"training.batch={batch}"],
    )
    return prepare(settings, open_images(settings))


def plain_step(plan: Plan) -> Callable[[], Tensor]:
    """The article's step by torch's own operations: what loang has its own ways for is bfloat16."""
    settings, schedule = plan.settings, plan.denoiser.schedule
    network = TutorialUNet(plan.dataset.spec.channels).train()
    chosen = settings.optimizer
    optimizer = torch.optim.AdamW(
        network.parameters(),
        lr=chosen.learning_rate,
        betas=chosen.betas,
        eps=chosen.epsilon,
        weight_decay=chosen.weight_decay,
    )
    x = torch.rand(settings.training.batch, plan.dataset.spec.channels, SIZE, SIZE) * 2 - 1

    def step() -> Tensor:
        t = torch.randint(1, int(schedule.T) + 1, (len(x),))
        signal, deviation = (
            each(t).float()[:, None, None, None] for each in (schedule.signal, schedule.noise)
        )
        noise = torch.randn_like(x)
        loss = nn.functional.mse_loss(network(signal * x + deviation * noise, t), noise)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def steps_of(step: Callable[[], Tensor], count: int) -> Round:
    """So many steps, after one that finds the memory for them as the one before left it."""

    def run() -> float:
        step()
        start = time.perf_counter()
        for _ in range(count):
            loss = step()
        float(loss)
        return time.perf_counter() - start

    return run


class Drawing:
    """Images by one of loang's models."""

    def __init__(self, model: Model, sampling: SamplingSettings, images: int) -> None:
        self.model, self.sampling, self.images = model, sampling, images

    def __call__(self) -> float:
        """A round."""
        start = time.perf_counter()
        self.model.sample(self.images, sampling=self.sampling, batch=self.images)
        return time.perf_counter() - start

    def evaluations(self) -> int:
        """Of the network, an image; counted as one is drawn."""
        asked = 0

        def count(network: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            nonlocal asked
            asked += len(inputs[0])

        handle = self.model.denoiser.network.register_forward_pre_hook(count)
        self.model.sample(1, sampling=self.sampling)
        handle.remove()
        return asked


def drawings(asked: argparse.Namespace, plan: Plan) -> dict[str, Drawing]:
    """loang's ways to draw, by what the table calls them."""
    same = Model(plan.denoiser, plan.dataset.spec, plan.settings)
    few = drawing.sampling(same, sampler="auto", steps=asked.few)
    quick = Model.load(asked.model, on="cpu")
    guided = drawing.sampling(
        quick, sampler="dpmpp-2m", steps=8, guidance=3.0, guidance_interval=(0.2, 5.0)
    )
    found = {
        "same network": Drawing(same, few, asked.drawn),
        "quick": Drawing(quick, guided, DRAWN),
    }
    if asked.student:
        student = Model.load(asked.student, on="cpu")
        found["student"] = Drawing(student, student.settings.sampling, DRAWN)
    return found


def alternated(subjects: dict[str, Round], rounds: int) -> dict[str, list[float]]:
    """Seconds of each round of each subject, one subject after another."""
    taken: dict[str, list[float]] = {name: [] for name in subjects}
    for turn in range(WARM_UP + rounds):
        for name, run in subjects.items():
            time.sleep(PAUSE)
            took = run()
            if turn >= WARM_UP:
                taken[name].append(took)
    return taken


def middle(over: list[float], under: list[float]) -> float:
    """The median of the rounds' ratios."""
    return statistics.median(a / b for a, b in zip(over, under, strict=True))


def training(
    asked: argparse.Namespace, article: Article, plan: Plan
) -> tuple[dict[str, dict[str, float]], dict[str, Any]]:
    """The rows of training, and what they are shares of."""
    trainer = Trainer(plan.denoiser, plan.dataset.train, plan.settings, plan.device)
    plain = plain_step(plan)
    subjects = {
        "article": article.round("train"),
        "torch": steps_of(plain, asked.steps),
        "loang": heap.kept()(steps_of(lambda: trainer.step(0.5).loss, asked.steps)),
    }
    taken = alternated(subjects, asked.rounds)
    counts = {"torch": counted(plain), "loang": counted(trainer.gradients)}
    counts["article"] = counts["torch"]
    time.sleep(PAUSE)
    most = peak(plan.device, trainer.dtype).convolution
    rows = {}
    images = asked.steps * asked.batch
    for name, seconds in taken.items():
        flops, rate = counts[name] / asked.batch, images / statistics.median(seconds)
        rows[name] = {
            "images_a_second": rate,
            "slowest": images / max(seconds),
            "fastest": images / min(seconds),
            "loang_is_faster_by": middle(seconds, taken["loang"]),
            "flop_an_image": flops,
            "flop_a_second": flops * rate,
            "share_of_convolution_peak": flops * rate / most,
        }
    precision = "float32" if trainer.dtype is None else "bfloat16"
    return rows, {"convolution_peak": most, "precision": precision}


def sampling(
    asked: argparse.Namespace, article: Article, plan: Plan
) -> dict[str, dict[str, float | str]]:
    """The rows of drawing."""
    ways = drawings(asked, plan)
    subjects: dict[str, Round] = {
        "article": article.round("sample"),
        "article, one": article.round("sample one"),
        **ways,
    }
    taken = alternated(subjects, asked.rounds)
    # Of each the images at once, and their evaluations: those of a round, and those that count.
    kinds = {
        "article": (asked.drawn, asked.evaluations, WALK),
        "article, one": (1, asked.evaluations, WALK),
        **{name: (way.images, *2 * [way.evaluations()]) for name, way in ways.items()},
    }
    each = {
        name: [took / (timed * images) for took in taken[name]]
        for name, (images, timed, _) in kinds.items()
    }
    rows: dict[str, dict[str, float | str]] = {}
    for name, (images, _, evaluations) in kinds.items():
        fewer, faster = WALK / evaluations, middle(each["article"], each[name])
        rows[name] = {
            "sampler": ways[name].sampling.sampler if name in ways else "ddpm",
            "at_once": images,
            "evaluations_an_image": evaluations,
            "seconds_an_evaluation": statistics.median(each[name]),
            "images_a_second": 1 / (evaluations * statistics.median(each[name])),
            "slowest": 1 / (evaluations * max(each[name])),
            "fastest": 1 / (evaluations * min(each[name])),
            "fewer_evaluations": fewer,
            "faster_evaluations": faster,
            "times_the_article": fewer * faster,
        }
    return rows


def tell(about: dict[str, Any], asked: argparse.Namespace) -> None:
    """The tables."""
    rows = about["rows"]
    print(f"{about['date']}  {about['hardware']}, rounds: {about['rounds']}")
    print(f"\ntraining, {asked.batch} images a step")
    print(f"{'':16}{'images/s':>10}{'ratio':>8}{'GFLOP/s':>9}{'of the peak':>13}")
    for name, row in rows["training"].items():
        print(
            f"{name:16}{row['images_a_second']:10.2f}{row['loang_is_faster_by']:8.2f}"
            f"{row['flop_a_second'] / 1e9:9.0f}{row['share_of_convolution_peak']:13.1%}"
        )
    print("\ndrawing; evaluations of the network, and how many times fewer and faster")
    print(f"{'':16}{'at once':>8}{'evaluations':>20}{'ms, an image':>20}{'images/s':>20}")
    for name, row in rows["sampling"].items():
        cells = (
            f"{row['evaluations_an_image']:g} ({row['fewer_evaluations']:.1f})",
            f"{1e3 * row['seconds_an_evaluation']:.3g} ({row['faster_evaluations']:.2f})",
            f"{row['images_a_second']:.3g} ({row['times_the_article']:.3g})",
        )
        print(f"{name:16}{row['at_once']:8}" + "".join(f"{cell:>20}" for cell in cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("article", type=Path, help="its text, Markdown")
    parser.add_argument("--tensorflow", required=True, help="a Python that has TensorFlow 2.15")
    parser.add_argument("--batch", type=int, default=16, help="images in a step of training")
    parser.add_argument("--steps", type=int, default=2, help="of training, a round")
    parser.add_argument("--drawn", type=int, default=8, help="images at once, by that network")
    parser.add_argument("--evaluations", type=int, default=12, help="of the article's, a round")
    parser.add_argument("--few", type=int, default=8, help="evaluations of it by loang's sampler")
    parser.add_argument("--model", default="built-in", help="of the shape of quick")
    parser.add_argument("--student", help="a model that loang distill made of one")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2, help="of each of them")
    parser.add_argument("--out", type=Path, help="the figures as JSON")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    torch.set_flush_denormal(True)

    article = Article(asked)
    with tempfile.TemporaryDirectory() as place:
        plan = plan_of(asked.batch, Path(place))
        # Sampling first: it is of fresh weights, and training changes them.
        drawn = sampling(asked, article, plan)
        trained, against = training(asked, article, plan)
    article.end()

    about = {
        "command": f"benchmarks/article_speed.py --batch {asked.batch} --steps {asked.steps}"
        f" --drawn {asked.drawn} --evaluations {asked.evaluations} --few {asked.few}",
        "date": str(date.today()),
        "hardware": f"{device.describe(CPU, device.autocast_type(CPU))},"
        f" {platform.system()} {platform.machine()}",
        "threads": asked.threads,
        "seed": 0,
        "rounds": asked.rounds,
        "batch": asked.batch,
        "versions": {"loang": loang.__version__, "torch": torch.__version__, **article.versions},
        **against,
        "rows": {"training": trained, "sampling": drawn},
    }
    tell(about, asked)
    if asked.out:
        files.write_text(asked.out, json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
