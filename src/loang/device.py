"""What the machine offers: device, precision, memory."""

import contextlib
import gc
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from loang import heap
from loang.errors import LoangError
from loang.team.place import Place

GROUPS, OWN_GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
"""Where Linux tells of control groups: of all, and which are this process's."""


def choose(name: str = "auto") -> torch.device:
    """The device of that name; `auto` takes CUDA, then Apple's GPU, then the CPU.

    Of a job's processes each takes the GPU of its own number.

    Raises:
        LoangError: there is no such device here.
    """
    if name in ("auto", "cuda") and torch.cuda.is_available() and (place := Place.here()).size > 1:
        seen = torch.cuda.device_count()
        if place.gpu(seen) >= seen:
            raise LoangError(
                f"This is {place}, and of this machine's {seen} GPUs none is left for it.",
                "Start as many processes as there are GPUs, or name --device cpu.",
            )
        return torch.device("cuda", place.gpu(seen))
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        if torch.backends.mps.is_available() and Place.here().size == 1:
            return torch.device("mps")
        return torch.device("cpu")
    if name.startswith("cuda:") and Place.here().size > 1:
        raise LoangError(
            f"All processes of a job would share {name}.",
            "Leave --device away: each takes the GPU of its own number.",
        )
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
        if device.type == "meta":
            raise RuntimeError("it holds no numbers")
    except (RuntimeError, AssertionError, ImportError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise LoangError(
            f"The device {name!r} can't be used here: {reason}.", "Use --device auto or cpu."
        ) from error
    return device


def fast_bfloat16(device: torch.device) -> bool:
    """Whether the hardware multiplies bfloat16 natively; emulated, it is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(getattr(torch.cpu, check, lambda: False)() for check in checks)
    return False


def autocast_type(device: torch.device, precision: str = "auto") -> torch.dtype | None:
    """The type that the network computes in under autocast; None for float32 without autocast.

    Args:
        device: where it computes.
        precision: "auto", "float32" or "bfloat16".
    """
    if precision == "bfloat16" or (precision == "auto" and fast_bfloat16(device)):
        return torch.bfloat16
    return None


def autocast(device: torch.device, dtype: torch.dtype | None, keeps: bool = True) -> torch.autocast:
    """The context in which a network runs.

    Args:
        device: where it computes.
        dtype: that it computes in; None for float32.
        keeps: whether weights in that type are kept to its end, for a second use.
    """
    return torch.autocast(
        device.type,
        dtype=dtype or torch.bfloat16,
        enabled=dtype is not None,
        cache_enabled=keeps,
    )


@contextlib.contextmanager
def full_precision(convolutions: bool = False) -> Iterator[None]:
    """Within it, products of float32 are float32's own, whatever `torch` was told.

    `torch.set_float32_matmul_precision("high")` is common in notebooks, and convolutions on a GPU
    take ten of the digits' 23 bits unless they are told otherwise. torch has two ways to be told,
    an old one that sets several and a new one for each kind, and refuses to answer by the old one
    where they differ.

    Args:
        convolutions: theirs too, not of matrices alone.
    """
    with contextlib.ExitStack() as stack:
        backends = torch.backends.cuda, torch.backends.mkldnn
        kinds: list[Any] = [getattr(each, "matmul", None) for each in backends]
        of_matrices = torch.get_float32_matmul_precision, torch.set_float32_matmul_precision
        stack.enter_context(_told(*of_matrices, "highest", kinds))
        if convolutions:
            cudnn: Any = torch.backends.cudnn
            of_cudnn = partial(getattr, cudnn, "allow_tf32"), partial(setattr, cudnn, "allow_tf32")
            kinds = [getattr(each, "conv", None) for each in (cudnn, torch.backends.mkldnn)]
            stack.enter_context(_told(*of_cudnn, False, [*kinds, getattr(cudnn, "rnn", None)]))
        yield


@contextlib.contextmanager
def _told(
    asked: Callable[[], Any], tell: Callable[[Any], None], most: Any, kinds: list[Any]
) -> Iterator[None]:
    """Within it, `most` by the old way; and after it all as before, by both ways."""
    new = [(kind, kind.fp32_precision) for kind in kinds if hasattr(kind, "fp32_precision")]
    try:
        old = asked()
    except RuntimeError:
        old = None
    if old == most and all(told in ("none", "ieee") for _, told in new):
        yield
        return
    tell(most)
    for kind, _ in new:
        kind.fp32_precision = "ieee"  # what the old way leaves open, torch.backends decides
    try:
        yield
    finally:
        if old is not None:
            tell(old)
        for kind, told in new:
            kind.fp32_precision = told


def describe(device: torch.device, dtype: torch.dtype | None) -> str:
    """For people: `CPU (AVX2, 2 threads), float32`."""
    kind = "bfloat16" if dtype is torch.bfloat16 else "float32"
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, {kind}"
    if device.type == "cpu":
        capability = torch.backends.cpu.get_cpu_capability()
        threads = torch.get_num_threads()
        return f"CPU ({capability}, {threads} thread{'s' * (threads != 1)}), {kind}"
    return f"{device.type}, {kind}"


def out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory is used up, on a GPU or on the CPU."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # The CPU's allocator, Apple's and oneDNN each raise a RuntimeError of their own words.
    words = ("can't allocate memory", "not enough memory", "out of memory", "could not create a")
    return any(each in str(error) for each in words)


def release_memory(device: torch.device) -> None:
    """Give back what is kept for later, after memory was used up."""
    gc.collect()
    heap.give_back()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def memory_free() -> int:
    """Bytes of main memory that this process may still take.

    Where a container or a job scheduler sets a limit, the system's own figure is too large, and
    whoever believes it is killed without a word.
    """
    import psutil

    heap.give_back()  # what lies free in this process is not the system's to give
    return min([int(psutil.virtual_memory().available), *_left_to_groups()])


def _left_to_groups() -> Iterator[int]:
    """Bytes that each control group of this process has left, of those that have a limit.

    Of both kinds: version 2, and 1, which older systems and some containers have.
    """
    places = []
    with contextlib.suppress(OSError):
        for line in OWN_GROUPS.read_text(encoding="utf-8").splitlines():
            _, _, rest = line.partition(":")
            controllers, _, group = rest.partition(":")
            if not controllers:
                places.append((GROUPS, group, "memory.max", "memory.current", ""))
            elif "memory" in controllers.split(","):
                names = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"
                places.append((GROUPS / "memory", group, *names))
    for root, group, most, held, prefix in places:
        own = root / group.lstrip("/")
        # A container may see its own group as the root, by a name that is the machine's.
        for place in (own, *own.parents):
            with contextlib.suppress(OSError, ValueError, KeyError):
                limit = int((place / most).read_text(encoding="ascii"))  # "max" is none
                used = int((place / held).read_text(encoding="ascii"))
                # Files that were read are counted as used, but make way when they must.
                lines = (place / "memory.stat").read_text(encoding="ascii").splitlines()
                parts = dict(line.split() for line in lines)
                cached = sum(int(parts[f"{prefix}{kind}_file"]) for kind in ("inactive", "active"))
                yield max(limit - used + cached, 0)


def memory_used(device: torch.device) -> int:
    """Bytes that this process holds: on the GPU the peak, on the CPU what is resident now."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    import psutil

    return int(psutil.Process().memory_info().rss)


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor, on a device.

    A GPU of CUDA's is not waited for, so that a step can be begun while the one before it is
    computed. What is sent may be changed at once, as it has been read by then, but if it is pinned.
    """
    return tensor.to(device, non_blocking=device.type == "cuda")


def wait(device: torch.device) -> None:
    """Until what was asked of a device is done; a processor is done when it answers."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
