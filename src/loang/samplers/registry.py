"""Every sampler by its name: its paper, its order, what can be chosen of it, what it costs."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from loang.process import Variance
from loang.samplers.consistency import consistency
from loang.samplers.ddim import ddim
from loang.samplers.ddpm import ddpm
from loang.samplers.deis import deis, ipndm
from loang.samplers.dpm_solver import dpmpp_2m, dpmpp_2m_sde, dpmpp_3m
from loang.samplers.euler import euler, euler_ancestral
from loang.samplers.heun import heun
from loang.samplers.ode import ode
from loang.samplers.state import Sampler, State
from loang.samplers.unipc import unipc


@dataclass(frozen=True)
class Method:
    """What is known of a sampler.

    Args:
        walk: the sampler; options are further named arguments.
        paper: where it comes from.
        order: of its error in the length of a step; None where it chooses its steps itself, or
            draws noise at each.
        options: what can be chosen, of "eta", "variance", "churn" and "tolerance".
        deterministic: whether it draws no noise after the first, its options at their defaults.
        a_step: evaluations of the denoiser; None where it chooses. The last step takes one.
    """

    walk: Callable[..., Iterator[State]]
    paper: str
    order: int | None
    options: tuple[str, ...] = ()
    deterministic: bool = True
    a_step: int | None = 1

    def evaluations(self, steps: int) -> int | None:
        """How often so many steps ask the denoiser; None where that depends on what it says."""
        return None if self.a_step is None else self.a_step * (steps - 1) + 1

    def steps(self, evaluations: int) -> int:
        """The most steps that need no more evaluations than these, 1 or more."""
        return 1 + (evaluations - 1) // (self.a_step or 1)


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "ddpm": Method(
            ddpm, "Ho et al. 2020, algorithm 2", None, options=("variance",), deterministic=False
        ),
        "ddim": Method(ddim, "Song et al. 2021, eq. 12", 1, options=("eta",)),
        "euler": Method(euler, "Karras et al. 2022, eq. 3; equal to ddim", 1),
        "euler-ancestral": Method(
            euler_ancestral,
            "Song et al. 2021, eq. 16; equal to ddim with eta 1",
            None,
            deterministic=False,
        ),
        "heun": Method(
            heun, "Karras et al. 2022, algorithms 1 and 2", 2, options=("churn",), a_step=2
        ),
        "dpmpp-2m": Method(dpmpp_2m, "Lu et al. 2022, DPM-Solver++, algorithm 2", 2),
        "dpmpp-3m": Method(dpmpp_3m, "Lu et al. 2022, DPM-Solver++, eq. 9", 3),
        "dpmpp-2m-sde": Method(
            dpmpp_2m_sde, "Lu et al. 2022, DPM-Solver++, section 3.3", None, deterministic=False
        ),
        "unipc": Method(unipc, "Zhao et al. 2023, UniPC-3 with B2", 4),
        "deis": Method(deis, "Zhang and Chen 2023, tAB-DEIS of a parabola", 3),
        "ipndm": Method(ipndm, "Liu et al. 2022; Zhang and Chen 2023, iPNDM", 4),
        "consistency": Method(
            consistency,
            "Song et al. 2023, algorithm 1; of models distilled for it",
            None,
            deterministic=False,
        ),
        "ode": Method(
            ode,
            "Song et al. 2021, eq. 13; Dormand and Prince 1980",
            None,
            options=("tolerance",),
            a_step=None,
        ),
    }
)

NAMES = tuple(METHODS)

REVISION = 1
"""Raised when a sampler comes to draw others than before: kept samples are then drawn anew."""


def named(
    name: str,
    *,
    eta: float = 0.0,
    variance: Variance = "fixed-small",
    churn: float = 0.0,
    tolerance: float = 1e-3,
) -> Sampler:
    """The sampler of that name, with the options that it knows.

    Raises:
        KeyError: there is none of that name in `NAMES`.
    """
    chosen = {"eta": eta, "variance": variance, "churn": churn, "tolerance": tolerance}
    method = METHODS[name]
    return partial(method.walk, **{option: chosen[option] for option in method.options})
