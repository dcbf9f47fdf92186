"""What is left of the image at the noisiest time, where sampling starts from noise alone.

Training at t = T shows signal(T) of an image under the noise; sampling starts from noise without
it. The brightness of a whole channel stands out best, as noise averages out: over P pixels its mean
has a standard deviation of noise(T)/sqrt(P). If training showed more than that, the network takes
the plain noise for an image of medium grey (Lin et al. 2023, section 3).
"""

import math

import torch

from loang.build import build_schedule
from loang.config import Settings
from loang.data.images import Images
from loang.data.scaling import to_model
from loang.doctor.finding import Finding, Part
from loang.evaluation.words import number, percent
from loang.metrics.rows import shuffled

IMAGES = 1000
VALUES = 2**24  # of all of these, at the most
SEEN, PLAIN = 0.3, 1.0  # standard deviations of the noise's own mean brightness


def examine(settings: Settings, images: Images | None, pixels: int, seed: int = 0) -> Part:
    """What the schedule leaves at its end, and what follows for samples.

    Args:
        settings: of the run.
        images: that it learned from; None where they are gone, and brightness is taken as 0.5.
        pixels: height times width.
        seed: of which images are looked at.
    """
    schedule = build_schedule(settings.schedule)
    last = torch.tensor(schedule.T)
    signal, noise = float(schedule.signal(last)), float(schedule.noise(last))
    share = signal / float(schedule.size(last))
    mean, spread = [0.5], [0.0]
    if images is not None:
        rows = shuffled(len(images), seed=seed, purpose="doctor terminal")
        most = max(1, min(IMAGES, VALUES // math.prod(images.spec.shape)))
        brightness = to_model(images[rows[:most]], images.spec).double().mean((2, 3))
        mean, spread = brightness.mean(0).tolist(), brightness.std(0, correction=0).tolist()
    unit = signal * math.sqrt(pixels) / noise
    seen = max(unit * math.hypot(m, s) for m, s in zip(mean, spread, strict=True))
    facts = {
        "alpha_bar": signal**2,
        "signal": signal,
        "mean_brightness": mean,
        "shift": [share * m for m in mean],
        "brightness_in_noise": seen,
    }
    left = f"{percent(share)} of the image"
    if signal == 0 or seen < SEEN:
        return Part(
            (
                Finding(
                    "good",
                    "terminal",
                    f"At the noisiest time {left} is left, too little to see its brightness:"
                    " sampling starts from what training has shown.",
                ),
            ),
            facts,
        )
    moved = ", ".join(f"{share * m:+.3f}" for m in mean)
    return Part(
        (
            Finding(
                "warning" if seen > PLAIN else "note",
                "terminal",
                f"At the noisiest time {left} is still left: there the mean is {moved} in training"
                " and 0 where sampling starts, and brightness stands"
                f" {number(seen)} standard deviations above the noise. Samples are drawn towards"
                " medium grey.",
                _remedy(settings),
            ),
        ),
        facts,
    )


def _remedy(settings: Settings) -> str:
    if settings.schedule.kind == "edm":
        return f"Train with --set schedule.sigma_max={4 * settings.schedule.sigma_max:g}."
    change = "--set schedule.zero_terminal_snr=true"
    if settings.denoiser.predicts == "eps":
        change += " --set denoiser.predicts=v"
    return f"Train with {change}, or with --set schedule.kind=cosine; or take more schedule.steps."
