"""How much is examined: as much as a minute allows."""

import math
import time
from dataclasses import dataclass

import torch

from loang import device
from loang.config import SamplingSettings
from loang.data.memory import require_bytes
from loang.errors import LoangError
from loang.model import Model

SECONDS = 50.0  # of forward passes; opening the images and drawing the page come on top
IMAGES = (256, 128, 64, 32)
SAMPLES = (64, 32, 16)
STEPS, FEWER = 50, 20
LEAST, MOST, TRYING = 2, 10, 3.0  # trials, and the seconds that more than the least may take
BATCH = 64


@dataclass(frozen=True)
class Effort:
    """How many of each.

    Args:
        images: of each split that errors are measured on.
        samples: drawn.
        sampling: how.
        batch: computed at once.
    """

    images: int
    samples: int
    sampling: SamplingSettings
    batch: int


@dataclass(frozen=True)
class Trial:
    """How fast a network is.

    Args:
        a_pass: seconds that an image takes through it.
        batch: computed at once.
    """

    a_pass: float
    batch: int


def _batch_of(model: Model) -> int:
    """How many images there is room for at once; without gradients, four times as many."""
    training = model.settings.training
    return min(BATCH, 4 * min(training.micro_batch or training.batch, training.batch))


@torch.inference_mode()
def try_out(model: Model) -> Trial:
    """How fast the network is, with as large a batch as memory has room for.

    Raises:
        LoangError: there is not enough memory for a single image.
    """
    batch, one = _batch_of(model), 4 * math.prod(model.spec.shape)
    # Asked first: a stranger's model may take images of any size.
    require_bytes(8 * one, "An image as the network takes it")
    while True:
        try:
            return Trial(_seconds(model, batch) / batch, batch)
        except (RuntimeError, MemoryError) as error:
            if not device.out_of_memory(error):
                raise
            if batch == 1:
                raise LoangError(
                    "There is not enough memory to show the network a single image.",
                    "Close other programs, or examine it on a larger machine.",
                ) from error
        batch = (batch + 1) // 2  # outside of the handler, which holds on to what was computed
        device.release_memory(model.device)


def _seconds(model: Model, batch: int) -> float:
    at = model.device
    dtype = device.autocast_type(at, model.settings.training.precision)
    x = torch.zeros(batch, *model.spec.shape, device=at)
    t = torch.ones(batch, dtype=torch.long, device=at)
    trials: list[float] = []
    model.denoiser.eval()
    # The first pays for what is set up once; others for what else the machine does just then.
    while len(trials) < LEAST or (len(trials) < MOST and sum(trials) < TRYING):
        start = time.perf_counter()
        with device.autocast(at, dtype):
            model.denoiser(x, t).x0.sum().item()
        trials.append(time.perf_counter() - start)
    return min(trials)


def choose(model: Model, trial: Trial, passes_an_image: int, wanted: int | None) -> Effort:
    """The most that fits in about 50 seconds.

    Args:
        model: what is examined.
        trial: how fast it is.
        passes_an_image: levels times guesses.
        wanted: images, where the person has said how many.
    """
    own, a_pass = model.settings.sampling, trial.a_pass
    steps = min(own.steps, STEPS)
    # DDPM of few steps is noisy, whatever the network knows: DDIM takes its place.
    ways = [own]  # a student knows no other
    if own.steps > STEPS and not model.settings.distilled:
        ways = [SamplingSettings(sampler="ddim", steps=steps)]
    if steps > FEWER and not model.settings.distilled:
        ways.append(SamplingSettings(sampler="ddim", steps=FEWER))
    drawings = [(SAMPLES[0], way) for way in ways] + [(n, ways[-1]) for n in SAMPLES[1:]]
    samples, sampling = next(
        (each for each in drawings if each[0] * each[1].steps * a_pass <= SECONDS / 2),
        drawings[-1],
    )
    images = wanted or next(
        (n for n in IMAGES if n * passes_an_image * a_pass <= SECONDS / 2), IMAGES[-1]
    )
    return Effort(images, samples, sampling, trial.batch)
