"""Bits per value of a model on real images: by the bound, by the flow, beside what needs none."""

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor, nn

from loang import device, heap, random
from loang.data.images import Images
from loang.data.scaling import to_model
from loang.denoiser import Denoiser
from loang.likelihood.baselines import baselines
from loang.likelihood.bound import bound, decoder_term, first_look, last_log_variance
from loang.likelihood.flow import flow
from loang.likelihood.looks import Look, drawn, every
from loang.likelihood.result import Likelihood, Score, estimated
from loang.likelihood.subject import check, labels_of, levels_of
from loang.metrics.rows import shuffled
from loang.model import Model
from loang.samplers.state import Noise
from loang.schedule import Discrete
from loang.schedule.base import widest

OnStep = Callable[[int, int], None]
Places = Int64[np.ndarray, " b"]
MOST_LOOKS = 1000  # where all are asked for and time is real


@dataclass(frozen=True)
class Effort:
    """How much is spent on it.

    Args:
        images: that the bound is measured on, 2 or more.
        looks: times an image; None takes all of a discrete schedule, and 1,000 of a real time.
        followed: of these images, how many the flow is followed for; fewer than 2 for none.
        probes: random directions for the flow's trace, an image; None takes the exact trace.
        tolerance: of the flow's solver.
        dequantisation: what takes whole numbers off their levels for the flow: the process's own
            noise of the first time, or noise that is uniform over a level's width.
        batch: images at once.
    """

    images: int = 1000
    looks: int | None = 64
    followed: int = 100
    probes: int | None = 1
    tolerance: float = 1e-3
    dequantisation: Literal["process", "uniform"] = "process"
    batch: int = 50


@device.full_precision(convolutions=True)
@heap.kept()
def measure(
    model: Model,
    real: Images,
    training: Images,
    *,
    effort: Effort | None = None,
    seed: int = 0,
    on_step: OnStep | None = None,
) -> Likelihood:
    """How many bits per value the model takes to tell images that it has not seen.

    The network computes in float32, whatever it was trained in, and sums are of float64.

    Args:
        model: whose distribution it is.
        real: at the model's size, depth and range; with the model's classes as labels, the
            distribution is that of images given their labels.
        training: what the baselines are made of.
        effort: how much is spent.
        seed: of which images, which times, and all noise.
        on_step: told (images done, in all).

    Raises:
        LoangError: see `subject.check`; or the flow can't be followed.
    """
    effort, started = effort or Effort(), time.monotonic()
    check(model, real)
    levels = levels_of(model.spec)
    rows = np.sort(shuffled(len(real), seed=seed, purpose="likelihood")[: effort.images])
    # Any part of these is as mixed as the whole.
    part = np.sort(shuffled(len(rows), seed=seed, purpose="likelihood flow")[: effort.followed])
    part = part if len(part) > 1 else part[:0]
    # First: what fails here for want of memory has cost no time.
    known = baselines(training, real, rows, levels) if levels else {}
    measuring = _Measuring(model, real, rows, effort, seed)
    measuring.tell(on_step, (len(rows) if levels else 0) + len(part))
    by_way = measuring.bounds(levels) if levels else {}
    score = min(by_way.values(), key=lambda each: each.bits.value, default=None)
    flows = measuring.flow(part, levels) if len(part) else None
    gap = None
    if score is not None and flows is not None:
        gap = estimated(score.images[part] - flows.images)
    return Likelihood(
        score,
        flows,
        {way: each.bits for way, each in by_way.items()},
        gap,
        known,
        about={
            "held_out_images": len(real),
            "levels": levels,
            "given_labels": measuring.labels is not None,
            "schedule": model.denoiser.schedule.name,
            "clipped": model.denoiser.clip,
            "all_steps": measuring.all_steps,
            "probes": effort.probes,
            "tolerance": effort.tolerance,
            "dequantisation": effort.dequantisation if levels else None,
            "beyond_the_range": _beyond(real, rows),
            "computed_on": device.describe(model.device, None),
            "seed": seed,
            "seconds": round(time.monotonic() - started, 1),
        },
    )


