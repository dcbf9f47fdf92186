"""Profiles of power-function averages, and which of them can be made of others.

An average of exponent gamma at step T weights the weights of time tau, 0 < tau <= T, by
p(tau) = (gamma + 1) tau**gamma / T**(gamma + 1), and any later time by 0 (Karras et al. 2024, EDM2,
section 3.1). Averages are linear in the weights, so a sum of stored averages is the average that
has the sum of their profiles: any profile is reached as nearly as the stored ones span it
(section 3.2).

`PowerDecay` gives the weights of step s the integral of p from s - 1 to s, exactly: what holds for
profiles holds for the averages that a run tracks, with no error of its steps.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from loang.training.ema import power_exponent

NEAR = 0.05
"""Of a profile: a fit that is further from it, relative to its size, is none."""
SHORTEST, LONGEST = 1e-3, 0.28
"""Lengths that are looked at; 0.2887 has all of the run alike, and none is longer."""


class Profile(NamedTuple):
    """Of one average.

    Args:
        step: that it was taken at, 1 or more.
        length: relative, 0 < length < 0.28.
    """

    step: int
    length: float


class Fit(NamedTuple):
    """A profile as a sum of others.

    Args:
        shares: one a stored profile; their sum is 1.
        error: the norm of what is missing by that of the profile asked for.
    """

    shares: Float64[np.ndarray, " n"]
    error: float


def inner_products(
    first: Sequence[Profile], second: Sequence[Profile]
) -> Float64[np.ndarray, "n m"]:
    """The integral of p * q over all times, for each pair of profiles p and q.

    Both are powers up to the earlier end S, where the earlier profile stops; with T the later end
    and h the exponent of the profile that ends there, it is
    (g + 1)(h + 1) / (g + h + 1) * (S / T)**h / T.
    """
    steps = np.array([each.step for each in first], np.float64)[:, None]
    others = np.array([each.step for each in second], np.float64)[None]
    g = np.array([power_exponent(each.length) for each in first])[:, None]
    h = np.array([power_exponent(each.length) for each in second])[None]
    early, late = np.minimum(steps, others), np.maximum(steps, others)
    last: Float64[np.ndarray, "n m"] = np.where(steps > others, g, h)
    return (g + 1) * (h + 1) / (g + h + 1) * (early / late) ** last / late


def fits(stored: Sequence[Profile], wanted: Sequence[Profile]) -> list[Fit]:
    """The sums of stored profiles that are nearest to those wanted, in the mean square.

    Shares that sum to 1 are asked for: weights that never change are then averaged exactly, and
    of weights that do, only how they change can be off.

    Args:
        stored: one or more; two of the same step and length are no better than one.
        wanted: their step may be any; what comes after the last stored can't be fitted well.
    """
    gram = inner_products(stored, stored)
    size = 1 / np.sqrt(np.diag(gram))  # profiles of norm 1: those of early steps are tall
    count = len(stored)
    # Least squares with a Lagrange multiplier for the sum of the shares.
    system = np.zeros((count + 1, count + 1))
    system[:count, :count] = gram * size[:, None] * size
    system[:count, count] = system[count, :count] = size
    towards = inner_products(stored, wanted)
    right = np.vstack([towards * size[:, None], np.ones(len(wanted))])
    solved = np.linalg.lstsq(system, right, rcond=1e-13)[0]
    found = []
    for number, profile in enumerate(wanted):
        shares = solved[:count, number] * size
        whole = float(inner_products([profile], [profile])[0, 0])
        missing = whole - 2 * shares @ towards[:, number] + shares @ gram @ shares
        found.append(Fit(shares, float(np.sqrt(max(missing, 0.0) / whole))))
    return found


def fit(stored: Sequence[Profile], wanted: Profile) -> Fit:
    """The sum of stored profiles that is nearest to one."""
    return fits(stored, [wanted])[0]


def reachable(stored: Sequence[Profile], step: int) -> tuple[float, float] | None:
    """The shortest and the longest length at a step whose fit is near enough, or None.

    Args:
        stored: profiles.
        step: that averages are wanted at.
    """
    lengths = [float(each) for each in np.geomspace(SHORTEST, LONGEST, 200)]
    found = fits(stored, [Profile(step, each) for each in lengths])
    near = [each for each, one in zip(lengths, found, strict=True) if one.error <= NEAR]
    return (near[0], near[-1]) if near else None
