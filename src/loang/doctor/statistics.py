"""Samples beside real images in numbers that a person can name: tint, contrast, grain, variety.

Each statistic is one number an image, so its mean has a standard error, and nothing is said of a
difference that chance explains.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from loang.doctor.finding import Finding, Part, Table
from loang.evaluation.words import number, percent

CERTAIN = 4.0  # standard errors: about ten differences are looked at
EDGE = 0.02  # of -1 and 1, within which a value counts as at the end of the range
FINE = 0.25  # cycles a pixel, half of the finest: what lies above is grain
TINT, GRAIN, ENDS = 0.06, 0.02, 0.1  # differences that can be seen: brightness, grain, shares
NOISY, BLURRED, FLAT, HARD = 1.5, 0.6, 0.75, 1.3
ALIKE, ONE_IMAGE = 0.8, 0.5


@dataclass(frozen=True)
class Pair:
    """One statistic of samples and of real images.

    Args:
        samples, real: means.
        error: standard error of their difference.
    """

    samples: float
    real: float
    error: float

    @property
    def certain(self) -> bool:
        """Whether they differ by more than chance."""
        return abs(self.samples - self.real) > CERTAIN * self.error

    @property
    def ratio(self) -> float:
        """Of the samples' to the real images'."""
        return self.samples / self.real if self.real > 0 else float("inf")


def measure(
    samples: Float[Tensor, "n c h w"], real: Float[Tensor, "m c h w"]
) -> Mapping[str, Pair]:
    """Every statistic of both; at least two images each, in [-1, 1].

    - "brightness 0", ...: mean of a channel
    - "contrast": standard deviation within an image
    - "dark end", "bright end": the share of values within 0.02 of -1 and of 1
    - "grain": root of the power above half of the finest frequency
    - "variety": mean distance to the other images, a root mean square over values
    """
    ours, theirs = _statistics(samples.double()), _statistics(real.double())
    found = {}
    for name, one in ours.items():
        other = theirs[name]
        # A mean over pairs: each image is in two of n (Hoeffding 1948, eq. 5.13).
        factor = 2.0 if name == "variety" else 1.0
        error = factor * float(_square_error(one) + _square_error(other)) ** 0.5
        found[name] = Pair(float(one.mean()), float(other.mean()), error)
    return found


def _square_error(values: Float64[Tensor, " n"]) -> Float64[Tensor, ""]:
    return values.var() / len(values)


def _statistics(x: Float64[Tensor, "n c h w"]) -> dict[str, Float64[Tensor, " n"]]:
    flat = x.flatten(1)
    channels = x.mean((2, 3))
    found = {f"brightness {channel}": channels[:, channel] for channel in range(x.shape[1])}
    found["contrast"] = flat.std(1, correction=0)
    found["dark end"] = (flat <= -1 + EDGE).double().mean(1)
    found["bright end"] = (flat >= 1 - EDGE).double().mean(1)
    found["grain"] = _grain(x)
    distances = torch.cdist(flat, flat, compute_mode="use_mm_for_euclid_dist")
    found["variety"] = distances.sum(1) / (len(x) - 1) / flat.shape[1] ** 0.5
    return found


def _grain(x: Float64[Tensor, "n c h w"]) -> Float64[Tensor, " n"]:
    """By Parseval: the root mean square of an image that keeps its fine frequencies alone."""
    height, width = x.shape[2:]
    rows, columns = torch.fft.fftfreq(height).abs(), torch.fft.fftfreq(width).abs()
    fine = torch.maximum(rows[:, None], columns[None]) > FINE
    power = torch.fft.fft2(x, norm="forward").abs().square()
    return (power * fine).sum((2, 3)).mean(1).sqrt()


def examine(pairs: Mapping[str, Pair], count: int, way: str) -> Part:
    """What the statistics say of samples.

    Args:
        pairs: as from `measure`.
        count: how many samples.
        way: how they were drawn.
    """
    found = [*_grainy(pairs["grain"]), *_tinted(pairs), *_contrast(pairs["contrast"])]
    found += [*_ends(pairs), *_alike(pairs["variety"], count)]
    if not found:
        found = [_like_real(pairs, f"{count:,} samples ({way})")]
    rows = [
        [name, number(pair.samples), number(pair.real), _difference(pair)]
        for name, pair in pairs.items()
    ]
    table = Table(
        f"{count:,} samples ({way}) beside real images, values in [-1, 1]",
        ["a mean over images", "samples", "real", "difference"],
        rows,
    )
    facts = {
        "count": count,
        "way": way,
        **{
            name: {"samples": pair.samples, "real": pair.real, "error": pair.error}
            for name, pair in pairs.items()
        },
    }
    return Part(tuple(found), facts, (table,))


def _like_real(pairs: Mapping[str, Pair], samples: str) -> Finding:
    """Where no difference is one that is seen at once; by chance or not."""
    small = [
        f"{name} ({number(pair.samples)} beside {number(pair.real)})"
        for name, pair in pairs.items()
        if pair.certain
    ]
    if small:
        what = f"{samples} differ from real images by more than chance, if not by much: in "
        return Finding("note", "samples", f"{what}{', '.join(small)}.")
    what = "are as bright, as contrasty, as fine and as varied as real images, as far as so many"
    return Finding("good", "samples", f"{samples} {what} tell.")


def _difference(pair: Pair) -> str:
    mark = " *" if pair.certain else ""
    return f"{pair.samples - pair.real:+.3f} ± {pair.error:.3f}{mark}"


def _grainy(grain: Pair) -> list[Finding]:
    if not grain.certain:
        return []
    measured = f"their fine grain is {number(grain.ratio)} times that of real images"
    if grain.ratio > NOISY and grain.samples - grain.real > GRAIN:
        return [Finding("warning", "samples are noisy", f"The samples are noisy: {measured}.")]
    if grain.ratio < BLURRED and grain.real - grain.samples > GRAIN:
        return [Finding("warning", "samples are blurred", f"The samples are blurred: {measured}.")]
    return []


def _tinted(pairs: Mapping[str, Pair]) -> list[Finding]:
    channels = {name: pair for name, pair in pairs.items() if name.startswith("brightness")}
    shifts = {name: pair.samples - pair.real for name, pair in channels.items()}
    off = [n for n, pair in channels.items() if pair.certain and abs(shifts[n]) > TINT]
    if not off:
        return []
    said = ", ".join(f"{shift:+.3f}" for shift in shifts.values())
    if len(channels) == 1:
        word = "bright" if shifts[off[0]] > 0 else "dark"
        what = f"The samples are too {word}: their mean differs by {said}, on the scale of -1 to 1."
    else:
        what = f"The samples are tinted: the means of their channels differ by {said}."
    return [Finding("warning", "samples are tinted", what)]


def _contrast(contrast: Pair) -> list[Finding]:
    if not contrast.certain or FLAT < contrast.ratio < HARD:
        return []
    word = "flat" if contrast.ratio < 1 else "harsh"
    what = f"The samples are {word}: their contrast is {percent(contrast.ratio)} of real images'."
    return [Finding("warning", f"samples are {word}", what)]


def _ends(pairs: Mapping[str, Pair]) -> list[Finding]:
    places = {"dark end": "darkest", "bright end": "brightest"}
    off = [n for n in places if pairs[n].certain and _apart(pairs[n]) > ENDS]
    if not off:
        return []
    said = [
        f"{percent(pairs[name].samples)} of the samples' values are at the {places[name]}, and"
        f" {percent(pairs[name].real)} of real images'"
        for name in off
    ]
    remedy = "Plain backgrounds are learned last: longer training mends most of it."
    return [Finding("note", "samples at the ends", "; ".join(said) + ".", remedy)]


def _apart(pair: Pair) -> float:
    return abs(pair.samples - pair.real)


def _alike(variety: Pair, count: int) -> list[Finding]:
    if not variety.certain or variety.ratio > ALIKE:
        return []
    what = (
        f"The samples are much alike: {count:,} of them are {percent(variety.ratio)} as far from"
        " one another as real images are."
    )
    verdict = "wrong" if variety.ratio < ONE_IMAGE else "warning"
    return [Finding(verdict, "samples are alike", what)]  # type: ignore[arg-type]
