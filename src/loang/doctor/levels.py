"""The error of a denoiser at noise levels from faint to overwhelming, beside simpler guesses.

All errors are squared differences of x_0, images in [-1, 1], a mean over the values of an image.
At each level every guess sees the same noisy images, so differences are taken image by image.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import floor, log10
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from loang import device, process, random
from loang.data.images import Images
from loang.data.scaling import to_model
from loang.denoiser import Denoiser
from loang.doctor.gaussian import Gaussian
from loang.evaluation.words import number
from loang.samplers import state
from loang.schedule import Discrete, Schedule

LEVELS = 10
SPREAD = 8.0  # of log-SNR: between them noise of 2 % and an image of 2 %
BATCH = 64
LARGEST = 1e6  # error, and that of an answer that is no number
CERTAIN = 3.0  # standard errors, beyond which a difference is no chance


@dataclass(frozen=True)
class Compared:
    """How two means over the same images compare.

    Args:
        ratio: of the first to the second.
        error: standard error of the ratio.
    """

    ratio: float
    error: float

    def __str__(self) -> str:
        if not 0 < self.error < float("inf"):
            return number(self.ratio)
        digits = min(6, max(0, 1 - floor(log10(self.error))))
        return f"{self.ratio:,.{digits}f} ± {self.error:.{digits}f}"

    @property
    def lower(self) -> bool:
        """Whether the first is lower, and that is no chance."""
        return self.ratio + CERTAIN * self.error < 1

    @property
    def higher(self) -> bool:
        """Whether the first is higher, and that is no chance."""
        return self.ratio - CERTAIN * self.error > 1


@dataclass(frozen=True)
class Levels:
    """Errors by noise level.

    Args:
        times: t of each level, rising: from faint noise to nearly nothing but noise.
        log_snr: of each.
        errors: by guess, one an image and level: "network" (averaged weights, held-out images),
            "raw" (the last step's weights), "training" (averaged weights, training images),
            "gaussian" and "plain" (held-out images), "gaussian of training". Those that could not
            be measured are not there.
        variance: of a held-out value about the mean image.
    """

    times: Sequence[float]
    log_snr: Sequence[float]
    errors: Mapping[str, Float64[np.ndarray, "levels _"]]
    variance: float = 1.0

    def mean(self, name: str) -> Float64[np.ndarray, " levels"]:
        """Over the images."""
        return self.errors[name].mean(1)

    def compare(self, first: str, second: str) -> list[Compared]:
        """Level by level, of guesses of the same images."""
        return [
            compared(one, other)
            for one, other in zip(self.errors[first], self.errors[second], strict=True)
        ]

    @property
    def middle(self) -> list[int]:
        """Levels at which much can be known, and little is plain to see.

        The Gaussian's error is between 2 % and 90 % of the variance there; what images look like
        is decided at these levels.
        """
        share = self.mean("gaussian") / max(self.variance, 1e-12)
        found = [i for i, value in enumerate(share) if 0.02 < value < 0.9]
        return found or list(range(len(self.times)))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: mean errors and their standard errors."""
        return {
            "times": list(self.times),
            "log_snr": [round(value, 3) for value in self.log_snr],
            "variance": self.variance,
            "errors": {name: values.mean(1).tolist() for name, values in self.errors.items()},
            "standard_errors": {
                name: (values.std(1, ddof=1) / values.shape[1] ** 0.5).tolist()
                for name, values in self.errors.items()
                if values.shape[1] > 1
            },
        }


def compared(one: Float64[np.ndarray, " n"], other: Float64[np.ndarray, " n"]) -> Compared:
    """The ratio of two means over the same images, its error by the delta method."""
    low = max(float(other.mean()), 1e-12)
    ratio = float(one.mean()) / low
    if len(one) < 2:
        return Compared(ratio, float("inf"))
    return Compared(ratio, float((one - ratio * other).std(ddof=1)) / len(one) ** 0.5 / low)


def apart(one: Float64[np.ndarray, "levels n"], other: Float64[np.ndarray, "levels m"]) -> Compared:
    """The ratio of errors on different images, over all levels alike.

    Each level counts in units of its own mean, else the noisiest would be all that is seen.
    """
    units = np.concatenate([one, other], axis=1).mean(1, keepdims=True).clip(1e-12)
    first, second = (one / units).mean(0), (other / units).mean(0)
    low = max(float(second.mean()), 1e-12)
    ratio = float(first.mean()) / low
    if min(len(first), len(second)) < 2:
        return Compared(ratio, float("inf"))
    errors = [values.std(ddof=1) / len(values) ** 0.5 for values in (first, second)]
    return Compared(ratio, float(np.hypot(errors[0], ratio * errors[1])) / low)


def choose_times(schedule: Schedule, count: int = LEVELS) -> list[float]:
    """Times whose log-SNR are spread evenly over what the schedule has of -8..8; rising."""
    if not isinstance(schedule, Discrete):
        reach = torch.tensor([schedule.first, schedule.T], dtype=torch.float64)
        high, low = schedule.log_snr(reach).clamp(-SPREAD, SPREAD).tolist()
        log_snr = torch.linspace(high, low, count, dtype=torch.float64)
        found: list[float] = schedule.times((-log_snr / 2).exp()).tolist()
        return found
    every = torch.arange(1, schedule.T + 1)
    known = schedule.log_snr(every)
    ends = max(float(known[-1]), -SPREAD), min(float(known[0]), SPREAD)
    wanted = torch.linspace(ends[1], ends[0], count, dtype=torch.float64)
    nearest = (known[None].double() - wanted[:, None]).abs().nan_to_num(nan=1e9).argmin(1)
    return sorted({int(every[index]) for index in nearest})


def written(t: float) -> str:
    """A time as a person reads it: whole ones in full."""
    return f"t = {t}" if isinstance(t, int) else f"t = {t:.3g}"


def noisy(
    schedule: Schedule,
    x0: Float[Tensor, "n c h w"],
    t: float,
    *,
    seed: int,
    purpose: str,
    first: int = 0,
) -> Float[Tensor, "n c h w"]:
    """x_t of these images; image number `first`, ... always has the same noise."""
    indices = torch.arange(first, first + len(x0), device=x0.device)
    # Whole times are their own key; others are told apart by their millionths.
    step = t if isinstance(t, int) else round(t / schedule.T * 2**20)
    eps = random.normal(
        x0.shape[1:], seed=seed, purpose=f"doctor {purpose}", step=step, indices=indices
    )
    return process.diffuse(schedule, x0, state.times(t, x0), eps)


@torch.inference_mode()
def network_errors(
    denoiser: Denoiser,
    images: Images,
    rows: Int64[np.ndarray, " n"],
    times: Sequence[float],
    *,
    dtype: torch.dtype | None,
    seed: int = 0,
    purpose: str = "held out",
    batch: int = BATCH,
    on_batch: Callable[[int], None] | None = None,
) -> Float64[np.ndarray, "levels n"]:
    """The error of the denoiser's x_0 for each level and image, told the label if it knows any."""
    at = next(denoiser.parameters()).device
    found = np.zeros((len(times), len(rows)))
    denoiser.eval()
    for start in range(0, len(rows), batch):
        part = rows[start : start + batch]
        x0 = to_model(images[part], images.spec).to(at)
        label = None
        if denoiser.classes and images.labels is not None:
            label = torch.from_numpy(images.labels[part]).to(at, torch.long)
        for level, t in enumerate(times):
            x_t = noisy(denoiser.schedule, x0, t, seed=seed, purpose=purpose, first=start)
            with device.autocast(at, dtype):
                seen = denoiser(x_t, state.times(t, x_t), label).x0
            found[level, start : start + len(part)] = _error(seen, x0)
            if on_batch is not None:
                on_batch(len(part))
    return found


def simple_errors(
    gaussian: Gaussian,
    denoiser: Denoiser,
    images: Images,
    rows: Int64[np.ndarray, " n"],
    times: Sequence[float],
    *,
    seed: int = 0,
    purpose: str = "held out",
) -> dict[str, Float64[np.ndarray, "levels n"]]:
    """The same for the Gaussian's best estimate, and for one of mean and variance alone.

    They see the same x_t, and are kept within [-1, 1] if the denoiser is.
    """
    found = {name: np.zeros((len(times), len(rows))) for name in ("gaussian", "plain")}
    schedule = denoiser.schedule
    for start in range(0, len(rows), BATCH):
        x0 = to_model(images[rows[start : start + BATCH]], images.spec)
        for level, t in enumerate(times):
            x_t = noisy(schedule, x0, t, seed=seed, purpose=purpose, first=start)
            time = state.times(t, x_t[:1])
            signal, noise = float(schedule.signal(time)), float(schedule.noise(time))
            for name, guess in (
                ("gaussian", gaussian.estimate),
                ("plain", gaussian.plain_estimate),
            ):
                seen = guess(x_t, signal, noise)
                seen = seen.clamp(-1, 1) if denoiser.clip else seen
                found[name][level, start : start + len(x0)] = _error(seen, x0)
    return found


def _error(seen: Float[Tensor, "n c h w"], x0: Float[Tensor, "n c h w"]) -> np.ndarray:
    errors = (seen.cpu().double() - x0.cpu().double()).square().flatten(1).mean(1)
    return errors.nan_to_num(nan=LARGEST).clamp(max=LARGEST).numpy()
