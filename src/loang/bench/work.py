"""How much work a network is, what a device can do of it, and which operations take the time."""

import os
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from loang import device
from loang.bench.timing import timed


@dataclass(frozen=True)
class Peak:
    """Operations a second that the device gives to one large operation of the kind.

    Args:
        convolution: 3x3, channels last.
        product: of two square matrices.
    """

    convolution: float
    product: float


@dataclass(frozen=True)
class Operation:
    """What torch calls it, and its share of the time."""

    name: str
    share: float


def counted(run: Callable[[], object]) -> int:
    """Multiplications and additions of a run: those of products and convolutions.

    Attention counts as the products that it is, whichever kernel computes it otherwise.
    """
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops())


def peak(on: torch.device, dtype: torch.dtype | None, seconds: float = 1.0) -> Peak:
    """Measured by the fastest of the runs of that time, each of the two.

    Large enough that nothing but the arithmetic counts, and small enough for any memory.
    """
    kind = dtype or torch.float32
    batch, channels, width = (8, 256, 2048) if on.type == "cpu" else (64, 512, 8192)
    with torch.inference_mode():
        x = torch.randn(batch, channels, 32, 32, device=on, dtype=kind)
        weight = torch.randn(channels, channels, 3, 3, device=on, dtype=kind)
        x, weight = (each.to(memory_format=torch.channels_last) for each in (x, weight))
        convolved = timed(lambda: functional.conv2d(x, weight, padding=1), on, seconds)
        del x, weight
        a = torch.randn(width, width, device=on, dtype=kind)
        multiplied = timed(lambda: a @ a, on, seconds)
    return Peak(
        2 * batch * 32 * 32 * 9 * channels**2 / convolved.least,
        2 * width**3 / multiplied.least,
    )


def slowest(run: Callable[[], object], on: torch.device, count: int = 5) -> list[Operation]:
    """The operations that most of a run's time goes to, where it is computed."""
    gpu = on.type == "cuda"
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it would tell a person when it starts
    activities = [ProfilerActivity.CUDA] if gpu else []
    with profile(activities=[ProfilerActivity.CPU, *activities]) as profiler:
        run()
        device.wait(on)
    taken: dict[str, float] = {}
    for event in profiler.key_averages():
        if event.device_type.name != "CPU":  # a kernel, whose time its operation has as well
            continue
        time = event.self_device_time_total if gpu else event.self_cpu_time_total
        taken[event.key] = taken.get(event.key, 0.0) + float(time)
    total = sum(taken.values()) or 1.0
    names = sorted(taken, key=lambda name: -taken[name])[:count]
    return [Operation(name.removeprefix("aten::"), taken[name] / total) for name in names]
