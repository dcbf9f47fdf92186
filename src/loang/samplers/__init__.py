"""Samplers: from noise to images, one generator of states a family."""

from loang.samplers.auto import Choice, best, kind_of
from loang.samplers.consistency import consistency
from loang.samplers.ddim import ddim
from loang.samplers.ddpm import ddpm
from loang.samplers.deis import deis, ipndm
from loang.samplers.dpm_solver import dpmpp_2m, dpmpp_2m_sde, dpmpp_3m
from loang.samplers.euler import euler, euler_ancestral
from loang.samplers.heun import heun
from loang.samplers.ode import flow, ode
from loang.samplers.registry import METHODS, NAMES, REVISION, Method, named
from loang.samplers.state import Noise, Sampler, State
from loang.samplers.unipc import unipc

__all__ = [
    "METHODS",
    "NAMES",
    "REVISION",
    "Choice",
    "Method",
    "Noise",
    "Sampler",
    "State",
    "best",
    "consistency",
    "ddim",
    "ddpm",
    "deis",
    "dpmpp_2m",
    "dpmpp_2m_sde",
    "dpmpp_3m",
    "euler",
    "euler_ancestral",
    "flow",
    "heun",
    "ipndm",
    "kind_of",
    "named",
    "ode",
    "unipc",
]