class _Measuring:
    """A model, images that it is asked about, and what decides all that is drawn."""

    def __init__(
        self,
        model: Model,
        real: Images,
        rows: Int64[np.ndarray, " n"],
        effort: Effort,
        seed: int,
    ) -> None:
        self.model, self.real, self.rows, self.effort = model, real, rows, effort
        self.seed = seed
        self.labels = labels_of(model, real, rows)
        schedule = model.denoiser.schedule
        self.looks, self.all_steps = effort.looks or MOST_LOOKS, False
        if isinstance(schedule, Discrete):
            steps = schedule.T - 1
            self.all_steps = effort.looks is None or effort.looks >= steps
            self.looks = steps if self.all_steps else self.looks
        self.values = math.prod(model.spec.shape)
        self.told: Callable[[int], None] = lambda images: None

    def tell(self, on_step: OnStep | None, total: int) -> None:
        """Whom, of how many images in all."""
        done = 0

        def told(images: int) -> None:
            nonlocal done
            done += images
            if on_step:
                on_step(done, total)

        self.told = told

    def bounds(self, levels: int) -> dict[str, Score]:
        """The bound, by each way that the denoiser can be sampled."""
        denoiser, parts = self.model.denoiser, dict[str, list[Tensor]]()
        for places in self._batches(np.arange(len(self.rows))):
            x0, label = self._images(places)
            with _evaluating(denoiser), torch.inference_mode():
                found = bound(
                    denoiser, x0, self._times(places), self._noise(places), label, levels=levels
                )
            for way, terms in found.items():
                parts.setdefault(way, []).append(torch.stack(terms))
            self.told(len(x0))
        names = ("prior", "diffusion", "decoder")
        return {way: self._score(names, terms, self.looks + 1, way) for way, terms in parts.items()}

    def flow(self, part: Int64[np.ndarray, " k"], levels: int | None) -> Score:
        """The flow's density at the first time, and what the image costs from there.

        "process": x_1 is drawn from q(x_1 | x_0), and -log P(x_0) <= L_0 + log q(x_1 | x_0)
        - log p(x_1): the process's own noise dequantises, and the decoder is the bound's. Noise and
        decoder are the same numbers as in the bound.

        "uniform": x_1 / signal is x_0 with noise that is uniform over the width of a level, and
        -log P(x_0) <= -log(width) - log p(x_1 / signal) (Theis et al. 2016, eq. 5).
        """
        denoiser, parts, evaluations = self.model.denoiser, list[Tensor](), 0
        # A clipped image has no slope.
        free = Denoiser(
            denoiser.network, denoiser.schedule, denoiser.kind, False, denoiser.deviation
        )
        uniform = levels and self.effort.dequantisation == "uniform"
        for places in self._batches(part):
            x0, label = self._images(places)
            with _evaluating(denoiser):
                if levels and uniform:
                    x_1, terms = self._between_levels(places, x0, levels)
                else:
                    x_1, terms = self._at_the_first_time(places, x0, label, levels)
                found = flow(
                    free,
                    x_1,
                    label,
                    probes=self._probes(places),
                    tolerance=self.effort.tolerance,
                )
            evaluations = max(evaluations, found.evaluations)
            terms[0] = terms[0] - found.log_density
            parts.append(torch.stack(terms))
            self.told(len(x0))
        names = ("density", "decoder") if levels and not uniform else ("density",)
        return self._score(names, parts, evaluations)

    def _at_the_first_time(
        self,
        places: Places,
        x0: Float[Tensor, "b c h w"],
        label: Int[Tensor, " b"] | None,
        levels: int | None,
    ) -> tuple[Float[Tensor, "b c h w"], list[Tensor]]:
        """x_1 with the process's noise; what is to be added to its density, and the decoder."""
        schedule = self.model.denoiser.schedule
        eps = self._noise(places)(0)
        with torch.inference_mode():
            estimate, x_1, t = first_look(self.model.denoiser, x0, eps, label)
        x_1 = x_1.clone()  # an ordinary tensor again
        signal, noise = (float(of(t[:1])) for of in (schedule.signal, schedule.noise))
        if levels:
            log_var = last_log_variance(schedule, x0, t, estimate.variance)
            decoder = decoder_term(x0, estimate.x0, log_var, levels)
            return x_1, [_log_density_of(eps, noise), decoder]
        # The density of x_1 / signal, in the images' own units.
        half = (self.real.spec.high - self.real.spec.low) / 2
        return x_1, [self._constant(places, half / signal)]

    def _between_levels(
        self, places: Places, x0: Float[Tensor, "b c h w"], levels: int
    ) -> tuple[Float[Tensor, "b c h w"], list[Tensor]]:
        """x_1 with noise that is uniform over a level's width, and what that costs."""
        schedule = self.model.denoiser.schedule
        first = torch.full((1,), schedule.first, dtype=widest(x0.device), device=x0.device)
        signal, width = float(schedule.signal(first)), 2 / (levels - 1)
        words = random.words(
            self.values,
            seed=self.seed,
            purpose="likelihood levels",
            step=0,
            indices=self._numbers(places),
        )
        shares = words.to(torch.float32).reshape(x0.shape) * 2.0**-32
        x_1 = signal * (x0 + width * (shares - 0.5))
        return x_1, [self._constant(places, 1 / (signal * width))]

    def _constant(self, places: Places, unit: float) -> Float[Tensor, " b"]:
        """What every value of an image adds to its nats."""
        nats = torch.full((len(places),), self.values * math.log(unit), dtype=torch.float64)
        return nats.to(widest(self.model.device)).to(self.model.device)

    def _score(
        self, names: Sequence[str], terms: Sequence[Tensor], evaluations: int, way: str = ""
    ) -> Score:
        """From nats an image, a row a term, to bits a value."""
        bits = torch.cat([of_it.cpu().double() for of_it in terms], dim=1).numpy()
        bits = bits / (self.values * math.log(2))
        shares = dict(zip(names, bits.mean(1).tolist(), strict=True))
        images = bits.sum(0)
        return Score(estimated(images), shares, images, evaluations, way)

    def _batches(self, part: Int64[np.ndarray, " k"]) -> Iterator[Places]:
        for start in range(0, len(part), self.effort.batch):
            yield part[start : start + self.effort.batch]

    def _images(self, places: Places) -> tuple[Float[Tensor, "b c h w"], Int[Tensor, " b"] | None]:
        at = self.model.device
        x0 = to_model(self.real[self.rows[places]], self.real.spec).to(at)
        return x0, None if self.labels is None else self.labels[places].to(at)

    def _numbers(self, places: Places) -> Int[Tensor, " b"]:
        """What is drawn for an image depends on which image it is, and on no other."""
        return torch.from_numpy(self.rows[places]).to(self.model.device)

    def _noise(self, places: Places) -> Noise:
        numbers, shape = self._numbers(places), self.model.spec.shape
        return lambda step: random.normal(
            shape, seed=self.seed, purpose="likelihood noise", step=step, indices=numbers
        )

    def _times(self, places: Places) -> Iterable[Look]:
        schedule, numbers = self.model.denoiser.schedule, self._numbers(places)
        if self.all_steps and isinstance(schedule, Discrete):
            return every(schedule, len(numbers), numbers.device)

        def uniform(look: int) -> Tensor:
            return random.uniform(
                seed=self.seed, purpose="likelihood times", step=look, indices=numbers
            )

        return drawn(schedule, self.looks, uniform)

    def _probes(self, places: Places) -> list[Tensor] | None:
        """Random signs: of all directions of unit variance, they vary least (Hutchinson 1990)."""
        if self.effort.probes is None:
            return None
        numbers, shape = self._numbers(places), (len(places), *self.model.spec.shape)

        def signs(probe: int) -> Tensor:
            bits = random.words(
                self.values,
                seed=self.seed,
                purpose="likelihood probes",
                step=probe,
                indices=numbers,
            )
            return (2.0 * (bits & 1) - 1.0).to(torch.float32).reshape(shape)

        return [signs(probe) for probe in range(self.effort.probes)]


def _log_density_of(eps: Float[Tensor, "n c h w"], noise: float) -> Float[Tensor, " n"]:
    """log q(x_1 | x_0) of x_1 = signal * x_0 + noise * eps."""
    squared = eps.to(widest(eps.device)).square().flatten(1)
    return -squared.sum(1) / 2 - squared.shape[1] * math.log(noise * math.sqrt(2 * math.pi))


def _beyond(real: Images, rows: Int64[np.ndarray, " n"]) -> float:
    """The share of values that lie beyond the model's range, and count as its ends."""
    pixels, spec = real[rows], real.spec
    return float(np.mean((pixels < spec.low) | (pixels > spec.high)))


@contextlib.contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """The network in evaluation mode, and afterwards as it was."""
    training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(training)
